"""One study: deterministic, on its own grids, its masks where the lesion is."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from scanside.training.phantom.anatomy import make_anatomy
from scanside.training.phantom.cohort import draw_patient, stream
from scanside.training.phantom.render import LABELS
from scanside.training.phantom.scanners import HELD_OUT, SCANNERS
from scanside.training.phantom.shapes import Tube
from scanside.training.phantom.study import PhantomStudy, _outline, make_study


@cache
def small(index: int) -> PhantomStudy:
    return make_study(index, 11, small=True)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again = small(0), make_study(0, 11, small=True)
    for name, volume in first.images.items():
        assert np.array_equal(volume.data, again.images[name].data)
        assert volume.geometry == again.images[name].geometry
    for role, mask in first.masks.items():
        assert np.array_equal(mask, again.masks[role])
    assert first.patient == again.patient


def test_another_seed_or_patient_gives_another_study() -> None:
    other = make_study(0, 12, small=True, roles=("t2w",))
    assert other.patient.lesion != small(0).patient.lesion
    assert small(1).patient.lesion != small(0).patient.lesion


def test_an_acquisition_is_the_same_alone() -> None:
    alone = make_study(0, 11, small=True, roles=("dwi",))
    assert set(alone.images) == {"dwi", "b0", "adc"}
    assert np.array_equal(alone.images["adc"].data, small(0).images["adc"].data)


def test_sequences_have_grids_of_their_own() -> None:
    study = small(0)
    assert set(study.images) == {"t2w", "dwi", "b0", "adc"}
    dwi = study.images["dwi"].geometry
    assert study.images["b0"].geometry == study.images["adc"].geometry == dwi
    assert study.images["t2w"].geometry.difference(dwi) is not None
    for name, volume in study.images.items():
        assert np.array_equal(volume.data, np.rint(volume.data)), f"{name} holds whole numbers"
        assert 0 <= volume.data.min() <= volume.data.max() <= 32767
    for role, mask in study.masks.items():
        assert mask.shape == study.images[role].geometry.shape
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 1}


@pytest.mark.parametrize("index", range(4))
def test_masks_lie_where_the_lesion_is(index: int) -> None:
    """The centroid in patient space, but for breathing (3 mm along z, 1.6 mm along y) and distortion."""
    study = small(index)
    centres = {}
    for role, mask in study.masks.items():
        geometry = study.images[role].geometry
        z, y, x = np.array(np.nonzero(mask)).mean(axis=1) * geometry.spacing
        centres[role] = np.array([x, y, z]) + geometry.origin
    assert np.abs(centres["t2w"] - centres["dwi"]).max() < 20
    volumes = {
        role: mask.sum() * study.images[role].geometry.voxel_volume_ml for role, mask in study.masks.items()
    }
    sphere = np.pi / 6 * (study.patient.lesion.size_mm / 10) ** 3
    assert 0.15 * sphere < volumes["t2w"] < 1.1 * sphere


def test_obstructive_pancreatitis_lies_upstream_and_is_brighter_at_high_b() -> None:
    """The first patient with a small lesion in the head and a closed duct, under even coils."""
    drawn = ((index, draw_patient(index, 11, "train").lesion) for index in range(200))
    index, lesion = next(
        (index, own) for index, own in drawn if own.obstruction > 0.9 and own.along > 0.2 and own.size_mm < 25
    )
    made = make_study(index, 11, scanner=replace(SCANNERS[1], bias=0.0), roles=("dwi",), noise=0.1)
    labels, geometry = made.truth["dwi"]["labels"], made.images["dwi"].geometry
    healthy, ill = (labels == LABELS.index(name) for name in ("pancreas", "obstructed"))
    x = [geometry.origin[0] + geometry.spacing[2] * np.nonzero(part)[2].mean() for part in (healthy, ill)]
    assert min(healthy.sum(), ill.sum()) > 30
    assert x[0] < x[1] and x[1] > made.truth["centre"][0], "towards the tail, to the patient's left"
    high = made.images["dwi"].data[0]
    assert 1.1 < np.median(high[ill]) / np.median(high[healthy]) < 1.6
    assert lesion.atrophy > 0, "a wide duct thins the gland as well"


def test_ribs_and_mesenteric_vessels_are_there() -> None:
    patient = draw_patient(0, 11, "train")
    parts = make_anatomy(stream(11, 0, "anatomy"), patient.lesion, 3.0).parts
    assert sum(part.tissue == "bone" for part in parts) == 10
    thin = [p for p in parts if isinstance(p.shape, Tube) and p.tissue in ("vein", "artery")]
    assert sum(float(part.shape.radii.max()) < 3 for part in thin if isinstance(part.shape, Tube)) >= 24


def test_lesions_are_brighter_than_the_gland_on_high_b() -> None:
    for index in range(3):
        study = small(index)
        image, labels = study.images["dwi"].data[0], study.truth["dwi"]["labels"]
        gland = labels == LABELS.index("pancreas")
        if gland.sum() > 20 and study.masks["dwi"].sum() > 20:
            assert image[study.masks["dwi"] > 0].mean() > np.median(image[gland])


def test_a_lesion_that_fills_no_voxel_is_outlined_where_it_is_fullest() -> None:
    share = np.zeros((1, 3, 3), np.float32)
    share[0, 0] = (0.4, 0.25, 0.1)
    assert np.array_equal(_outline(share)[0, 0], [1, 1, 0])
    share[0, 2, 2] = 0.9
    assert _outline(share).sum() == 1


def test_a_patient_is_the_same_in_any_cohort_and_split() -> None:
    for index in range(30):
        train, test = draw_patient(index, 5, "train"), draw_patient(index, 5, "test")
        assert (train.age, train.sex, train.lesion) == (test.age, test.sex, test.lesion)


def test_the_held_out_scanner_examines_a_third_of_the_test_patients_and_nobody_else() -> None:
    train = [draw_patient(index, 5, "train").scanner.name for index in range(165)]
    test = [draw_patient(index, 5, "test").scanner.name for index in range(165, 254)]
    assert HELD_OUT not in train
    assert test.count(HELD_OUT) / len(test) == pytest.approx(1 / 3, abs=0.02)
    assert set(train) == {scanner.name for scanner in SCANNERS} - {HELD_OUT}
    assert min(train.count(name) for name in set(train)) >= 25


def test_a_whole_study_has_the_protocols_grid() -> None:
    """The one full-size study of these tests."""
    study = make_study(2, 11, roles=("t2w",))
    assert study.images["t2w"].geometry.shape == study.scanner.t2w.shape
    labels = set(np.unique(study.truth["t2w"]["labels"]))
    assert {LABELS.index(name) for name in ("pancreas", "liver", "spleen", "muscle")} <= labels
    air = study.images["t2w"].data[0, :, :10, :10]
    assert air.mean() < 0.3 * study.images["t2w"].data[study.images["t2w"].data > 0].mean()


def test_other_pixels_are_the_same_field_of_view() -> None:
    """What `--pixel-size` gives: as many slices, other pixels, the same anatomy at the same places."""
    plain = make_study(0, 11, roles=("t2w",))
    coarse = make_study(0, 11, roles=("t2w",), pixel_size=2.0)
    before, after = plain.images["t2w"].geometry, coarse.images["t2w"].geometry
    assert after.shape == (before.shape[0], round(before.shape[1] / 2), round(before.shape[2] / 2))
    assert after.spacing == pytest.approx((before.spacing[0], 2 * before.spacing[1], 2 * before.spacing[2]))
    assert coarse.patient == plain.patient
    volume = {s: s.masks["t2w"].sum() * s.images["t2w"].geometry.voxel_volume_ml for s in (plain, coarse)}
    assert volume[coarse] == pytest.approx(volume[plain], rel=0.4)
    centres = []
    for study in (plain, coarse):
        geometry = study.images["t2w"].geometry
        z, y, x = np.array(np.nonzero(study.masks["t2w"])).mean(axis=1) * geometry.spacing
        centres.append(np.array([x, y, z]) + geometry.origin)
    assert np.abs(centres[0] - centres[1]).max() < 5


def test_the_scanners_own_pixels_are_the_default() -> None:
    one = make_study(0, 11, small=True, roles=("t2w",), pixel_size=1.0)
    assert np.array_equal(one.images["t2w"].data, small(0).images["t2w"].data)
