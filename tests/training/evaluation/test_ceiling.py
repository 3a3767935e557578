"""`scanside cohort ceiling`: its observers where the answer is known in closed form, and the command once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from typer.testing import CliRunner

from scanside.runtime.errors import InputError
from scanside.runtime.masks.overlap import dice
from scanside.training.cohort.cli import app
from scanside.training.evaluation.ceiling import observers, step
from scanside.training.evaluation.ceiling.records import Ceiling
from scanside.training.evaluation.ceiling.scene import Scene, grid_dice
from scanside.training.phantom.study import make_study

BOX = (slice(2, 5), slice(8, 13), slice(8, 13))


def box_scene(
    amplitude: float, *, places: tuple[tuple[int, int, int], ...] | None = None, channels: int = 1
) -> Scene:
    """A box of 75 voxels in an even body with noise of 1; its middle may lie at `places`, or anywhere inside."""
    shape = (8, 24, 40)
    mask, gland = np.zeros(shape, bool), np.zeros(shape, bool)
    mask[BOX] = True
    if places is None:
        gland[2:6, 5:20, 5:35] = True
    else:
        gland[tuple(np.transpose(places))] = True
    bare = np.full((channels, *shape), 100, np.float32)
    clean = bare + np.float32(amplitude) * mask
    return Scene(
        clean, bare, np.ones(channels), mask.astype(np.float32), mask, gland, (1.0, 1.0, 1.0), 0.0, 1.0
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_d_prime_of_a_box_is_its_amplitude_times_the_root_of_its_voxels(channels: int) -> None:
    scene = box_scene(0.7, channels=channels)
    found = observers.d_prime(scene.clean - scene.bare, 2 * scene.sigma)
    assert found == pytest.approx(0.7 / 2 * (75 * channels) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("detectability", [0.3, 1.0, 2.5])
def test_of_two_places_apart_the_right_one_is_chosen_as_often_as_theory_says(detectability: float) -> None:
    scene = box_scene(detectability / 75**0.5, places=((3, 10, 10), (3, 10, 30)))
    draws = 250
    seen = observers.template_observer(scene, observers.Places(scene), np.random.default_rng(5), draws)
    chance = norm.cdf(detectability / 2**0.5)
    assert seen.right == pytest.approx(chance, abs=4 * (0.25 / draws) ** 0.5)


def test_clear_lesions_are_outlined_completely_and_invisible_ones_no_better_than_blind() -> None:
    clear, nothing = box_scene(50), box_scene(0)
    for observer in (observers.template_observer, observers.clutter_observer):
        assert observer(clear, observers.Places(clear), np.random.default_rng(0)).dice == pytest.approx(
            1, abs=1e-6
        )
    assert observers.outline_observer(clear, observers.Places(clear), np.random.default_rng(0)) > 0.99
    places = observers.Places(nothing)
    prior = dice(observers.best_mask(places.prior, places.voxels), nothing.mask)
    template = observers.template_observer(nothing, places, np.random.default_rng(0)).dice
    outline = observers.outline_observer(nothing, places, np.random.default_rng(0))
    assert template == pytest.approx(prior, abs=1e-6)
    assert outline == pytest.approx(prior, abs=0.02)  # knows the expected number of voxels, which is the same
    assert 0 < prior < 0.3


def test_the_blind_mask_is_as_good_as_its_mean_over_all_places() -> None:
    scene = box_scene(0)
    places = observers.Places(scene)
    made = observers.best_mask(places.prior, places.voxels)
    moved = [
        replace(scene, mask=np.roll(scene.mask, np.subtract(place, places.middle), (0, 1, 2))).mask
        for place in np.argwhere(places.allowed)
    ]
    assert observers.blind(places) == pytest.approx(np.mean([dice(made, one) for one in moved]), abs=1e-3)


def test_the_best_mask_of_known_size_beats_every_other_of_the_same_chances() -> None:
    chance = np.array([[[0.9, 0.8, 0.5, 0.3, 0.1, 0.4]]])

    def expected(mask: np.ndarray) -> float:
        return float(2 * chance[mask].sum() / (mask.sum() + 3))

    all_masks = [np.array([[[bool(n >> bit & 1) for bit in range(6)]]]) for n in range(1, 64)]
    assert expected(observers.best_mask(chance, 3)) == pytest.approx(max(map(expected, all_masks)))


def test_clutter_that_looks_like_the_lesion_hides_it_from_who_does_not_know_the_anatomy() -> None:
    scene = box_scene(6)
    bare = scene.bare.copy()
    bare[:, 2:5, 8:13, 24:29] += 12  # twice as bright, and normal
    scene = replace(scene, bare=bare, clean=bare + scene.clean - 100)
    places = observers.Places(scene)
    assert observers.template_observer(scene, places, np.random.default_rng(0)).right == 1
    assert observers.clutter_observer(scene, places, np.random.default_rng(0)).right == 0


def test_a_mask_survives_its_own_grid_and_a_small_one_suffers_from_a_coarse_grid() -> None:
    mask = np.zeros((12, 40, 40), bool)
    mask[4:8, 10:30, 10:30] = True
    assert grid_dice(mask, (5.0, 1.5, 1.5), (5.0, 1.5, 1.5)) == 1
    small = np.zeros_like(mask)
    small[5:7, 10:13, 11:14] = True
    assert (
        grid_dice(small, (5.0, 1.5, 1.5), (5.0, 3.0, 3.0))
        < grid_dice(mask, (5.0, 1.5, 1.5), (5.0, 3.0, 3.0))
        <= 1
    )


def test_images_are_the_same_bits_and_the_body_without_its_lesion_differs_there_alone() -> None:
    plain, known = (make_study(3, 1, split="test", small=True, bare=bare) for bare in (False, True))
    for name, volume in plain.images.items():
        assert np.array_equal(volume.data, known.images[name].data), name
    truth = known.truth["t2w"]
    changed = np.abs(truth["clean"][0] - truth["bare"][0])
    assert changed[truth["lesion"] > 0.9].mean() > 20 * np.median(changed[truth["lesion"] == 0])
    assert "clean" not in plain.truth["t2w"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ceiling") / "cases.csv"
    rows = [f"phantom-000{n},{role},test,0.5,{n == 3}" for n in (3, 4) for role in ("t2w", "dwi")]
    path.write_text(
        "patient,role,part,dice,missed\nphantom-0001,t2w,cross-validated,0,True\n" + "\n".join(rows) + "\n"
    )
    return path


def test_the_command_writes_a_record_with_what_was_reached_beside_and_a_figure(cases: Path) -> None:
    out = cases.parent / "ceiling.json"
    options = [
        "--seed",
        "1",
        "--patients",
        "4",
        "--train",
        "2",
        "--small",
        "--cases",
        str(cases),
        "-o",
        str(out),
    ]
    done = CliRunner().invoke(app, ["ceiling", *options], catch_exceptions=False)
    assert done.exit_code == 0
    found = Ceiling.read(out)
    assert [(one.patient, one.role, one.missed) for one in found.lesions] == [
        ("phantom-0003", "t2w", True), ("phantom-0003", "dwi", True),
        ("phantom-0004", "t2w", False), ("phantom-0004", "dwi", False),
    ]  # fmt: skip
    every = next(one for one in found.strata if (one.role, one.name) == ("t2w", "all"))
    assert every.reached is not None and every.reached.value == 0.5 and every.missed == 1
    segmenters = next(one for one in found.together if one.who == "segmenters")
    assert (segmenters.both, segmenters.one, segmenters.none) == (1, 0, 1)
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_reached_dice_of_other_patients_are_refused(cases: Path) -> None:
    choice = step.CeilingChoice(1, 5, 2, {})
    with pytest.raises(InputError, match="other test patients"):
        step.compute(choice, step.read_reached(cases), print)
