"""What cannot be exported is refused by name, before anything is written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError
from tests.export.refusing import FP32, refused
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import (
    TORCH,
    Tiny,
    checkpoint,
    edited_checkpoint,
    edited_json,
    write_cascade,
    write_model,
)


def _plans(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Callable[[Path], None]:
    """An edit of plans.json, given the plans and its configuration."""

    def edit(folder: Path) -> None:
        with edited_json(folder / "plans.json") as plans:
            change(plans, plans["configurations"]["3d_fullres"])

    return edit


def _dataset(**changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        with edited_json(folder / "dataset.json") as dataset:
            dataset.update(changes)

    return edit


def _set(target: str, **changes: Any) -> Callable[[Path], None]:
    return _plans(lambda plans, config: (plans if target == "plans" else config).update(changes))


EDITS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "normalisation": (_set("config", normalization_schemes=["Whitening"]), ("normalisation", "Whitening")),
    "CT without statistics": (
        _plans(
            lambda plans, config: (
                config.update(normalization_schemes=["CTNormalization"]),
                plans.update(foreground_intensity_properties_per_channel={}),
            )
        ),
        ("CTNormalization", "channel 0"),
    ),
    "resampling of data": (_set("config", resampling_fn_data="by_magic"), ("resampling", "by_magic")),
    "resampling of logits": (_set("config", resampling_fn_probabilities="by_magic"), ("by_magic",)),
    "resampling of masks": (_set("config", resampling_fn_seg="by_magic"), ("by_magic",)),
    "torch resampling with another mode": (
        _plans(
            lambda plans, config: config.update(
                resampling_fn_data=TORCH, resampling_fn_data_kwargs={"mode": "nearest"}
            )
        ),
        ("resample_torch_fornnunet", "nearest"),
    ),
    "an argument of resampling": (
        _plans(lambda plans, config: config["resampling_fn_data_kwargs"].update(separate_z_anisotropy_threshold=5)),
        ("separate_z_anisotropy_threshold",),
    ),
    "logits not resampled back": (
        _set("config", resampling_fn_probabilities="no_resampling_hack", resampling_fn_probabilities_kwargs={}),
        ("no_resampling_hack",),
    ),
    "preprocessor": (_set("config", preprocessor_name="MyPreprocessor"), ("preprocessor", "MyPreprocessor")),
    "label manager": (_set("plans", label_manager="MyLabels"), ("label manager", "MyLabels")),
    "reader": (_set("plans", image_reader_writer="OwnIO"), ("image reader", "OwnIO", "SimpleITKIO")),
    "masks resampled as images": (
        _plans(lambda plans, config: config["resampling_fn_seg_kwargs"].update(is_seg=False)),
        ("for seg", "is_seg=False"),
    ),
    "an ignore label below others": (
        _dataset(labels={"background": 0, "ignore": 1, "a": 2}),
        ("without gaps",),
    ),
    "a background that is not 0": (_dataset(labels={"background": 1, "a": 0, "b": 2}), ("background",)),
    "labels with gaps": (_dataset(labels={"background": 0, "a": 1, "b": 3}), ("without gaps", "(0, 1, 3)")),
    "no background": (_dataset(labels={"a": 1, "b": 2, "c": 3}), ("background",)),
    "regions without an order": (
        _dataset(labels={"background": 0, "whole": [1, 2], "core": 2}),
        ("regions_class_order",),
    ),
    "regions and another number of classes": (
        _dataset(labels={"background": 0, "whole": [1, 2], "core": 2}, regions_class_order=[1, 2, 3]),
        ("regions_class_order", "2 regions"),
    ),
    "no labels": (_dataset(labels=None), ("labels",)),
    "no channels": (_dataset(channel_names={}), ("channels",)),
    "another number of channels": (_dataset(channel_names={"0": "T1", "1": "T2"}), ("2 channels", "1")),
    "plans without readers": (_plans(lambda plans, config: plans.pop("image_reader_writer")), ("image_reader_writer",)),
    "plans without spacing": (_plans(lambda plans, config: config.pop("spacing")), ("spacing",)),
    "plans without statistics": (
        _plans(lambda plans, config: plans.pop("foreground_intensity_properties_per_channel")),
        ("foreground_intensity_properties_per_channel",),
    ),
    "plans without configurations": (_plans(lambda plans, config: plans.pop("configurations")), ("3d_fullres",)),
    "plans without an architecture": (_plans(lambda plans, config: config.pop("architecture")), ("3d_fullres",)),
    "an architecture nobody knows": (
        _plans(lambda plans, config: config["architecture"].update(network_class_name="nowhere.Net")),
        ("cannot build its network",),
    ),
    "other weights than the plans": (
        _plans(lambda plans, config: config["architecture"]["arch_kwargs"].update(features_per_stage=[4, 6])),
        ("fold 0", "do not fit"),
    ),
    "a parent configuration that is not there": (
        _set("config", inherits_from="3d_gone"), ("3d_fullres", "3d_gone")),
    "mirror axes of another dimension": (lambda folder: _mirror(folder, (0, 3)), ("mirror_axes",)),
    "a transposition that is none": (_set("plans", transpose_backward=[1, 0, 2]), ("transpose_backward",)),
    "plans missing": (lambda folder: (folder / "plans.json").unlink(), ("plans.json", "<Trainer>__<Plans>__")),
    "plans not JSON": (lambda folder: _write(folder / "plans.json", "{,"), ("plans.json", "not valid JSON")),
    "plans a list": (lambda folder: _write(folder / "plans.json", "[]"), ("plans.json",)),
    "dataset missing": (lambda folder: (folder / "dataset.json").unlink(), ("dataset.json",)),
    "no fold": (lambda folder: checkpoint(folder).unlink(), ("no fold", "checkpoint_final.pth")),
    "checkpoint truncated": (lambda folder: _truncate(checkpoint(folder)), ("fold_0", "damaged or truncated")),
    "checkpoint empty": (lambda folder: _write(checkpoint(folder), ""), ("fold_0", "damaged or truncated")),
    "trainer unknown": (
        lambda folder: _trainer(folder, "nnUNetTrainerOfNobody"),
        ("nnUNetTrainerOfNobody", "nnUNet_extTrainer"),
    ),
    "checkpoint of something else": (
        lambda folder: torch.save({"state_dict": {}}, checkpoint(folder)),
        ("network_weights", "not an nnU-Net v2 checkpoint"),
    ),
    "checkpoint that is a list": (lambda folder: torch.save([1, 2], checkpoint(folder)), ("not an nnU-Net v2",)),
    "Primus": (lambda folder: _trainer(folder, "nnUNet_PrimusV2M_Trainer"), ("PrimusV2M", "later kind")),
    "labels the wrong way round": (
        _dataset(labels={"0": "background", "1": "near", "2": "far"}), ("'background'", "wrong way round")),
    "a label of no whole number": (_dataset(labels={"background": 0, "near": 1.5, "far": 2}), ("'near'", "1.5")),
    "channels in a list": (_dataset(channel_names=["T2"]), ("channel_names", "list")),
    "a model of nnU-Net v1": (
        lambda folder: (folder / "plans.json").rename(folder / "plans.pkl"), ("nnU-Net v1", "plans.pkl")),
    "an unfinished fold": (
        lambda folder: (folder / "fold_3").mkdir(), ("Fold 3", "checkpoint_final.pth", "--folds 0")),
    "configuration the plans lack": (lambda folder: _configuration(folder, "3d_bigres"), ("3d_bigres",)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Network class nowhere.Net")
@pytest.mark.parametrize("what", EDITS)
def test_refused_by_name(what: str, folder: Path) -> None:
    edit, words = EDITS[what]
    edit(folder)
    refused(folder, *words)


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _truncate(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])


def _mirror(folder: Path, axes: tuple[int, ...]) -> None:
    with edited_checkpoint(folder) as content:
        content["inference_allowed_mirroring_axes"] = axes


def _trainer(folder: Path, name: str) -> None:
    with edited_checkpoint(folder) as content:
        content["trainer_name"] = name


def _configuration(folder: Path, name: str) -> None:
    with edited_checkpoint(folder) as content:
        content["init_args"]["configuration"] = name


def test_a_folder_that_is_not_there(folder: Path) -> None:
    refused(folder.with_name("nnUNetTrainer__nnUNetPlans__2d"), "There is no folder")


def test_postprocessing_of_other_folds_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path, Tiny(folds=("0", "1"), postprocessing=([1],)))
    said: list[str] = []
    options = ExportOptions(precisions=("fp32",), folds=("0",))
    export_nnunet(folder, tmp_path / "bundle", options, said.append)
    assert any("postprocessing found for folds 0_1 is left out" in words for words in said), said
    assert not open_bundle(tmp_path / "bundle").manifest.segmenters["3d_fullres"].plan.postprocessing


def test_a_fold_that_is_not_there(folder: Path) -> None:
    refused(folder, "fold_3", options=ExportOptions(precisions=("fp32",), folds=("0", "3")))


def test_a_checkpoint_of_another_name(folder: Path) -> None:
    options = ExportOptions(precisions=("fp32",), checkpoint="checkpoint_best.pth")
    refused(folder, "checkpoint_best.pth", options=options)


def test_folds_of_different_trainers(tmp_path: Path) -> None:
    folder = write_model(tmp_path, Tiny(folds=("0", "1")))
    with edited_checkpoint(folder, "1") as content:
        content["trainer_name"] = "nnUNetTrainerBN"
    refused(folder, "Fold 1", "another trainer")


def test_fp32_is_always_needed(folder: Path) -> None:
    refused(folder, "fp32", options=ExportOptions(precisions=("mixed",)))


def test_a_cascade_without_its_first_stage(tmp_path: Path) -> None:
    first, second = write_cascade(tmp_path, Tiny())
    first.rename(tmp_path / "elsewhere")
    refused(second, "3d_lowres", "--previous-stage")


def test_a_cascade_with_another_first_stage(tmp_path: Path) -> None:
    _, second = write_cascade(tmp_path, Tiny())
    other = write_model(tmp_path / "other", Tiny())
    refused(second, "3d_fullres", "3d_lowres", options=ExportOptions(precisions=("fp32",), previous=other))


def test_a_cascade_with_its_first_stage_elsewhere(tmp_path: Path) -> None:
    first, second = write_cascade(tmp_path, Tiny())
    first.rename(tmp_path / "elsewhere")
    options = ExportOptions(precisions=("fp32",), previous=tmp_path / "elsewhere")
    export_nnunet(second, tmp_path / "bundle", options, lambda _: None)
    assert set(open_bundle(tmp_path / "bundle").manifest.segmenters) == {"3d_lowres", "3d_cascade_fullres"}


def test_postprocessing_of_another_kind(tmp_path: Path) -> None:
    folder = write_model(tmp_path, Tiny(postprocessing=([1],)))
    file = folder / "crossval_results_folds_0" / "postprocessing.json"
    with edited_json(file) as content:
        content["postprocessing_fns"] = ["fill_holes"]
    refused(folder, "fill_holes")
    options = ExportOptions(precisions=("fp32",), postprocessing=str(tmp_path / "gone.json"))
    refused(folder, "gone.json", options=options)
    file.write_text("no JSON")
    refused(folder, "postprocessing.json")
    file.write_text("{}")
    refused(folder, "postprocessing.json")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise OSError('no such GPU')", ("cannot be imported", "no such GPU")),
        ("import torchvision_of_nobody", ("cannot be imported", "torchvision_of_nobody")),
        (
            "class {name}:\n    @staticmethod\n    def build_network_architecture(*a, **k):\n        return 1 / 0",
            ("cannot build its network", "ZeroDivisionError"),
        ),
        (
            "class {name}:\n    @staticmethod\n    def build_network_architecture(*a, **k):\n        return None",
            ("cannot build its network",),
        ),
    ],
)
def test_a_trainer_from_outside_that_does_not_work(
    body: str, words: tuple[str, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "nnUNetTrainerBroken"
    source = tmp_path / "trainers" / "broken.py"
    source.parent.mkdir()
    source.write_text(
        f"{body.format(name=name)}\n\nclass {name}{'Base' if 'class' in body else ''}:\n    pass\n"
    )
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(tmp_path / "gone"), str(source.parent)]))
    _trainer(folder, name)
    refused(folder, name, *words)


def test_messages_are_sentences_for_people(folder: Path) -> None:
    (folder / "plans.json").unlink()
    with pytest.raises(InputError) as caught:
        export_nnunet(folder, folder / "bundle", FP32, lambda _: None)
    assert_one_sentence(str(caught.value))
