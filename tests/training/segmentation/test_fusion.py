"""`scanside train fusion`: who is judged by which choice, what is written, and that a new study gets the same mask.

The networks are those of one convolution (`tiny_study`); lesions are faint on T2WI and bright on DWI.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.main import get_command

from scanside.export.study_parts import _fusions
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.manifest import Fusion
from scanside.runtime.masks.overlap import dice
from scanside.runtime.options import Options
from scanside.runtime.study.checks import check_study
from scanside.runtime.study.fusion import fused_mask, seen_from, together
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.records import SequenceImage, StudyInput
from scanside.runtime.volume import Volume
from scanside.training.cli import app
from scanside.training.cohort.table import Cohort, Patient, read_cohort, write_cohort_table
from scanside.training.experiment import Experiment, open_experiment, start_experiment
from scanside.training.segmentation import fusion_choice
from scanside.training.segmentation.fusion import undo
from scanside.training.segmentation.fusion_choice import best, best_by_fold, candidates, dice_of_choices
from scanside.training.segmentation.odds import open_witness
from tests.runtime.study.tiny_study import (
    T2W_GRID,
    TinyBundle,
    TinyStudy,
    _balls,
    _series,
    images,
    write_bundle,
    write_image,
)
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("both-sequences", "no-leakage")
PATIENTS, TRAIN = 6, 4


def faint(index: int) -> dict[str, Volume]:
    """A study whose lesion reaches the T2WI network's level in some voxels only."""
    centre = (-12.0 + 3 * index, 8.0 - 2 * index, 6.0)
    balls = ((centre, 13.0),)
    made = images(TinyStudy(t2w=(), dwi=balls, seed=index))
    t2w, random = made["t2w"].data[0].copy(), np.random.default_rng(index)
    inside = _balls(T2W_GRID, balls)
    level = t2w.mean() + t2w.std() * (2.3 + 0.5 * random.standard_normal(inside.sum()))
    t2w[inside] = np.rint(level)
    return {**made, "t2w": Volume(t2w[None], T2W_GRID)}


def truth(index: int, role: str) -> Volume:
    centre = (-12.0 + 3 * index, 8.0 - 2 * index, 6.0)
    grid = images()[role].geometry
    return Volume(_balls(grid, ((centre, 13.0),)).astype(np.float32)[None], grid)


def names() -> list[str]:
    return [f"P{index}" for index in range(PATIENTS)]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment as `train segment` leaves it, with both segmenters. Not to be changed: copy it."""
    base = tmp_path_factory.mktemp("fusion")
    cohort = base / "cohort"
    patients = [
        Patient(patient=name, split="train" if index < TRAIN else "test", diagnosis="PDAC", age=60.0, sex="F",
                scanner="A", field_t=3.0, lesion_mm=26.0)
        for index, name in enumerate(names())
    ]  # fmt: skip
    write_cohort_table(cohort, patients, name="faint", synthetic=True, description="Balls.", provenance={})
    for index, name in enumerate(names()):
        (cohort / name).mkdir()
        for sequence, volume in faint(index).items():
            write_image(volume, cohort / name / f"{sequence}.nii.gz")
        for role in ("t2w", "dwi"):
            mask = sitk.Cast(sitk.GetImageFromArray(truth(index, role).data[0]), sitk.sitkUInt8)
            mask.CopyInformation(sitk.ReadImage(str(cohort / name / f"{role}.nii.gz")))
            sitk.WriteImage(mask, str(cohort / name / f"{role}_mask.nii.gz"))
    experiment = start_experiment(base / "experiment", cohort, synthetic=True)
    for role in ("t2w", "dwi"):
        recipe = TinyBundle(channels={role: (role,)}, classifier=False, folds=2)
        folder = experiment.segmentation(role)
        folder.mkdir(parents=True)
        write_bundle(folder / "bundle", recipe)
        (folder / "folds.json").write_text(json.dumps({f"P{i}": i % 2 for i in range(TRAIN)}))
        with open_segmenter(open_bundle(folder / "bundle"), Options(device="cpu")) as segmenter:
            for index, name in enumerate(names()):
                part = "cross-validated" if index < TRAIN else "test"
                out = experiment.mask(part, role, name)
                out.parent.mkdir(parents=True, exist_ok=True)
                found = segmenter.segment(faint(index)[role])
                write_image(Volume(found.mask.astype(np.float32)[None], truth(index, role).geometry), out)
    return base


@pytest.fixture(scope="module")
def fused(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return run_fusion(shutil.copytree(begun / "experiment", tmp_path_factory.mktemp("fused") / "e"))


def run_fusion(path: Path, *options: str) -> Experiment:
    get_command(app).main(args=["fusion", str(path), *options], standalone_mode=False)
    return open_experiment(path)


def said(experiment: Experiment) -> dict:
    return dict(json.loads((experiment.segmentation("t2w") / "fusion.json").read_text()))


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def cohort_of(experiment: Experiment) -> Cohort:
    return read_cohort(experiment.cohort)


@given(arrays(np.float64, (6, 5), elements=st.floats(0, 1)), st.integers(0, 5))
def test_no_patient_is_judged_by_a_choice_that_saw_it(dices: np.ndarray, changed: int) -> None:
    table = {f"P{i}": row for i, row in enumerate(dices)}
    folds = {f"P{i}": i % 3 for i in range(6)}
    before = best_by_fold(table, folds)
    for fold, choice in before.items():
        others = [name for name in table if folds[name] != fold]
        assert choice == best(table, others)
        assert all(np.mean([table[n][choice] - table[n][k] for n in others]) >= -1e-12 for k in range(5))
    table[f"P{changed}"] = 1 - table[f"P{changed}"]
    assert best_by_fold(table, folds)[changed % 3] == before[changed % 3]


def test_alone_wins_a_tie() -> None:
    assert best({"P0": np.array([0.5, 0.5, 0.4])}, ["P0"]) == fusion_choice.ALONE == 0
    assert candidates("t2w", "dwi")[0] is None
    assert len(set(candidates("t2w", "dwi"))) == len(candidates("t2w", "dwi"))


def test_every_choice_is_judged_as_on_the_whole_image(fused: Experiment) -> None:
    """The box around a lesion changes nothing."""
    own, other = open_witness(fused, "t2w"), open_witness(fused, "dwi")
    cohort = cohort_of(fused)
    found = dice_of_choices(own, other, cohort, "P1", "cross-validated")
    reference = read(cohort.mask("P1", "t2w")) > 0
    seen, theirs = (one.odds("cross-validated", "P1", cohort) for one in (own, other))
    choices = candidates("t2w", "dwi")
    assert len(found) == len(choices)
    for index in (1, 7, 30, 52, 95):
        fusion = choices[index]
        assert fusion is not None
        there = seen_from(theirs, seen.geometry, fusion.blur_mm)
        mask = fused_mask(together(seen, there, fusion), own.plan) > 0
        assert found[index] == pytest.approx(dice(reference, mask), abs=1e-12)
    assert found[0] == pytest.approx(
        dice(reference, read(fused.masks_alone("cross-validated", "t2w") / "P1.nii.gz") > 0)
    )


def test_masks_are_decided_by_the_choice_of_the_other_folds(fused: Experiment) -> None:
    document, cohort = said(fused), cohort_of(fused)
    own, other = open_witness(fused, "t2w"), open_witness(fused, "dwi")
    for index, name in enumerate(names()):
        part = "cross-validated" if index < TRAIN else "test"
        chosen = Fusion.model_validate(
            document["folds"][str(index % 2)] if index < TRAIN else document["fusion"]
        )
        seen = own.odds(part, name, cohort)
        there = seen_from(other.odds(part, name, cohort), seen.geometry, chosen.blur_mm)
        expected = fused_mask(together(seen, there, chosen), own.plan)
        np.testing.assert_array_equal(read(fused.mask(part, "t2w", name)), expected)
        reference = read(cohort.mask(name, "t2w")) > 0
        alone = read(fused.masks_alone(part, "t2w") / f"{name}.nii.gz") > 0
        assert dice(reference, expected > 0) > dice(reference, alone) + 0.1, "the lesions are made so"
    gain = document["dice"][0]
    assert gain["patients"] == TRAIN and gain["difference"]["value"] > 0.1
    low, high = gain["difference"]["interval"]
    assert low <= gain["difference"]["value"] <= high
    assert not fused.masks_alone("test", "dwi").exists(), "the other sequence keeps its own masks"


def test_a_new_study_gets_the_mask_that_training_measured(fused: Experiment, tmp_path: Path) -> None:
    chosen = Fusion.model_validate(said(fused)["fusion"])
    path = write_bundle(tmp_path / "b", TinyBundle(folds=2, fusions=(chosen,)))
    with StudyRunner(open_bundle(path), Options(device="cpu")) as runner:
        for index in range(TRAIN, PATIENTS):
            made = {n: SequenceImage(n, v, Path(n), n, "made") for n, v in faint(index).items() if n != "b0"}
            result = runner.run(check_study(StudyInput("new", Path("new"), made)))
            expected = read(fused.mask("test", "t2w", f"P{index}"))
            np.testing.assert_array_equal(result.roles["t2w"].mask, expected)


def test_an_image_may_be_a_dicom_series(fused: Experiment, tmp_path: Path) -> None:
    folder = shutil.copytree(fused.cohort, tmp_path / "cohort")
    (folder / "P0" / "t2w.nii.gz").unlink()
    _series(tmp_path / "series", 5, faint(0)["t2w"], {"SeriesDescription": "t2_tse_tra_fs"})
    (tmp_path / "series" / "b0").rename(folder / "P0" / "t2w")
    own = open_witness(fused, "t2w")
    series, file = (own.odds("cross-validated", "P0", read_cohort(at)) for at in (folder, fused.cohort))
    assert series.geometry.difference(file.geometry) is None
    np.testing.assert_array_equal(series.probability, file.probability)


def test_it_may_be_run_again_and_undone(begun: Path, tmp_path: Path) -> None:
    path = shutil.copytree(begun / "experiment", tmp_path / "e")
    before = {file.relative_to(path): read(file) for file in (path / "masks").rglob("*.nii.gz")}
    once = said(run_fusion(path))
    decided = {file: read(path / file) for file in before}
    assert said(run_fusion(path)) == once, "it starts from the segmenter's own masks again"
    assert all((read(path / file) == mask).all() for file, mask in decided.items())
    assert undo(Experiment(path, begun / "cohort", "", True), "t2w")
    assert all((read(path / file) == mask).all() for file, mask in before.items())
    assert not (path / "segmentation" / "t2w" / "fusion.json").exists()
    assert not undo(Experiment(path, begun / "cohort", "", True), "t2w")


def test_masks_stay_where_nothing_is_gained(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The DWI shows every lesion; the faint T2WI can only take from it."""
    path = shutil.copytree(begun / "experiment", tmp_path / "e")
    experiment = run_fusion(path, "--role", "dwi", "--other", "t2w")
    document = json.loads((experiment.segmentation("dwi") / "fusion.json").read_text())
    assert document["fusion"] is None and set(document["folds"].values()) == {None}
    assert document["dice"][0]["difference"]["value"] == 0
    assert "dwi gains nothing from t2w" in capsys.readouterr().err
    for index in range(TRAIN, PATIENTS):
        alone = read(experiment.masks_alone("test", "dwi") / f"P{index}.nii.gz")
        np.testing.assert_array_equal(read(experiment.mask("test", "dwi", f"P{index}")), alone)
    segmenters = {role: open_bundle(experiment.segmentation(role) / "bundle") for role in ("t2w", "dwi")}
    assert _fusions(path, segmenters) == ()


def test_a_bundle_takes_it_only_with_the_segmenters_it_was_chosen_with(
    fused: Experiment, tmp_path: Path
) -> None:
    segmenters = {role: open_bundle(fused.segmentation(role) / "bundle") for role in ("t2w", "dwi")}
    assert _fusions(fused.path, segmenters) == (Fusion.model_validate(said(fused)["fusion"]),)
    other = write_bundle(tmp_path / "other", TinyBundle(channels={"dwi": ("dwi",)}, classifier=False))
    with pytest.raises(InputError, match="another segmenter of dwi") as caught:
        _fusions(fused.path, {**segmenters, "dwi": open_bundle(other)})
    assert_one_sentence(str(caught.value))


def test_refusals(begun: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not two sequences") as same:
        run_fusion(begun / "experiment", "--other", "t2w")
    assert_one_sentence(str(same.value))
    path = shutil.copytree(begun / "experiment", tmp_path / "e")
    shutil.rmtree(path / "masks" / "cross-validated" / "t2w")
    with pytest.raises(InputError, match="no out-of-fold masks of t2w") as masks:
        run_fusion(path)
    assert_one_sentence(str(masks.value))
    shutil.rmtree(path / "segmentation" / "dwi")
    with pytest.raises(InputError, match="holds no segmenter of dwi") as segmenter:
        run_fusion(path)
    assert_one_sentence(str(segmenter.value))
