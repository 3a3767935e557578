"""The parts of `scanside train segment` that need no training: folds, settings, dataset, processes, words."""

import itertools
import json
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from scanside.runtime.errors import BackendError, CaseError, InputError, UsageError
from scanside.training.cohort.table import Cohort, Patient
from scanside.training.segmentation import options, schedule
from scanside.training.segmentation import settings as recipe
from scanside.training.segmentation.dataset import write_dataset
from scanside.training.segmentation.estimate import in_words
from scanside.training.segmentation.folds import make_folds, splits
from scanside.training.segmentation.process import environment, run_step
from scanside.training.segmentation.progress import Progress, minutes
from scanside.training.segmentation.settings import Settings
from tests.support.dicom_factory import Grid, stored_values, write_series

T2W = Settings(role="t2w", channels=("t2w",), folds=3)


def patient(name: str, diagnosis: str = "PDAC", size: float = 30.0, scanner: str = "one") -> Patient:
    return Patient(name, "train", diagnosis, 60, "F", scanner, 3.0, size)


patients_lists = st.lists(
    st.tuples(
        st.sampled_from(["PDAC", "PNEN", "SPN"]),
        st.sampled_from([12.0, 20.0, 35.0, 40.0, 60.0]),
        st.sampled_from(["one", "two", "three"]),
    ),
    min_size=5,
    max_size=60,
).map(lambda rows: [patient(f"p{i}", *row) for i, row in enumerate(rows)])


@given(patients_lists, st.integers(2, 5), st.integers(0, 5))
def test_folds_are_a_balanced_partition(patients: list[Patient], count: int, seed: int) -> None:
    folds = make_folds(patients, count, seed)
    assert set(folds) == {p.patient for p in patients}
    sizes = Counter(folds.values())
    assert set(sizes) == set(range(count)) and max(sizes.values()) - min(sizes.values()) <= 1
    for diagnosis in {p.diagnosis for p in patients}:
        of_it = Counter(folds[p.patient] for p in patients if p.diagnosis == diagnosis)
        assert max(of_it.values()) - min(of_it[fold] for fold in range(count)) <= 1
        small = Counter(folds[p.patient] for p in patients if p.diagnosis == diagnosis and p.lesion_mm < 20)
        if small:
            assert max(small.values()) - min(small[fold] for fold in range(count)) <= 1
    assert folds == make_folds(patients[::-1], count, seed)  # the order of the table does not matter


def test_folds_depend_on_the_seed_and_need_enough_patients() -> None:
    patients = [patient(f"p{i}") for i in range(12)]
    assert make_folds(patients, 3, 0) != make_folds(patients, 3, 1)
    with pytest.raises(UsageError, match="2 training patients cannot be split into 3"):
        make_folds(patients[:2], 3, 0)


def test_splits_leave_every_patient_out_once() -> None:
    folds = make_folds([patient(f"p{i}") for i in range(11)], 3, 0)
    parts = splits(folds)
    assert len(parts) == 3
    assert sorted(itertools.chain.from_iterable(part["val"] for part in parts)) == sorted(folds)
    for part in parts:
        assert not set(part["train"]) & set(part["val"])
        assert sorted(part["train"] + part["val"]) == sorted(folds)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"role": "adc"}, "no role 'adc'"),
        ({"channels": ("dwi",)}, "do not fit the role t2w"),
        ({"channels": ("t2w", "adc")}, "do not fit the role t2w"),
        ({"channels": ()}, "do not fit the role t2w"),
        ({"role": "dwi", "channels": ("adc", "dwi")}, "sees dwi first"),
        ({"role": "dwi", "channels": ("dwi", "adc", "adc")}, "twice"),
        ({"folds": 0}, "fewer than one fold"),
        ({"minutes": 0.0}, "--epochs or after --minutes"),
        ({"minutes": 5.0, "epochs": 3}, "--epochs or after --minutes"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"foreground": 1.5}, "between 0 and 1"),
        ({"bfloat16": True, "device": "cuda"}, "for a CPU"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(T2W, **change)


def test_a_machine_has_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's own defaults on a GPU; on a CPU the compact plan, in bfloat16 where the processor has it."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    gpu = options.choose(role="dwi", device="cuda")
    assert gpu.plans == "default" and gpu.trainer == "nnUNetTrainer" and not gpu.bfloat16
    assert (gpu.epochs, gpu.iterations, gpu.learning_rate, gpu.optimizer, gpu.shift) == (None,) * 5
    monkeypatch.setattr(options, "has_bfloat16", lambda: True)
    cpu = options.choose(role="dwi")
    assert cpu.plans == "compact" and cpu.bfloat16 and (cpu.epochs, cpu.learning_rate) == (200, 0.002)
    assert not options.choose(role="dwi", bfloat16=False).bfloat16
    monkeypatch.setattr(options, "has_bfloat16", lambda: False)
    assert not options.choose(role="dwi").bfloat16
    gentle = options.choose(role="dwi", pretrained=Path("p"))
    assert (gentle.epochs, gentle.learning_rate) == (40, 0.0005)
    assert options.choose(role="dwi", minutes=3).epochs is None
    assert options.choose(role="dwi", device="cuda", plans="compact").plans == "compact"


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False), ({}, False)],
)
def test_bfloat16_needs_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: bool
) -> None:
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert options.has_bfloat16() is expected


class _Timed:
    """A trainer whose epochs take ten seconds on a clock of its own."""

    initial_lr, current_epoch = 0.5, 0

    def __init__(self) -> None:
        import torch

        self.logged: dict[str, list[float]] = {"epoch_start_timestamps": [], "epoch_end_timestamps": []}
        self.logger = self
        self.optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=self.initial_lr)
        self.lr_scheduler: Any = None

    def get_value(self, key: str, step: None) -> list[float]:
        return self.logged[key]

    def on_epoch_end(self) -> None:
        self.logged["epoch_end_timestamps"].append(10.0 * self.current_epoch + 10)
        self.current_epoch += 1


def test_a_training_by_the_clock_ends_with_its_learning_rate() -> None:
    trainer = _Timed()
    schedule.train_for(trainer, 45.0)
    rates = []
    with pytest.raises(schedule.TimeIsUp):
        for epoch in range(100):
            trainer.logged["epoch_start_timestamps"].append(10.0 * epoch)
            trainer.lr_scheduler.step(epoch)
            rates += trainer.lr_scheduler.get_last_lr()
            trainer.on_epoch_end()
    parts = [0, 10 / 45, 20 / 45, 30 / 45, 40 / 45]
    np.testing.assert_allclose(rates, [0.5 * (1 - part) ** 0.9 for part in parts], rtol=1e-12)
    assert trainer.current_epoch == 5, "the epoch in which the time ran out is the last one"


@pytest.mark.parametrize("batch", [1, 2])
def test_norms_without_copies_are_the_same_norms(batch: int) -> None:
    import torch

    from scanside.training.segmentation.trainer import normalise_in_layout

    torch.manual_seed(1)
    norm = torch.nn.InstanceNorm3d(4, eps=1e-5, affine=True)
    torch.nn.init.normal_(norm.weight)
    image = (10 + torch.randn(batch, 4, 5, 6, 7)).to(memory_format=torch.channels_last_3d).requires_grad_()
    there, back = {}, {}
    for name in ("theirs", "ours"):
        if name == "ours":
            normalise_in_layout(torch.nn.Sequential(norm))
        image.grad, norm.weight.grad = None, None
        there[name] = norm(image)
        there[name].sin().sum().backward()
        assert image.grad is not None and norm.weight.grad is not None
        back[name] = (image.grad.clone(), norm.weight.grad.clone())
    torch.testing.assert_close(there["ours"], there["theirs"], atol=2e-5, rtol=1e-5)
    voxels = batch * 5 * 6 * 7  # the gradient of a weight is a sum over them, and so is its rounding
    for ours, theirs, terms in zip(back["ours"], back["theirs"], (1, voxels), strict=True):
        torch.testing.assert_close(ours / terms, theirs / terms, atol=1e-5 if terms > 1 else 1e-4, rtol=1e-4)
    assert there["ours"].is_contiguous(memory_format=torch.channels_last_3d), "the layout stays"


def test_the_time_of_a_training_in_words() -> None:
    told = {
        "parameters": 770_000, "patch": [16, 64, 80], "batch": 2, "spacing": [6.0, 3.0, 3.0], "epochs": 40,
        "iterations": 30, "val_iterations": 5, "iteration": 0.2, "val_iteration": 0.04,
    }  # fmt: skip
    words = in_words(replace(T2W, epochs=40, pretrained="others/checkpoint_final.pth"), 165, told)
    assert (
        "t2w: 3 networks on about 110 of 165 training patients, 770,000 weights, from the weights of others/"
        in words
    )
    assert "16 × 64 × 80 voxels at 6 × 3 × 3 mm, 2 at a time" in words
    assert "About 4.1 min for each network, 12.4 min in all" in words
    timed = in_words(replace(T2W, folds=1, minutes=62.0), 165, told)
    assert "one network on all 165" in timed and "62.0 min, about 600 epochs" in timed


def test_cuda_is_not_replaced_in_silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    from scanside.training.segmentation.cli import segment

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="no CUDA GPU"):
        segment(tmp_path, tmp_path / "out", role="t2w", device="cuda")
    assert not (tmp_path / "out").exists()


def test_settings_travel_as_json_and_are_compared(tmp_path: Path) -> None:
    settings = Settings(role="dwi", channels=("dwi", "adc"), epochs=3, foreground=0.5)
    recipe.save(settings, tmp_path / "a" / "settings.json")
    assert recipe.load(tmp_path / "a" / "settings.json") == settings
    assert recipe.difference(settings, replace(settings, threads=1, workers=4, device="cuda")) is None
    assert recipe.difference(settings, replace(settings, epochs=4)) == "epochs is 3, and was 4"
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(InputError, match="does not hold the settings"):
        recipe.load(tmp_path / "b.json")


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """One patient, T2WI as a DICOM series with oblique slices, its mask as NIfTI."""
    c, s = np.cos(0.3), np.sin(0.3)
    grid = Grid(orientation=(1.0, 0.0, 0.0, 0.0, c, s))
    write_series(tmp_path / "cohort" / "ann" / "t2w", stored_values(), grid)
    mask = sitk.GetImageFromArray(np.ones((5, 8, 6), np.uint8))
    sitk.WriteImage(mask, str(tmp_path / "cohort" / "ann" / "t2w_mask.nii.gz"))
    return Cohort(tmp_path / "cohort", "one", True, (patient("ann"),), {})


def test_dicom_becomes_nifti_on_the_same_grid(cohort: Cohort, tmp_path: Path) -> None:
    from scanside.runtime.dicom.read import read_series
    from scanside.runtime.images.read import read_image

    folder = write_dataset(cohort, cohort.patients, T2W, tmp_path / "raw")
    source, _ = read_series(cohort.path / "ann" / "t2w")
    written = read_image(folder / "imagesTr" / "ann_0000.nii.gz")
    np.testing.assert_array_equal(written.data, source.data)
    assert source.geometry.difference(written.geometry) is None
    label = folder / "labelsTr" / "ann.nii.gz"
    assert label.read_bytes() == cohort.mask("ann", "t2w").read_bytes()
    document = json.loads((folder / "dataset.json").read_text())
    assert document["channel_names"] == {"0": "t2w"} and document["numTraining"] == 1
    assert document["labels"] == {"background": 0, "lesion": 1} and "synthetic" in document["name"]


def test_what_an_interrupted_conversion_left_is_replaced(cohort: Cohort, tmp_path: Path) -> None:
    folder = write_dataset(cohort, cohort.patients, T2W, tmp_path / "raw")
    (folder / "imagesTr" / "gone_0000.nii.gz").touch()
    write_dataset(cohort, cohort.patients, T2W, tmp_path / "raw")
    assert [file.name for file in (folder / "imagesTr").iterdir()] == ["ann_0000.nii.gz"]


def test_names_and_files_that_nnunet_cannot_have(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ends in '_seg'"):
        write_dataset(cohort, [patient("ann_seg")], T2W, tmp_path / "raw")
    with pytest.raises(InputError, match=r"Patient ben lacks .*t2w\.nii\.gz"):
        write_dataset(cohort, [patient("ben")], T2W, tmp_path / "raw")


def test_planning_gets_a_worker_and_training_may_have_none(tmp_path: Path) -> None:
    train = environment(tmp_path, replace(T2W, threads=2), "train")
    assert train["nnUNet_n_proc_DA"] == "0" and train["OMP_NUM_THREADS"] == "2"
    assert environment(tmp_path, T2W, "prepare")["nnUNet_n_proc_DA"] == "1"
    assert Path(train["nnUNet_raw"]) == tmp_path.resolve() / "raw"


def test_a_step_that_fails_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="does not hold the settings") as caught:
        run_step(tmp_path, T2W, "prepare", lambda message: None)
    log = tmp_path / "log" / "prepare.txt"
    assert str(log) in str(caught.value) and "Traceback" in log.read_text()


def test_a_step_ends_when_its_parent_stops_listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for nnU-Net tells its process id and then would sleep for a minute."""
    (tmp_path / "sitecustomize.py").write_text(
        "import json, os, sys, time\n"
        "if os.environ.get('SLEEPER'):\n"
        "    print(json.dumps({'pid': os.getpid()}), flush=True)\n"
        "    time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SLEEPER", "1")
    children: list[int] = []

    def interrupt(message: dict[str, Any]) -> None:
        children.append(message["pid"])
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_step(tmp_path, T2W, "prepare", interrupt)
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(children[0], 0)


def test_words_with_the_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("dwi", 3, tmp_path / "progress.jsonl")
    progress.start_fold("1", after=1)
    progress({"event": "network", "parameters": 306800, "begun": False})
    epoch = {"event": "epoch", "epochs": 11, "loss": -0.25, "dice": 0.5, "seconds": 12.0}
    progress({**epoch, "epoch": 1})
    words = capsys.readouterr().err.splitlines()
    assert progress.parameters == 306800 and "306,800" in words[0]
    assert "epoch 1 of 11: loss -0.250, pseudo Dice 0.500; 2.0 min left in this fold, 4.2 min" in words[1]
    assert minutes(89) == "89 s" and minutes(90) == "1.5 min"


def test_progress_outlives_an_interruption(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    first = Progress("dwi", 3, file)
    first.start_fold("1", after=1)
    first({"event": "network", "parameters": 306800, "begun": False})
    epoch = {"event": "epoch", "epochs": 2, "loss": -0.25, "dice": 0.5, "seconds": 12.0}
    first({**epoch, "epoch": 1})
    first({**epoch, "epoch": 2})
    with first.measure("fold 1"):
        pass
    with pytest.raises(KeyboardInterrupt), first.measure("fold 2"):
        raise KeyboardInterrupt
    with file.open("a") as stream:
        stream.write('{"event": "epo')
    second = Progress("dwi", 3, file)
    assert second.parameters == 306800 and second.seconds == [12.0, 12.0] and set(second.steps) == {"fold 1"}
    second.start_fold("1", after=1)
    second({**epoch, "epoch": 2, "dice": 0.75})
    points = [{"epoch": 1, "loss": -0.25, "dice": 0.5}, {"epoch": 2, "loss": -0.25, "dice": 0.75}]
    assert second.curves == {"1": points} and Progress("dwi", 3, file).curves == {"1": points}


class _Data:
    def __init__(self, *names: str) -> None:
        self.identifiers = list(names)


class _Trainer:
    def get_tr_and_val_datasets(self) -> tuple[_Data, _Data]:
        return _Data("a", "b", "c"), _Data("d")


def test_bfloat16_leaves_weights_and_logits_in_float32() -> None:
    import torch

    from scanside.training.segmentation.trainer import compute_in_bfloat16

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3), torch.nn.LeakyReLU(), torch.nn.Conv3d(4, 2, 1))
    image = torch.randn(1, 1, 6, 6, 6)
    exact = network(image)
    compute_in_bfloat16(network)
    near = network(image)
    near.square().mean().backward()
    assert near.dtype == torch.float32 and {w.dtype for w in network.parameters()} == {torch.float32}
    assert all(w.grad is not None and w.grad.dtype == torch.float32 for w in network.parameters())
    assert not torch.equal(near, exact), "bfloat16 was not used"
    torch.testing.assert_close(near, exact, atol=0.03, rtol=0.05)


def test_small_lesions_are_drawn_more_often() -> None:
    from scanside.training.segmentation.trainer import draw_more_often

    trainer = _Trainer()
    draw_more_often(trainer, ["b", "d"])
    training, validation = trainer.get_tr_and_val_datasets()
    assert Counter(training.identifiers) == {"a": 1, "b": 3, "c": 1}
    assert validation.identifiers == ["d"]


def test_seeds_repeat_per_epoch() -> None:
    import random

    import torch

    from scanside.training.segmentation.trainer import seed_everything

    def draw(*where: int) -> tuple[float, float, float]:
        seed_everything(*where)
        return random.random(), float(np.random.random()), float(torch.rand(1))

    first = draw(1, 0, 5)
    assert first == draw(1, 0, 5)
    assert len({first, draw(2, 0, 5), draw(1, 1, 5), draw(1, 0, 6)}) == 4


def test_a_record_names_the_pretrained_network_and_not_where_it_lies(tmp_path: Path) -> None:
    name = "nnUNetTrainer__nnUNetPlans__3d_fullres/fold_all/checkpoint_final.pth"
    one, other = (
        Settings("t2w", ("t2w",), pretrained=str(tmp_path / place / name), pretrained_sha256="ab" * 32)
        for place in ("here", "there")
    )
    assert recipe.recorded(one) == recipe.recorded(other)
    assert (
        recipe.recorded(one)["pretrained"] == name and recipe.recorded(one)["pretrained_sha256"] == "ab" * 32
    )
    assert recipe.recorded(Settings("t2w", ("t2w",)))["pretrained"] is None
    recipe.save(one, tmp_path / "settings.json")
    assert recipe.load(tmp_path / "settings.json") == one, "what goes on still finds it"
