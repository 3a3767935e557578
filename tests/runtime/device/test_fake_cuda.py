"""The real CUDA provider of onnxruntime-gpu on a card of host memory: placement, memory, copies, every failing call.

Nothing is computed there, so that no mask means anything: results are judged on numpy, in the files beside.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from tests.support.fake_cuda import HERE, build
from tests.support.onnxruntime_gpu import onnxruntime_gpu
from tests.support.phantoms import volume
from tests.support.sentences import assert_one_sentence

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "training/scanside/training/data/pancreas-phantom.bundle"
NETWORK = DEMO / "segmenters/dwi/0.mixed.onnx"
SHAPE = ("30", "100", "120")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("card"), onnxruntime_gpu())


def run(card: Path, *words: object, memory: int | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(onnxruntime_gpu()), str(ROOT)])
    given = {"PYTHONPATH": path, "LD_LIBRARY_PATH": str(card), "XDG_CACHE_HOME": str(card / "cache")}
    given |= {} if memory is None else {"FAKE_GPU_BYTES": str(memory)}
    command = [sys.executable, HERE / "case.py", *words]
    return subprocess.run(
        list(map(str, command)), env={**os.environ, **given}, capture_output=True, text=True, check=False
    )


def answer(card: Path, *words: object, memory: int | None = None) -> dict[str, Any]:
    done = run(card, *words, memory=memory)
    assert done.returncode == 0, done.stderr[-3000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def one(card: Path) -> dict[str, Any]:
    """One fold on a card with room."""
    return answer(card, "measure", NETWORK, 1, *SHAPE)


def as_stated(seen: dict[str, Any]) -> None:
    """Every node on the card, or it would not have opened; memory as stated and given back; nothing but labels down."""
    assert seen["fits"]
    assert 0.9 < seen["peak"] / (seen["weights"] + seen["total"]) <= 1.02
    assert seen["after"] == seen["weights"] and seen["closed"] == 0
    assert seen["down"] <= seen["labels"] + 4096
    assert seen["up"] <= seen["image"] + 400_000  # and the Gaussian weights of a tile


def test_one_fold(one: dict[str, Any]) -> None:
    as_stated(one)
    assert one["batch"] == 8 and one["launches"] < 100 * one["runs"]


def test_five_folds_take_the_memory_of_one(card: Path, one: dict[str, Any]) -> None:
    five = answer(card, "measure", NETWORK, 5, *SHAPE)
    as_stated(five)
    assert five["runs"] == 5 * one["runs"] and five["weights"] == 5 * one["weights"]
    assert five["total"] == one["total"] and five["peak"] - five["weights"] == one["peak"] - one["weights"]


def test_a_card_that_is_small(card: Path, one: dict[str, Any]) -> None:
    """Smaller batches, then the host with the network alone on the card, then a refusal."""
    half = answer(card, "measure", NETWORK, 1, *SHAPE, memory=one["total"] * 2 // 3)
    as_stated(half)
    assert half["batch"] < 8 and half["peak"] <= one["total"] * 2 // 3
    tile = one["network"] // one["batch"]
    assert not answer(card, "measure", NETWORK, 1, *SHAPE, memory=tile + 8_000_000)["fits"]
    error = answer(card, "measure", NETWORK, 1, *SHAPE, memory=tile // 2)["error"]
    assert "out of device memory" in error
    assert_one_sentence(error)


def test_every_call_that_fails(card: Path) -> None:
    """One sentence with exit code 4; for memory a way that needs less; labels only where something is freed."""
    ends = answer(card, "faults", NETWORK)
    assert len(ends) > 20 and {"cudaMalloc", "cudaMemcpy", "cudaLaunchKernel", "cudnnBackendExecute"} <= set(
        ends
    )
    assert ends.pop("cudaMalloc") == "host"
    freeing = {name for name in ends if "Destroy" in name}
    for name, end in ends.items():
        if (
            name in freeing or name == "cudnnCreateFilterDescriptor"
        ):  # which cuDNN's new interface does not use
            assert end == "labels", name
        else:
            assert end.startswith("4: "), f"{name}: {end}"
            assert_one_sentence(end[3:])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "dwi.nii.gz"
    data = volume((16, 48, 56), (3.0, 2.0, 2.0)).data[0]
    sitk.WriteImage(sitk.GetImageFromArray(data), path)
    return path


def segment(card: Path, image: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = (
        "segment",
        DEMO,
        image,
        "-o",
        image.parent / "out",
        "--role",
        "dwi",
        "--device",
        "cuda",
        "--overwrite",
    )
    return run(card, "scanside", *words, *more)


def test_a_card_that_computes_nothing_is_refused(card: Path, image: Path) -> None:
    done = segment(card, image)
    assert done.returncode == 4 and "constant on cuda" in done.stderr
    assert not list((image.parent / "out").glob("*.nii.gz"))


def test_a_card_that_computes_nothing_gives_way_to_the_next_device(card: Path, image: Path) -> None:
    done = segment(card, image, "--on-rejection", "next")
    assert done.returncode == 0, done.stderr[-2000:]
    [mask] = (image.parent / "out").glob("*.nii.gz")
    found = sitk.GetArrayFromImage(sitk.ReadImage(mask))
    plain = image.parent / "plain"
    command = [sys.executable, "-m", "scanside.runtime.cli.main", "segment", DEMO, image, "-o", plain]
    subprocess.run(
        [*map(str, command), "--role", "dwi", "--device", "openvino"], check=True, capture_output=True
    )
    [wanted] = plain.glob("*.nii.gz")
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(sitk.ReadImage(wanted)))
