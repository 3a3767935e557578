"""Golden cases: what the bundle stores, how a mask is judged, and that `auto` believes them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scanside.export import nnunet
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.export.references import references
from scanside.runtime import choose, golden
from scanside.runtime.backends import openvino
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import BackendError, BundleError, CaseError, UsageError
from scanside.runtime.golden import EXACT, GoldenCase, compare, load_golden, lowest_dice, replay_all
from scanside.runtime.options import Options
from scanside.runtime.segmenter import Segmenter
from tests.support.phantoms import logits as phantom_logits
from tests.support.phantoms import volume
from tests.support.tiny_models import Tiny, write_cascade, write_model

pytestmark = pytest.mark.requirement("no-bundle-without-parity")

STAGES = ("3d_lowres", "3d_cascade_fullres")


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("golden")
    _, folder = write_cascade(root, Tiny(reader="SimpleITKIOWithReorient"))
    export_nnunet(folder, root / "bundle", ExportOptions(precisions=("fp32",)), lambda _: None)
    return open_bundle(root / "bundle")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)


def case(margin: float = 10.0) -> GoldenCase:
    labels = phantom_logits((20, 30, 40), 3, seed=1).argmax(0).astype(np.uint8)
    image = volume((20, 30, 40), (1.0, 2.0, 3.0))
    return GoldenCase("case", image, labels, np.full(labels.shape, margin, np.float16))


def judged(case: GoldenCase, mask: np.ndarray, precision: str = "fp32") -> str | None:
    return compare(case, mask, "cpu", precision, 1.0).problem


def flipped(case: GoldenCase, count: int) -> np.ndarray:
    mask = case.labels.copy()
    mask.reshape(-1)[np.flatnonzero(mask == 1)[:count]] = 2
    return mask


def test_nothing_is_exported_that_nobody_can_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scanside.runtime.backends import ort

    folder = write_model(tmp_path, Tiny())
    monkeypatch.setattr(ort, "missing", lambda: ("it is not installed", "pip install it"))
    with pytest.raises(BackendError, match="precision mixed"):
        export_nnunet(folder, tmp_path / "bundle", ExportOptions(), lambda _: None)
    assert not (tmp_path / "bundle").exists()


def test_every_stage_of_a_cascade_is_judged_by_itself(cascade: Bundle) -> None:
    by_role = {role: [g for g in cascade.manifest.golden if g.role == role] for role in STAGES}
    assert [len(cases) for cases in by_role.values()] == [2, 2]
    for first, second in zip(*by_role.values(), strict=True):
        before, after = load_golden(cascade, first), load_golden(cascade, second)
        assert before.previous is None and after.previous is not None
        np.testing.assert_array_equal(after.previous, before.labels)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("role", STAGES)
def test_replay(cascade: Bundle, role: str, device: str) -> None:
    with open_segmenter(cascade, Options(device=device, role=role)) as segmenter:
        results = replay_all(segmenter)
    assert [result.problem for result in results] == [None, None]
    assert all(result.device == device and result.voxels > 1000 for result in results)


def test_a_mask_is_for_a_second_stage_only(cascade: Bundle) -> None:
    image = volume((12, 14, 16), (1.9, 0.9, 1.0))
    with (
        open_segmenter(cascade, Options(device="cpu", role="3d_lowres")) as segmenter,
        pytest.raises(UsageError),
    ):
        segmenter.segment(image, previous=np.zeros((12, 14, 16), np.uint8))


def test_a_given_first_stage_is_the_computed_one(cascade: Bundle) -> None:
    image = volume((20, 24, 26), (1.9, 0.9, 1.0), seed=5)
    with open_segmenter(cascade, Options(device="cpu", role="3d_lowres")) as segmenter:
        first = segmenter.segment(image).mask
    with open_segmenter(cascade, Options(device="cpu")) as segmenter:
        whole = segmenter.segment(image, logits=True)
        last = segmenter.segment(image, previous=first, logits=True)
        np.testing.assert_array_equal(whole.mask, last.mask)
        assert whole.logits is not None and last.logits is not None
        np.testing.assert_array_equal(whole.logits, last.logits)
        assert any(name.startswith("3d_lowres") for name in whole.stages)
        assert not any(name.startswith("3d_lowres") for name in last.stages)


def test_what_is_stored_is_what_was_given(tmp_path: Path) -> None:
    given = replace(case(), previous=flipped(case(), 5))
    data = given.volume.data
    for image in (data, data + np.float32(0.25), data + np.float32(1e6)):
        stored = replace(given, volume=replace(given.volume, data=image))
        encoded = stored.encode()
        assert encoded == stored.encode(), "the same bytes again"
        (tmp_path / "case.npz").write_bytes(encoded)
        with np.load(tmp_path / "case.npz") as arrays:
            np.testing.assert_array_equal(arrays["image"].astype(np.float32), image)
            np.testing.assert_array_equal(arrays["labels"], given.labels)
            np.testing.assert_array_equal(arrays["margin"], given.margin)
            np.testing.assert_array_equal(arrays["previous"], given.previous)
            assert tuple(arrays["spacing"]) == (1.0, 2.0, 3.0)


def test_a_damaged_case_is_refused(cascade: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    [first, *_] = cascade.manifest.golden
    monkeypatch.setattr(Bundle, "read", lambda self, name: b"PK\x03\x04 not an archive")
    with pytest.raises(BundleError, match="not readable"):
        load_golden(cascade, first)


def test_the_exact_policy() -> None:
    certain, tied = case(), case(margin=EXACT.margin / 2)
    assert judged(certain, certain.labels) is None
    assert "margin" in str(judged(certain, flipped(certain, 1)))
    assert judged(tied, flipped(tied, 2)) is None
    assert "voxels differ" in str(judged(tied, flipped(tied, 3)))


def test_approximations_are_allowed_more() -> None:
    tied = case(margin=0.4)
    assert judged(tied, flipped(tied, 3)) is not None
    assert judged(tied, flipped(tied, 3), "mixed") is None
    assert judged(tied, flipped(tied, 500), "mixed") is not None
    assert judged(case(), flipped(case(), 3), "mixed") is not None


def test_dice() -> None:
    labels = np.array([0, 1, 1, 2, 2, 2], np.uint8)
    assert lowest_dice(labels, labels) == 1
    assert lowest_dice(labels * 0, labels * 0) == 1
    assert lowest_dice(labels, np.array([0, 1, 2, 2, 2, 2], np.uint8)) == pytest.approx(2 / 3)
    assert lowest_dice(labels, np.array([0, 1, 1, 0, 0, 0], np.uint8)) == 0


def test_auto_takes_the_first_that_passes_and_remembers(
    cascade: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_segmenter(cascade) as segmenter:
        assert (segmenter.device.asked, segmenter.device.obtained) == ("auto", "openvino")
        assert "passes" in segmenter.device.why
    monkeypatch.setattr(choose, "replay_all", lambda segmenter: pytest.fail("golden cases run again"))
    with open_segmenter(cascade) as segmenter:
        assert segmenter.device.obtained == "openvino"


@pytest.mark.parametrize("stage", STAGES)
def test_auto_passes_over_a_backend_that_fails_in_any_stage(
    cascade: Bundle, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def wrong_on_openvino(segmenter: Segmenter) -> list[golden.Comparison]:
        results = replay_all(segmenter)
        if segmenter.device.obtained == "openvino" and segmenter.role == stage:
            results[0] = replace(results[0], problem="7 voxels differ")
        return results

    monkeypatch.setattr(choose, "replay_all", wrong_on_openvino)
    with open_segmenter(cascade) as segmenter:
        assert segmenter.device.obtained == "cpu"
        assert "not openvino: golden case" in segmenter.device.why
        assert "7 voxels differ" in segmenter.device.why


def test_auto_passes_over_a_backend_whose_network_gives_nan(
    cascade: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_finite(segmenter: Segmenter) -> list[golden.Comparison]:
        if segmenter.device.obtained == "openvino":
            raise CaseError("The network returned NaN for this image; check the model.")
        return replay_all(segmenter)

    monkeypatch.setattr(choose, "replay_all", not_finite)
    with open_segmenter(cascade) as segmenter:
        assert segmenter.device.obtained == "cpu"
        assert "NaN" in segmenter.device.why


def test_nothing_left_to_choose(cascade: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "missing", lambda: ("openvino is not installed", "pip install it"))
    with pytest.raises(BackendError) as caught:
        open_segmenter(cascade, Options(precision="bf16"))
    assert "openvino is not installed" in str(caught.value)
    assert "no precision bf16" in str(caught.value)


def test_a_bundle_without_golden_cases_says_so(cascade: Bundle) -> None:
    bare = replace(cascade, manifest=cascade.manifest.model_copy(update={"golden": ()}))
    with open_segmenter(bare) as segmenter:
        assert "no golden cases" in segmenter.device.why


def test_the_golden_image_keeps_its_orientation(tmp_path: Path) -> None:
    """Stored as the owner's file has it, not as the reader turned it: the runtime turns it itself."""
    from scanside.export.cases import Candidate
    from scanside.runtime.volume import Geometry, Volume

    direction = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    data = volume((18, 22, 26), (1.9, 0.9, 1.0), seed=5).data
    image = Volume(data, Geometry((18, 22, 26), (1.9, 0.9, 1.0), (0.0, 0.0, 0.0), direction))
    _, folder = write_cascade(tmp_path, Tiny(reader="SimpleITKIOWithReorient", mirror=None))
    stages = nnunet._stages(folder, ExportOptions())
    cases = references([stages], None, Candidate("turned", "given", image))
    for role in STAGES:
        golden_case, _ = cases[role]
        assert golden_case.labels.shape == (18, 22, 26)
        assert golden_case.volume is image
    assert cases[STAGES[1]][0].previous is not None
    export_nnunet(folder, tmp_path / "bundle", ExportOptions(precisions=("fp32",)), lambda _: None)
    with open_segmenter(open_bundle(tmp_path / "bundle"), Options(device="cpu")) as segmenter:
        second = cases[STAGES[1]][0]
        mask = segmenter.segment(second.volume, previous=second.previous).mask
        assert (mask != second.labels).sum() <= 2
