"""A segmenter on TensorRT from its ONNX files to labels, by the product's own way: build, keep, prove, run, fail.

The library is a stand-in that computes with ONNX Runtime; what it is given, what it answers and in which memory are
those of the real one, in every version that is supported.
"""

from pathlib import Path

import numpy as np
import pytest

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime import pipeline
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import BackendError
from scanside.runtime.golden import APPROXIMATE
from scanside.runtime.options import Options
from scanside.runtime.segmenter import Segmentation
from tests.support.fake_tensorrt import TILE, VERSIONS, Library
from tests.support.fake_tensorrt.installed import Machine
from tests.support.onnx_exports import share_onnx_exports  # noqa: F401 - a fixture
from tests.support.phantoms import volume
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import Tiny, write_model

IMAGE = volume((20, 40, 36), (1.3, 0.9, 1.1), seed=4)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    root = tmp_path_factory.mktemp("tensorrt")
    tiny = Tiny(patch=(16, 24, 24), mirror=(0, 1, 2), folds=("0", "1"))
    export_nnunet(write_model(root, tiny), root / "bundle", ExportOptions(), lambda _: None)
    return open_bundle(root / "bundle")


@pytest.fixture(scope="module")
def wanted(bundle: Bundle) -> Segmentation:
    with open_segmenter(bundle, Options(device="cpu")) as segmenter:
        return segmenter.segment(IMAGE)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def close(found: Segmentation, wanted: Segmentation) -> bool:
    differing = int((found.mask != wanted.mask).sum())
    return differing <= max(APPROXIMATE.floor, APPROXIMATE.fraction * wanted.mask.size)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_case(version: str, bundle: Bundle, wanted: Segmentation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything on the device, eight mirror variants at a time; the next process takes the engines and the proof."""
    machine, said = Machine(Library(version), monkeypatch), list[str]()
    options = Options(device=machine.device)
    with open_segmenter(bundle, options, said.append) as segmenter, monkeypatch.context() as patch:
        for stage in ("normalise", "resample_image", "slide", "label"):
            patch.delattr(pipeline, stage)
        found = segmenter.segment(IMAGE)
        assert segmenter.device.precision == "mixed" and segmenter.plan.labels.heads > 2
    assert close(found, wanted) and len(np.unique(found.mask)) > 2
    assert found.on_device and "8 tile(s)" in found.remarks[0]
    assert not machine.memory.alive and machine.cuda.streams == 0
    assert sum("Building a" in sentence for sentence in said) == 2  # one a fold, once

    machine.restart(monkeypatch)
    again, calls = list[str](), len(machine.library.calls)
    with open_segmenter(bundle, options, again.append) as segmenter:
        np.testing.assert_array_equal(segmenter.segment(IMAGE).mask, found.mask)
    assert not any("Building" in sentence or "golden" in sentence for sentence in again)
    assert "build_serialized_network" not in machine.library.calls[calls:]


def test_what_is_free_decides_the_batch(
    bundle: Bundle, wanted: Segmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the engine states: fewer tiles at a time; then only the network on the device; then a refusal."""
    machine = Machine(Library(), monkeypatch)
    with open_segmenter(bundle, Options(device="tensorrt")) as segmenter:
        whole = segmenter.segment(IMAGE).remarks[0]
        assert "8 tile(s)" in whole
        for free, words in (
            (9 * TILE, "4 tile(s)"),
            (2 * TILE, "1 tile(s)"),
            (TILE // 2, "only the network"),
        ):
            machine.memory._free = free
            found = segmenter.segment(IMAGE)
            assert words in found.remarks[0] and close(found, wanted)
        machine.memory.room = TILE // 2  # another program took what was free
        with pytest.raises(BackendError) as caught:
            segmenter.segment(IMAGE)
        assert_one_sentence(str(caught.value), "GiB of device memory", "--device cpu")
    assert not machine.memory.alive


def test_a_kept_plan_that_the_library_refuses_is_built_and_proven_anew(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although every fact is the same. What was proven was another engine: no case runs before this one is."""
    machine, options = Machine(Library(), monkeypatch), Options(device="tensorrt")
    with open_segmenter(bundle, options):
        pass
    machine.library.gpu = b"RTX 4090"  # the plans are of an A4000
    said: list[str] = []
    with pytest.raises(BackendError) as caught:
        open_segmenter(bundle, options, said.append)
    assert_one_sentence(str(caught.value), "changed after the golden cases", "run again")
    assert sum("does not take the kept engine" in sentence for sentence in said) == 2
    assert any("timings in the engine cache is refused" in sentence for sentence in said)
    again: list[str] = []
    with open_segmenter(bundle, options, again.append):
        assert any("running its golden cases" in sentence for sentence in again)
        assert not any("Building" in sentence for sentence in again)


OPENING = [
    *("Builder", "parse", "add_optimization_profile", "build_serialized_network", "Runtime"),
    *("deserialize_cuda_engine", "create_execution_context", "set_input_shape", "set_tensor_address"),
    *("execute_async_v3", "cudaMalloc", "cudaStreamCreate", "cudaStreamSynchronize"),
]


@pytest.mark.parametrize("call", OPENING)
def test_every_call_that_fails_while_opening(
    call: str, bundle: Bundle, wanted: Segmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with exit code 4; or the next device, whose mask is nnU-Net's."""
    machine = Machine(Library(), monkeypatch)
    fail(machine, call)
    with pytest.raises(BackendError) as caught:
        open_segmenter(bundle, Options(device="tensorrt", precision="mixed"))
    assert caught.value.exit_code == 4
    assert_one_sentence(str(caught.value))
    unusable = (
        call == "cudaMalloc"
    )  # as `doctor` finds: no engine was tried, and asked for by name that is an error
    following = Options() if unusable else Options(device="tensorrt", on_rejection="next")
    with open_segmenter(bundle, following) as segmenter:
        assert segmenter.device.obtained not in ("tensorrt", "cuda")
        found = segmenter.segment(IMAGE)
    assert int((found.mask != wanted.mask).sum()) <= 2 and not found.on_device
    assert call in (*machine.library.calls, *machine.cuda.calls)


@pytest.mark.parametrize(
    "call", ["set_input_shape", "set_tensor_address", "execute_async_v3", "cudaStreamSynchronize"]
)
def test_every_call_that_fails_while_running(
    call: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No mask at all."""
    machine = Machine(Library(), monkeypatch)
    with open_segmenter(bundle, Options(device="tensorrt")) as segmenter:
        fail(machine, call)
        with pytest.raises(BackendError) as caught:
            segmenter.segment(IMAGE)
        assert caught.value.exit_code == 4
        assert_one_sentence(str(caught.value))
    assert not machine.memory.alive


def fail(machine: Machine, call: str) -> None:
    if call.startswith("cuda"):
        machine.cuda.failing[call] = machine.cuda.cudaError_t.cudaErrorIllegalAddress
    else:
        machine.library.failing = {call}
