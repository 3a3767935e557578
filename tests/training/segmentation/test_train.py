"""`scanside train pretrain` and `train segment` from tiny cohorts to a bundle and masks, killed and resumed.

Two channels, two folds, three epochs of three iterations: everything is real but the patience.
"""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from scanside.runtime.errors import InputError, OutputError, UsageError
from scanside.runtime.images.read import read_image
from scanside.training.cohort.table import Patient, read_cohort, write_cohort_table
from scanside.training.experiment import open_experiment
from scanside.training.segmentation import settings as recipe
from scanside.training.segmentation.train import train_segmenter
from tests.support.onnx_exports import shared

SHAPE, SPACING = (8, 24, 28), (6.0, 3.0, 3.0)
MAIN = "from scanside.training.cli import app; app()"
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


def make_cohort(path: Path, seed: int = 3, count: int = 5) -> Path:
    """Patients with a bright ball; the last one is for testing."""
    random = np.random.default_rng(seed)
    grid = np.stack(
        np.meshgrid(*(np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True)), indexing="ij")
    )
    patients = []
    for number in range(count):
        size = 16.0 if number % 2 else 28.0
        centre = np.array([24.0, *random.uniform(25, 45, 2)])[:, None, None, None]
        lesion = ((grid - centre) ** 2).sum(axis=0) < (size / 2) ** 2
        image = random.normal(300, 20, SHAPE) + 200 * lesion
        adc = random.normal(1600, 60, SHAPE) - 500 * lesion
        folder = path / f"p{number}"
        save(image.astype(np.float32), folder / "dwi.nii.gz")
        save(adc.astype(np.float32), folder / "adc.nii.gz")
        save(lesion.astype(np.uint8), folder / "dwi_mask.nii.gz")
        split = "test" if number == count - 1 else "train"
        patients.append(Patient(folder.name, split, "PDAC", 60, "F", "one", 3.0, size))
    write_cohort_table(path, patients, name=f"balls {seed}", synthetic=True, description="", provenance={})
    return path


def command(*arguments: str | Path) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", MAIN, *map(str, arguments)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def inside(*arguments: str | Path) -> tuple[str, str]:
    """The same without a process of its own, whose steps are processes all the same; what it printed and said."""
    printed, said = io.StringIO(), io.StringIO()
    with shared(), redirect_stdout(printed), redirect_stderr(said):
        code = run(["train", *map(str, arguments)])
    assert code == 0, said.getvalue()
    return printed.getvalue(), said.getvalue()


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An experiment of `train pretrain`, which ends by the clock, and what was said.

    With two threads, nnU-Net prepares by pools of processes; with one, as in the other tests, by threads.
    """
    base = tmp_path_factory.mktemp("pretrain")
    cohort, out = make_cohort(base / "others", seed=8, count=4), base / "pretrained"
    arguments = ["--role", "dwi", "--channels", "dwi,adc", "--minutes", "0.02", "--iterations", "2"]
    printed, said = inside(
        "pretrain", cohort, "-o", out, *arguments, "--val-iterations", "1", "--threads", "2"
    )
    model = Path(printed.strip())
    assert (model / "fold_all" / "checkpoint_final.pth").is_file()
    return out, said


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, pretrained: tuple[Path, str]) -> tuple[Path, str, str]:
    """An experiment whose first run was killed after the second epoch of the first fold; and what was said."""
    base = tmp_path_factory.mktemp("train")
    cohort, out = make_cohort(base / "cohort"), base / "experiment"
    arguments = ("segment", cohort, "-o", out, *ARGUMENTS, "--pretrained", pretrained[0])
    first = command(*arguments)
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
    printed, resumed = inside(*arguments, "--resume")
    assert printed.strip() == str(out / "segmentation" / "dwi" / "bundle")
    return out, said, resumed


def test_pretraining_is_measured_on_patients_it_never_saw(pretrained: tuple[Path, str]) -> None:
    experiment = open_experiment(pretrained[0])
    record: dict[str, Any] = experiment.records()["pretrain-dwi"].data()
    assert set(record["held_out"]["by_patient"]) == {"p3"} and record["patients"] == {"train": 3, "test": 1}
    assert [file.name for file in experiment.masks("test", "dwi").iterdir()] == ["p3.nii.gz"]
    assert 0 <= record["held_out"]["dice"] <= 1
    assert list(record["training"]["curves"]) == ["all"] and record["configuration"]["minutes"] == 0.02
    assert "on all patients" in pretrained[1] and "patients left out" in pretrained[1]


def test_folds_start_from_the_pretrained_network_with_its_plan(
    trained: tuple[Path, str, str], pretrained: tuple[Path, str]
) -> None:
    record = open_experiment(trained[0]).records()["segment-dwi"].data()
    before = open_experiment(pretrained[0]).records()["pretrain-dwi"].data()
    file = Path(before["results_folder"]) / "fold_all" / "checkpoint_final.pth"
    assert record["configuration"]["pretrained"] == "/".join(file.parts[-3:])
    assert record["configuration"]["pretrained_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record["network"] == before["network"]
    assert record["configuration"]["learning_rate"] == 0.0005, "gently"


def test_the_weights_of_a_checkpoint_arrive_all_of_them(pretrained: tuple[Path, str]) -> None:
    import torch

    from scanside.export.checkpoint import load_checkpoint
    from scanside.export.model_folder import read_model_folder
    from scanside.export.network import build_network
    from scanside.training.segmentation.trainer import start_from

    record = open_experiment(pretrained[0]).records()["pretrain-dwi"].data()
    model = Path(record["results_folder"])
    file = model / "fold_all" / "checkpoint_final.pth"
    folder = read_model_folder(model, folds=None, checkpoint=file.name, trust_pickles=False)

    class Trainer:
        network = build_network(folder, 2, 2)

    start_from(Trainer, file)
    weights = load_checkpoint(file).weights
    assert any("seg_layers" in name for name in weights)
    for name, tensor in Trainer.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_what_cannot_be_started_from_is_refused_with_the_reason(
    trained: tuple[Path, str, str], pretrained: tuple[Path, str], tmp_path: Path
) -> None:
    from scanside.training.segmentation.pretrained import find_pretrained

    settings = recipe.Settings(role="dwi", channels=("dwi", "adc"))
    experiment, before = open_experiment(trained[0]), open_experiment(pretrained[0])
    model = Path(experiment.records()["segment-dwi"].data()["results_folder"])
    with pytest.raises(InputError, match="this very cohort"):
        find_pretrained(pretrained[0], settings, before.cohort_sha256)
    with pytest.raises(InputError, match="sees dwi,adc, and this training dwi"):
        find_pretrained(pretrained[0], recipe.Settings(role="dwi", channels=("dwi",)), "another")
    with pytest.raises(InputError, match="no finished training of the role t2w"):
        find_pretrained(pretrained[0], recipe.Settings(role="t2w", channels=("t2w",)), "another")
    with pytest.raises(UsageError, match="holds 2 folds; name the checkpoint of one"):
        find_pretrained(model, settings, "another")
    with pytest.raises(InputError, match="configuration 3d_fullres, and this training of 2d"):
        find_pretrained(pretrained[0], replace(settings, configuration="2d"), "another")
    with pytest.raises(InputError, match="is not an nnU-Net v2 results folder"):
        find_pretrained(tmp_path, settings, "another")
    one = find_pretrained(model / "fold_1" / "checkpoint_final.pth", settings, "another")
    assert one.checkpoint == (model / "fold_1" / "checkpoint_final.pth").resolve()


def test_the_weights_of_a_bundle_arrive_but_for_the_heads_of_deep_supervision(
    pretrained: tuple[Path, str],
) -> None:
    import torch

    from scanside.export.checkpoint import load_checkpoint
    from scanside.export.model_folder import read_model_folder
    from scanside.export.network import build_network
    from scanside.training.segmentation.graph_weights import load_graph_weights

    experiment = open_experiment(pretrained[0])
    model = Path(experiment.records()["pretrain-dwi"].data()["results_folder"])
    folder = read_model_folder(model, folds=None, checkpoint="checkpoint_final.pth", trust_pickles=False)
    network = build_network(folder, 2, 2)
    left = load_graph_weights(
        network, experiment.segmentation("dwi") / "bundle" / "segmenters" / "3d_fullres" / "all.onnx"
    )
    weights = load_checkpoint(model / "fold_all" / "checkpoint_final.pth").weights
    own = dict(network.named_parameters())
    deepest = max(name.rsplit(".", 1)[0] for name in own if "seg_layers" in name)
    assert set(left) == {name for name in own if "seg_layers" in name and not name.startswith(deepest)}
    for name in set(own) - set(left):
        assert torch.equal(own[name], weights[name]), name


def test_weights_of_another_network_or_none_are_refused(pretrained: tuple[Path, str], tmp_path: Path) -> None:
    import torch

    from scanside.training.segmentation.graph_weights import load_graph_weights

    graph = (
        open_experiment(pretrained[0]).segmentation("dwi")
        / "bundle"
        / "segmenters"
        / "3d_fullres"
        / "all.onnx"
    )
    with pytest.raises(InputError, match=r"does not fit|holds no weights for"):
        load_graph_weights(torch.nn.Conv3d(1, 1, 1), graph)
    (tmp_path / "broken.onnx").write_bytes(graph.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cannot be read as an ONNX graph|holds no weights for"):
        load_graph_weights(torch.nn.Conv3d(1, 1, 1), tmp_path / "broken.onnx")


def test_a_training_starts_from_a_bundle_on_its_grid(
    trained: tuple[Path, str, str], pretrained: tuple[Path, str], tmp_path: Path
) -> None:
    from scanside.training.segmentation.pretrained import find_pretrained
    from scanside.training.segmentation.pretrained_bundle import take_over_grid

    settings = recipe.Settings(role="dwi", channels=("dwi", "adc"))
    bundle = open_experiment(pretrained[0]).segmentation("dwi") / "bundle"
    graph = bundle / "segmenters" / "3d_fullres" / "all.onnx"
    one = find_pretrained(bundle, settings, "another")
    assert one.checkpoint == graph.resolve() and one.sha256 == hashlib.sha256(graph.read_bytes()).hexdigest()
    assert find_pretrained(graph, settings, "another") == one
    several = open_experiment(trained[0]).segmentation("dwi") / "bundle"
    with pytest.raises(UsageError, match=r"holds 2 networks; name the graph of one, such as .*0\.onnx"):
        find_pretrained(several, settings, "another")
    with pytest.raises(InputError, match="sees dwi,adc, and this training t2w"):
        find_pretrained(bundle, recipe.Settings(role="t2w", channels=("t2w",)), "another")
    with pytest.raises(InputError, match="sees dwi,adc, and this training dwi"):
        find_pretrained(bundle, recipe.Settings(role="dwi", channels=("dwi",)), "another")
    with pytest.raises(InputError, match="has no networks of the role dwi"):
        find_pretrained(bundle, replace(settings, configuration="2d"), "another")
    (tmp_path / "alone.onnx").write_bytes(graph.read_bytes())
    with pytest.raises(UsageError, match="lies in no bundle"):
        find_pretrained(tmp_path / "alone.onnx", settings, "another")
    plans = tmp_path / "plans.json"
    made = json.loads((Path(trained_model(trained)) / "plans.json").read_text())
    made["configurations"]["3d_fullres"] |= {"spacing": [1.0, 1.0, 1.0], "patch_size": [8, 8, 8]}
    plans.write_text(json.dumps(made))
    take_over_grid(graph, plans, settings)
    taken = json.loads(plans.read_text())["configurations"]["3d_fullres"]
    plan = open_bundle(bundle).manifest.segmenters["3d_fullres"].plan
    assert taken["spacing"] == list(plan.spacing) and taken["patch_size"] == list(plan.patch_size)


def trained_model(trained: tuple[Path, str, str]) -> str:
    return str(open_experiment(trained[0]).records()["segment-dwi"].data()["results_folder"])


def test_a_dry_run_names_what_would_be_trained_and_leaves_nothing(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "cohort")
    printed, _ = inside("segment", cohort, "-o", tmp_path / "out", *ARGUMENTS, "--dry-run")
    assert "dwi: 2 networks on about 2 of 4 training patients" in printed and "from random weights" in printed
    assert "3 epochs of 3 iterations; an iteration took" in printed and "for each network" in printed
    assert not (tmp_path / "out").exists()


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
    record: dict[str, Any] = open_experiment(trained[0]).records()["segment-dwi"].data()
    assert record["seed"] == 5 and record["configuration"]["small_lesions"] is True
    assert record["configuration"]["trainer"] == "nnUNetTrainerNoMirroring"
    assert {"torch", "nnunetv2", "scanside"} <= set(record["versions"])
    network = record["network"]
    assert network["planner"] == "CompactPlanner" and network["parameters"] < 1_500_000
    assert network["features_per_stage"][0] == 8 and max(network["features_per_stage"]) <= 64
    assert min(network["spacing"]) >= 3.0
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


def test_test_patients_stay_sealed_until_they_are_asked_for(trained: tuple[Path, str, str]) -> None:
    experiment = open_experiment(trained[0])
    cohort = read_cohort(experiment.cohort)
    settings = recipe.load(experiment.segmentation("dwi") / "settings.json")
    mask = experiment.masks("test", "dwi") / "p4.nii.gz"
    before = mask.read_bytes()
    mask.unlink()
    train_segmenter(cohort, experiment, settings, resume=True, test=False)
    assert not mask.exists() and experiment.records()["segment-dwi"].data()["patients"]["test"] == 0
    train_segmenter(cohort, experiment, settings, resume=True)
    assert mask.read_bytes() == before and experiment.records()["segment-dwi"].data()["patients"]["test"] == 1
