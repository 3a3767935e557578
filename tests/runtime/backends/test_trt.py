"""Opening a TensorRT-RTX session as far as a machine without GPU goes: built, kept, checked, not taken, said."""

from pathlib import Path

import pytest

from scanside.runtime.backends import engines, gpu, table, trt_build, trt_ready
from scanside.runtime.backends.trt import RTX
from scanside.runtime.device import gpu_arrays
from scanside.runtime.errors import BackendError
from tests.support.sentences import assert_one_sentence
from tests.support.strict_arrays import StrictArrays

pytestmark = [
    pytest.mark.skipif(not trt_build.installed("tensorrt-rtx"), reason="tensorrt-rtx is not installed"),
    pytest.mark.skipif(
        gpu.missing() is None, reason="there is a GPU here: test_gpu_devices runs the session"
    ),
]
NETWORK = (
    Path(__file__).parents[3]
    / "training/scanside/training/data/pancreas-phantom.bundle/segmenters/t2w/0.onnx"
)
ADA = gpu.Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, "580.65", "13.0")


def test_an_engine_is_built_for_the_gpu_kept_and_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's answer is given; everything after it is real, up to the library's refusal for lack of a GPU."""
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(gpu, "find", lambda: ADA)
    monkeypatch.setattr(trt_ready, "trial", lambda flavour: None)  # it allocates on the GPU
    monkeypatch.setattr(gpu_arrays, "missing", lambda: None)
    monkeypatch.setattr(gpu_arrays, "gpu_arrays", StrictArrays)
    said: list[str] = []
    kept: list[str | None] = []
    facts = RTX.facts("c" * 64, "fp32")
    deserialise = trt_build.deserialise

    def watched(plan: bytes, flavour: str) -> object:
        kept.append(next(engines.folder().glob("*.plan")).stem)
        return deserialise(plan, flavour)

    monkeypatch.setattr(trt_build, "deserialise", watched)
    with engines.announcing(said.append), pytest.raises(BackendError) as caught:
        table.open_session("tensorrt-rtx", NETWORK.read_bytes(), "fp32")
    assert_one_sentence(str(caught.value), "tensorrt-rtx", "does not take the engine")
    assert len(kept) == 2  # built, refused by the library, built once more
    assert facts.library.startswith("tensorrt-rtx 1.") and facts.gpu == ADA.name
    text = "\n".join(said)
    assert (
        "Building a tensorrt-rtx" in text and "RTX 4090" in text and "does not take the kept engine" in text
    )
    assert "25 % of the engine is built" in text
    assert not list(engines.folder().glob("*.json"))  # forgotten: the next start builds it anew
