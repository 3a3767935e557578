"""The real CUDA provider of onnxruntime-gpu on a card of host memory: placement, memory, copies, every failing call.

The provider computes nothing there, so that no mask means anything: results are judged on numpy, in the files beside.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from tests.support.fake_cuda import ROOT, answer, build, run
from tests.support.onnxruntime_gpu import onnxruntime_gpu
from tests.support.phantoms import volume
from tests.support.sentences import assert_one_sentence

DEMO = ROOT / "training/scanside/training/data/pancreas-phantom.bundle"
NETWORK = DEMO / "segmenters/t2w/0.mixed.onnx"
GRID = "30x100x120"


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("card"), onnxruntime_gpu())


def measured(card: Path, *words: object, memory: int | None = None) -> dict[str, Any]:
    return answer(card, onnxruntime_gpu(), "measure", NETWORK, *words, memory=memory)


@pytest.fixture(scope="module")
def one(card: Path) -> dict[str, Any]:
    """One fold on a card with room."""
    return measured(card, 1, GRID)


def as_stated(seen: dict[str, Any]) -> None:
    """Every node on the card, or it would not have opened; memory as stated, gaps of the pool included, and given back;
    nothing but labels and single values down."""
    assert seen["fits"]
    assert seen["measuring"] < 2 * seen["a_tile"]  # blocks of one run lay beside those of the next
    assert 0.9 < seen["peak"] / (seen["weights"] + seen["total"]) < 1.1
    assert seen["after"] == seen["weights"] and seen["closed"] == 0
    assert seen["down"] <= seen["labels"] + 4096
    assert seen["up"] <= seen["image"] + 600_000  # and the Gaussian weights of a tile, and matrices


def test_one_fold(one: dict[str, Any]) -> None:
    as_stated(one)
    assert one["batch"] == 8 and one["launches"] < 120 * one["runs"]


def test_five_folds_take_the_memory_of_one(card: Path, one: dict[str, Any]) -> None:
    five = measured(card, 5, GRID)
    as_stated(five)
    assert five["runs"] == 5 * one["runs"] and five["weights"] == 5 * one["weights"]
    assert (
        five["total"] - one["total"] == 2 * 2 * one["labels"]
    )  # float16 sums of two heads, of the fold at hand
    assert five["peak"] - five["weights"] <= 1.02 * (one["peak"] - one["weights"])


def test_an_image_that_is_resampled_goes_up_and_comes_down_on_its_own_grid(card: Path) -> None:
    seen = measured(card, 1, GRID, "38x130x150")
    as_stated(seen)
    assert seen["labels"] == 37 * 130 * 150  # without the last slice, which is empty


def test_a_tile_costs_the_same_in_a_large_image(card: Path, one: dict[str, Any]) -> None:
    """Its sums are added to a window: padding it to the plane moved five times as much, and grew with the image."""
    large = measured(card, 1, "30x300x360")
    as_stated(large)
    a_tile = [seen["moved"] / seen["runs"] for seen in (one, large)]
    patch = 4 * 20 * 64 * 64  # one channel of a tile, float32
    assert a_tile[1] < 1.1 * a_tile[0] < 8 * 20 * patch


def test_a_card_that_is_small(card: Path, one: dict[str, Any]) -> None:
    """Smaller batches, then the host with the network alone on the card, then a refusal."""
    half = measured(card, 1, GRID, memory=one["total"] * 2 // 3)
    as_stated(half)
    assert half["batch"] < 8 and half["peak"] <= one["total"] * 2 // 3
    tile = one["network"] // one["batch"]
    assert not measured(card, 1, GRID, memory=tile + 8_000_000)["fits"]
    for memory in (tile // 2, one["weights"] // 2):  # for the network's run, for its weights
        error = measured(card, 1, GRID, memory=memory)["error"]
        assert "out of device memory" in error
        assert_one_sentence(error)


FREEING = {
    "cudnnDestroyTensorDescriptor",
    "cudnnDestroyFilterDescriptor",
    "cublasDestroy_v2",
    "cublasLtDestroy",
}
FREEING |= {"cudnnDestroy"}
UNUSED = {"cudnnCreateFilterDescriptor"}
"""cuDNN's new interface does not use what it gives."""
TRIED_AGAIN = {"cudaMalloc", "cudaGetDevice", "cudaGetDeviceProperties", "cudnnBackendCreateDescriptor"}
"""What fails once is asked again, or done otherwise: memory after the pool has given back, another plan of cuDNN."""


def test_every_call_that_fails(card: Path) -> None:
    """From the first on, from later on, or once: one sentence with exit code 4, or a way that does without it."""
    ends = answer(card, onnxruntime_gpu(), "faults", NETWORK)
    assert len(ends) > 20 and {"cudaMalloc", "cudaMemcpy", "cudaLaunchKernel", "cudnnBackendExecute"} <= set(
        ends
    )
    for name, end in ends.items():
        for when, words in end.items():
            if words == "labels":
                assert name in FREEING | UNUSED or (when == "once" and name in TRIED_AGAIN), (name, when)
            else:
                assert words.startswith("4: "), f"{name}, {when}: {words}"
                assert_one_sentence(words[3:])
    assert "out of device memory" in ends["cudaMalloc"]["always"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "t2w.nii.gz"
    data = volume((16, 48, 56), (3.0, 2.0, 2.0)).data[0]
    sitk.WriteImage(sitk.GetImageFromArray(data), path)
    return path


def segment(card: Path, image: Path, *more: str, **given: str) -> subprocess.CompletedProcess[str]:
    out = image.parent / "out"
    words = ("segment", DEMO, image, "-o", out, "--role", "t2w", "--device", "cuda", "--overwrite", *more)
    return run(card, onnxruntime_gpu(), "scanside", *words, **given)


def test_a_card_that_computes_nothing_is_refused(card: Path, image: Path) -> None:
    done = segment(card, image)
    assert done.returncode == 4 and "constant on cuda" in done.stderr
    assert not list((image.parent / "out").glob("*.nii.gz"))


def test_a_card_that_fails_is_refused_and_stdout_stays_json(card: Path, image: Path) -> None:
    """A report is asked for, and there is none."""
    done = segment(card, image, "--json", FAKE_FAIL="cudaLaunchKernel:719:1")
    assert done.returncode == 4 and done.stdout == ""
    assert_one_sentence(done.stderr.strip().splitlines()[-1])


def test_doctor_finds_a_card_whose_libraries_lie_on_the_loaders_path_alone(card: Path) -> None:
    """No wheel of NVIDIA's is installed: it was called missing. The convolution of the trial runs."""
    done = run(card, onnxruntime_gpu(), "scanside", "doctor", "--json")
    found = {one["name"]: one for one in json.loads(done.stdout)["backends"]}
    assert found["cuda"]["available"], found["cuda"]["reason"]
    assert "RTX 4090" in found["cuda"]["reason"] and "never" in found["cuda"]["note"].lower()


@pytest.mark.parametrize("failing", ["", "cudnnBackendExecute:719:20"], ids=["computes nothing", "fails"])
def test_a_card_of_no_use_gives_way_to_the_next_device(card: Path, image: Path, failing: str) -> None:
    done = segment(card, image, "--on-rejection", "next", **({"FAKE_FAIL": failing} if failing else {}))
    assert done.returncode == 0, done.stderr[-2000:]
    [mask] = (image.parent / "out").glob("*.nii.gz")
    found = sitk.GetArrayFromImage(sitk.ReadImage(mask))
    plain = image.parent / "plain"
    command = [sys.executable, "-m", "scanside.runtime.cli.main", "segment", DEMO, image, "-o", plain]
    command += ["--role", "t2w", "--device", "openvino", "--overwrite"]
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    [wanted] = plain.glob("*.nii.gz")
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(sitk.ReadImage(wanted)))


def test_the_default_network_on_record() -> None:
    """31 M parameters at 128³ with mirroring on cards of four sizes, and the host's time of an abdominal case.

    `python -m tests.support.fake_cuda.results results/gpu-path` writes it. 25 heads in 400 × 512 × 512 voxels run on
    cards of 12 and 8 GiB, on the second in slabs.
    """
    record = json.loads((ROOT / "results/gpu-path/device.json").read_text())
    assert {row["card_gib"] for row in record["memory"]} == {24, 12, 8, 6}
    for row in record["memory"]:
        assert row["on"] == "device" and row["left_when_closed"] == 0
        assert row["taken"] <= min(8 if row["heads"] == 3 else 12, row["card_gib"]) * 2**30
        assert 0.9 < row["taken_by_stated"] < 1.1
    seen = {(row["folds"], row["precision"]) for row in record["memory"] if row["heads"] == 3}
    assert seen == {(1, "mixed"), (5, "mixed"), (1, "fp32"), (5, "fp32")}
    many = {row["card_gib"]: row for row in record["memory"] if row["heads"] == 25}
    assert many[12]["depth"] == many[12]["rows"] > many[8]["depth"]
    assert all(host["part_of_aim"] <= 1 for host in record["host"].values())
