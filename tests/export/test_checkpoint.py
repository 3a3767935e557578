"""Checkpoints are data: what nnU-Net writes loads, what could run code does not."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scanside.export.checkpoint import load_checkpoint
from scanside.runtime.errors import InputError
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import Tiny, checkpoint, edited_checkpoint, write_model

pytestmark = pytest.mark.requirement("no-code-in-models")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return checkpoint(write_model(tmp_path, Tiny(mirror=(0, 2))))


class Foreign:
    """Unpickling an object may call anything; this one leaves a mark when it does."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def with_field(file: Path, **fields: Any) -> Path:
    content = torch.load(file, weights_only=False)
    torch.save({**content, **fields}, file)
    return file


def test_a_checkpoint_of_nnunet(file: Path) -> None:
    loaded = load_checkpoint(file)
    assert (loaded.trainer, loaded.configuration, loaded.mirror_axes) == (
        "nnUNetTrainer",
        "3d_fullres",
        (0, 2),
    )
    expected = torch.load(file, weights_only=False)["network_weights"]
    assert list(loaded.weights) == list(expected)
    assert all(torch.equal(loaded.weights[name], expected[name]) for name in expected)


def test_a_real_checkpoint(hippocampus: Path) -> None:
    loaded = load_checkpoint(hippocampus / "fold_0" / "checkpoint_final.pth")
    assert loaded.mirror_axes == (0, 1, 2) and len(loaded.weights) == 188


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.5), np.float32(0.5), np.int64(3), np.bool_(True), np.array([1.0, 2.0]), np.array([1, 2]),
        np.arange(6, dtype=np.float32).reshape(2, 3), [np.float64(1)], {"a": np.float32(2)}, None,
        torch.device("cuda"), torch.float16, (1, 2), "text",
    ],
    ids=repr,
)  # fmt: skip
def test_what_nnunet_and_its_variants_store(file: Path, value: Any) -> None:
    assert load_checkpoint(with_field(file, extra=value)).trainer == "nnUNetTrainer"


def test_names_of_numpy_1(file: Path) -> None:
    """Files written with numpy 1 name `numpy.core`, which numpy 2 renamed."""
    with_field(file, _best_ema=np.float64(0.8), curve=np.array([1.0, 2.0]))
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    [pickled] = [name for name in content if name.endswith("data.pkl")]
    renamed = content[pickled].replace(b"cnumpy._core.", b"cnumpy.core.")
    assert renamed != content[pickled] and b"_core" not in renamed
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(name, renamed if name == pickled else data)
    assert load_checkpoint(file).trainer == "nnUNetTrainer"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_wrappers_are_removed(file: Path, prefix: str) -> None:
    content = torch.load(file, weights_only=False)
    expected = load_checkpoint(file).weights
    with_field(file, network_weights={prefix + name: w for name, w in content["network_weights"].items()})
    assert list(load_checkpoint(file).weights) == list(expected)


@pytest.mark.parametrize("axes", [None, ()])
def test_no_mirroring(file: Path, axes: Any) -> None:
    assert load_checkpoint(with_field(file, inference_allowed_mirroring_axes=axes)).mirror_axes == ()


def test_a_checkpoint_before_mirroring_was_stored(tmp_path: Path) -> None:
    assert load_checkpoint(checkpoint(write_model(tmp_path, Tiny(mirror="absent")))).mirror_axes == ()


def test_foreign_objects_are_refused_and_do_not_run(file: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    with_field(file, extra=Foreign(mark))
    mark.unlink(missing_ok=True)
    with pytest.raises(InputError) as caught:
        load_checkpoint(file)
    assert_one_sentence(str(caught.value), "could run code", "--trust-pickles", "pathlib")
    assert not mark.exists()


def test_foreign_objects_load_when_trusted(file: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    with_field(file, extra=Foreign(mark))
    assert load_checkpoint(file, trust_pickles=True).trainer == "nnUNetTrainer"
    assert mark.exists()


@pytest.mark.parametrize("key", ["network_weights", "trainer_name", "init_args"])
def test_what_is_no_nnunet_checkpoint(file: Path, key: str) -> None:
    content = torch.load(file, weights_only=False)
    del content[key]
    torch.save(content, file)
    with pytest.raises(InputError, match=key):
        load_checkpoint(file)


@pytest.mark.parametrize("fields", [{"init_args": {}}, {"init_args": None}, {"network_weights": [1, 2]}])
def test_fields_of_another_kind(file: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not an nnU-Net v2 checkpoint"):
        load_checkpoint(with_field(file, **fields))


@pytest.mark.parametrize("keep", [0, 10, 1000, -1])
def test_truncated_files(file: Path, keep: int) -> None:
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError) as caught:
        load_checkpoint(file)
    assert_one_sentence(str(caught.value), "truncated", file.name)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--folds"):
        load_checkpoint(tmp_path / "gone.pth")


def test_the_safe_list_is_not_left_open(file: Path) -> None:
    """Loading here must not make other code in the process trust more than before."""
    before = set(torch.serialization.get_safe_globals())
    load_checkpoint(file)
    assert set(torch.serialization.get_safe_globals()) == before


def test_edited_checkpoints_stay_checkpoints(file: Path) -> None:
    with edited_checkpoint(file.parents[1]) as content:
        content["current_epoch"] = 7
    assert load_checkpoint(file).trainer == "nnUNetTrainer"
