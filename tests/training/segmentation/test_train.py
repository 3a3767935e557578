"""`scanside train segment` from a tiny cohort to a bundle and masks, killed in the middle and resumed.

Two channels, two folds, three epochs of three iterations: everything is real but the patience.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import OutputError, UsageError
from scanside.runtime.images.read import read_image
from scanside.training.cohort.table import Patient, read_cohort, write_cohort_table
from scanside.training.experiment import open_experiment
from scanside.training.segmentation import settings as recipe
from scanside.training.segmentation.train import train_segmenter

SHAPE, SPACING = (8, 24, 28), (6.0, 3.0, 3.0)
MAIN = (
    "import typer; from scanside.training.segmentation.cli import segment; "
    "app = typer.Typer(); app.command()(segment); app()"
)
ARGUMENTS = [
    "--role", "dwi", "--channels", "dwi,adc", "--folds", "2", "--epochs", "3", "--iterations", "3",
    "--val-iterations", "1", "--threads", "1", "--seed", "5", "--small-lesions",
]  # fmt: skip


def save(data: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((-30.0, 12.0, 5.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def make_cohort(path: Path) -> Path:
    """Five patients with a bright ball; the last one is for testing."""
    random = np.random.default_rng(3)
    grid = np.stack(
        np.meshgrid(*(np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True)), indexing="ij")
    )
    patients = []
    for number in range(5):
        size = 16.0 if number % 2 else 28.0
        centre = np.array([24.0, *random.uniform(25, 45, 2)])[:, None, None, None]
        lesion = ((grid - centre) ** 2).sum(axis=0) < (size / 2) ** 2
        image = random.normal(300, 20, SHAPE) + 200 * lesion
        adc = random.normal(1600, 60, SHAPE) - 500 * lesion
        folder = path / f"p{number}"
        save(image.astype(np.float32), folder / "dwi.nii.gz")
        save(adc.astype(np.float32), folder / "adc.nii.gz")
        save(lesion.astype(np.uint8), folder / "dwi_mask.nii.gz")
        split = "test" if number == 4 else "train"
        patients.append(Patient(folder.name, split, "PDAC", 60, "F", "one", 3.0, size))
    write_cohort_table(path, patients, name="balls", synthetic=True, description="", provenance={})
    return path


def command(cohort: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", MAIN, str(cohort), "-o", str(out), *ARGUMENTS, *more]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """An experiment whose first run was killed after the second epoch of the first fold; and what was said."""
    base = tmp_path_factory.mktemp("train")
    cohort, out = make_cohort(base / "cohort"), base / "experiment"
    first = command(cohort, out)
    assert first.stderr is not None
    said = ""
    for line in first.stderr:
        said += line
        if "epoch 2 of 3" in line:
            os.kill(first.pid, signal.SIGKILL)
            break
    else:
        pytest.fail(f"the first run ended by itself: {said}")
    first.wait()
    second = command(cohort, out, "--resume")
    printed, resumed = second.communicate()
    assert second.returncode == 0, resumed
    assert printed.strip() == str(out / "segmentation" / "dwi" / "bundle")
    return out, said, resumed


def test_a_killed_run_goes_on_where_it_stopped(trained: tuple[Path, str, str]) -> None:
    _, first, second = trained
    assert "fingerprint" in first and "preprocesses" in first
    assert "fingerprint" not in second, "finished steps are skipped"
    lines = [line for line in second.splitlines() if "fold 0 of" in line]
    assert "resuming" in second.split("fold 0 of")[0] and lines[0].startswith(
        "dwi fold 0 of 0–1, epoch 3 of 3"
    )
    assert len(lines) == 1
    assert "left in this fold" in second and "out-of-fold Dice" in second


def test_every_patient_has_a_mask_of_every_part_on_its_own_grid(trained: tuple[Path, str, str]) -> None:
    experiment = open_experiment(trained[0])
    cohort = read_cohort(experiment.cohort)
    for part, split in (("cross-validated", "train"), ("resubstitution", "train"), ("test", "test")):
        folder = experiment.masks(part, "dwi")
        names = {f"{patient.patient}.nii.gz" for patient in cohort.split(split)}
        assert {file.name for file in folder.iterdir()} == names
        for file in folder.iterdir():
            mask = read_image(file)
            image = read_image(cohort.image(file.name.removesuffix(".nii.gz"), "dwi"))
            assert image.geometry.difference(mask.geometry) is None
            assert set(np.unique(mask.data)) <= {0.0, 1.0}


def test_out_of_fold_masks_come_from_the_fold_that_left_the_patient_out(
    trained: tuple[Path, str, str],
) -> None:
    folder = open_experiment(trained[0]).segmentation("dwi")
    folds = json.loads((folder / "folds.json").read_text())
    model = Path(json.loads((folder / "model.json").read_text())["model"])
    for name, fold in folds.items():
        assert (model / f"fold_{fold}" / "validation" / f"{name}.nii.gz").is_file()
        assert not (model / f"fold_{1 - fold}" / "validation" / f"{name}.nii.gz").exists()


def test_the_bundle_is_nnunets_model_with_parity(trained: tuple[Path, str, str]) -> None:
    bundle = open_bundle(trained[0] / "segmentation" / "dwi" / "bundle")
    (segmenter,) = bundle.manifest.segmenters.values()
    assert [channel.name for channel in segmenter.plan.channels] == ["dwi", "adc"]
    assert [network.fold for network in segmenter.networks] == ["0", "1"]
    assert segmenter.plan.mirror_axes in (None, ()), "compact plans are trained without mirroring"
    assert "synthetic" in bundle.manifest.intended_use


def test_the_record_holds_every_choice(trained: tuple[Path, str, str]) -> None:
    record: dict[str, Any] = open_experiment(trained[0]).records()["segment-dwi"]
    assert record["seed"] == 5 and record["configuration"]["small_lesions"] is True
    assert record["configuration"]["trainer"] == "nnUNetTrainerNoMirroring"
    assert {"torch", "nnunetv2", "scanside"} <= set(record["versions"])
    network = record["network"]
    assert network["planner"] == "CompactPlanner" and network["parameters"] < 1_500_000
    assert network["features_per_stage"][0] == 8 and max(network["features_per_stage"]) <= 32
    assert min(network["spacing"]) >= 2.4
    training = record["training"]
    assert training["num_epochs"] == "3" and training["probabilistic_oversampling"] == "True"
    assert training["small_lesion_factor"] == 3
    curves = {fold: [point["epoch"] for point in points] for fold, points in training["curves"].items()}
    assert curves == {"0": [1, 2, 3], "1": [1, 2, 3]}, "the killed run's epochs too"
    assert {"prepare", "fold 0", "fold 1", "postprocessing", "export", "masks"} <= set(
        record["seconds_by_step"]
    )
    results = record["cross_validated"]
    assert 0 <= results["dice_postprocessed"] <= 1 and results["dice"] is not None
    assert record["patients"] == {"train": 4, "test": 1, "small_lesions": 2}


def test_a_second_run_needs_resume_and_the_same_settings(trained: tuple[Path, str, str]) -> None:
    experiment = open_experiment(trained[0])
    cohort = read_cohort(experiment.cohort)
    settings = recipe.load(experiment.segmentation("dwi") / "settings.json")
    with pytest.raises(OutputError, match="--resume"):
        train_segmenter(cohort, experiment, settings)
    other = recipe.Settings(role="dwi", channels=("dwi",), folds=2)
    with pytest.raises(UsageError, match="channels is"):
        train_segmenter(cohort, experiment, other, resume=True)
    before = (experiment.segmentation("dwi") / "bundle" / "bundle.json").stat().st_mtime
    started = time.monotonic()
    bundle = train_segmenter(cohort, experiment, settings, resume=True)  # nothing is left to do
    assert time.monotonic() - started < 5
    assert (bundle / "bundle.json").stat().st_mtime == before
