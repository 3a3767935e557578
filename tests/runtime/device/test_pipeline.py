"""The way of a whole case through a device's graphs, by the code of the CUDA device on the memory of a CPU.

The only stand-in is the provider: sessions, buffers, graphs, choice and golden check are those of `backends/cuda.py`.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime import pipeline
from scanside.runtime.backends import cuda, table
from scanside.runtime.backends.session import Session
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.device.graph import OrtGraph
from scanside.runtime.device.slide import Device
from scanside.runtime.errors import BackendError, DeviceMemoryError
from scanside.runtime.golden import APPROXIMATE, replay_all
from scanside.runtime.opening import approximations
from scanside.runtime.options import Options
from scanside.runtime.report import segment_report
from tests.support.phantoms import volume
from tests.support.tiny_models import REGION_LABELS, Tiny, write_cascade, write_model

MODELS = {
    "hippocampus": Tiny(features=(4, 8, 16), patch=(24, 32, 24), spacing=(1.0, 1.0, 1.0), mirror=(0, 1, 2)),
    "folds": Tiny(spacing=(4.0, 0.8, 0.8), patch=(8, 24, 24), mirror=(0, 1), folds=("0", "1")),
    "2d regions": Tiny(
        patch=(32, 24), spacing=(1.0, 1.0), mirror=(0, 1), labels=REGION_LABELS, regions_class_order=(1, 2, 3)
    ),
    "no mirroring, turned": Tiny(reader="SimpleITKIOWithReorient", transpose=(2, 0, 1), mirror=None),
}
DEMO = Path(__file__).parents[3] / "training/scanside/training/data/pancreas-phantom.bundle"
IMAGE = volume((40, 52, 46), (1.3, 0.9, 1.1), seed=4)


class OnHost:
    """The CUDA device with ONNX Runtime's CPU provider and host memory in the place of the GPU's."""

    NAME, TITLE, FILES = cuda.NAME, cuda.TITLE, cuda.FILES
    limit: int | None = None

    def missing(self) -> None:
        return None

    def version(self) -> str:
        return "onnxruntime on the host"

    def open_session(self, model: bytes, precision: str, threads: int | None = None) -> Session:
        session = cuda.create(onnxruntime, model, ["CPUExecutionProvider"])
        return cuda.BoundSession(onnxruntime, session, self.NAME, precision, 8, memory="cpu")

    def on_device(self, graphs: Mapping[str, bytes], networks: Sequence[Session]) -> Device:
        opened = {name: OrtGraph(content) for name, content in graphs.items()}
        return Device(opened, [network.between for network in networks], limit=self.limit)  # type: ignore[attr-defined]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OnHost:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    backend = OnHost()
    monkeypatch.setattr(table, "HOST", backend, raising=False)
    monkeypatch.setitem(table.MODULES, "cuda", f"{table.__name__}:HOST")
    return backend


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    made = {}
    for name, tiny in MODELS.items():
        root = tmp_path_factory.mktemp("device")
        export_nnunet(write_model(root, tiny), root / "bundle", ExportOptions(), lambda _: None)
        made[name] = open_bundle(root / "bundle")
    return made


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("computed on the host")


def differing(found: np.ndarray, wanted: np.ndarray) -> int:
    return int((found != wanted).sum())


def allowed(mask: np.ndarray) -> float:
    return max(APPROXIMATE.floor, APPROXIMATE.fraction * mask.size)


@pytest.mark.parametrize("precision", ["fp32", "mixed"])
@pytest.mark.parametrize("name", MODELS)
def test_labels_are_those_of_the_stages(
    bundles: dict[str, Bundle], host: OnHost, name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_segmenter(bundles[name], Options(device="cpu", precision=precision)) as segmenter:
        wanted = segmenter.segment(IMAGE)
    with open_segmenter(bundles[name], Options(device="cuda", precision=precision)) as segmenter:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "slide", never)
            patch.setattr(pipeline, "label", never)
            found = segmenter.segment(IMAGE)
        exact = segmenter.segment(IMAGE, logits=True)
    assert segmenter.device.obtained == "cuda"
    assert found.mask.dtype == wanted.mask.dtype and len(np.unique(wanted.mask)) > 1
    assert differing(found.mask, wanted.mask) <= allowed(wanted.mask)
    assert found.float32_sums and not exact.float32_sums and not wanted.float32_sums
    [remark] = found.remarks
    assert "float32 sums" in remark and "GiB" in remark
    assert not exact.remarks and exact.logits is not None
    assert differing(exact.mask, wanted.mask) <= 2
    assert list(found.stages) == [stage for stage in wanted.stages if stage != "label"]


def test_a_cascade(tmp_path: Path, host: OnHost) -> None:
    """Every stage on the device; the first stage's labels feed the second."""
    _, folder = write_cascade(tmp_path, Tiny(mirror=(0, 1)))
    export_nnunet(folder, tmp_path / "bundle", ExportOptions(), lambda _: None)
    bundle = open_bundle(tmp_path / "bundle")
    with open_segmenter(bundle, Options(device="cpu")) as segmenter:
        wanted = segmenter.segment(IMAGE)
    with open_segmenter(bundle, Options(device="cuda")) as segmenter:
        found = segmenter.segment(IMAGE)
    assert len(found.remarks) == 2
    assert differing(found.mask, wanted.mask) <= allowed(wanted.mask)


def test_the_demonstration(tmp_path: Path, host: OnHost) -> None:
    """The bundle that comes with the package passes its golden case on the device."""
    copy = tmp_path / "bundle"
    shutil.copytree(DEMO, copy)
    raw = json.loads((copy / "bundle.json").read_text())
    assert raw["segmenters"]["dwi"]["device"]
    raw["golden"] = [case for case in raw["golden"] if case["name"] == "dwi-synthetic-small"]
    (copy / "bundle.json").write_text(json.dumps(raw))
    with open_segmenter(open_bundle(copy), Options(device="cuda", role="dwi")) as segmenter:
        [result] = replay_all(segmenter)
    assert result.problem is None and result.device == "cuda"


def test_what_a_report_says(bundles: dict[str, Bundle], host: OnHost) -> None:
    bundle, options = bundles["no mirroring, turned"], Options(device="cuda")
    with open_segmenter(bundle, options) as segmenter:
        assert segment_report(segmenter, [])["approximations"] == ["float32 sums on the device"]
    assert approximations(bundle, Options(), "cpu") == approximations(bundle, Options(), None) == ()
    skipping = Options(device="cuda", skip_empty_tiles=True)
    assert "float32 sums on the device" not in approximations(bundle, skipping, "cuda")
    with open_segmenter(bundle, skipping) as segmenter:
        assert not segmenter.segment(IMAGE).float32_sums


def test_probabilities_take_the_stages(bundles: dict[str, Bundle], host: OnHost) -> None:
    with open_segmenter(bundles["folds"], Options(device="cuda")) as segmenter:
        found = segmenter.segment(IMAGE, probabilities=True)
    assert found.probabilities is not None and not found.float32_sums and not found.remarks


@pytest.mark.parametrize("output", ["labels", "kept"])
def test_a_graph_that_computes_wrongly_is_rejected(
    bundles: dict[str, Bundle], host: OnHost, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks and logits are right here: only the golden check of the labels themselves can tell."""
    real = OrtGraph.__call__

    def wrong(self: OrtGraph, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        real(self, inputs, outputs)
        if output in outputs:
            outputs[output].update_inplace(np.roll(outputs[output].numpy(), 5, -1))

    monkeypatch.setattr(OrtGraph, "__call__", wrong)
    bundle = bundles["hippocampus"]
    with pytest.raises(BackendError, match="'cuda' is rejected: golden case"):
        open_segmenter(bundle, Options(device="cuda"))
    with open_segmenter(bundle, Options(device="cuda", on_rejection="next")) as segmenter:
        assert segmenter.device.obtained == "openvino"
        assert "not cuda: golden case" in segmenter.device.why


def test_a_constant_network_is_refused_on_the_device(
    bundles: dict[str, Bundle], host: OnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def black(self: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        outputs["logits"].update_inplace(np.zeros(outputs["logits"].shape(), np.float32))

    monkeypatch.setattr(cuda.BoundSession, "between", black)
    with pytest.raises(BackendError, match="constant on cuda"):
        open_segmenter(bundles["folds"], Options(device="cuda"))


def test_lack_of_memory_halves_the_batch(
    bundles: dict[str, Bundle], host: OnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_segmenter(bundles["hippocampus"], Options(device="cuda")) as segmenter:
        whole = segmenter.segment(IMAGE)
        real, tried = cuda.BoundSession.between, list[int]()
        most = 2

        def small(self: Any, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
            tried.append(inputs["image"].shape()[0])
            if tried[-1] > most:
                raise DeviceMemoryError("ONNX Runtime is out of device memory: it failed.")
            real(self, inputs, outputs)

        monkeypatch.setattr(cuda.BoundSession, "between", small)
        less = segmenter.segment(IMAGE)
        assert tried[:3] == [8, 4, 2] and set(tried[2:]) == {2}
        assert "8 mirror" in whole.remarks[0] and "2 mirror" in less.remarks[0]
        np.testing.assert_array_equal(less.mask, whole.mask)
        most = 0
        with pytest.raises(DeviceMemoryError, match="--device cpu"):
            segmenter.segment(IMAGE)
