"""Settings of a training: what makes no sense, what suits the machine, how they travel, and the time in words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scanside.runtime.errors import BackendError, InputError, UsageError
from scanside.training.segmentation import options
from scanside.training.segmentation import settings as recipe
from scanside.training.segmentation.estimate import in_words
from scanside.training.segmentation.settings import Settings
from tests.training.segmentation.small import T2W


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
