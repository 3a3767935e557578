"""The way of a whole case on a device, by the code of the CUDA device on the memory of a CPU.

The only stand-ins are ONNX Runtime's provider and numpy for CuPy: sessions, memory, choice and golden check are those
of `backends/cuda.py`.
"""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime import pipeline
from scanside.runtime.backends import cuda
from scanside.runtime.backends.session import Session
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.device import case
from scanside.runtime.device.memory import Need, fitting
from scanside.runtime.device.slide import Slide
from scanside.runtime.errors import BackendError, DeviceMemoryError
from scanside.runtime.golden import policy, replay_all
from scanside.runtime.options import Options
from scanside.runtime.report import segment_report
from tests.support.cuda_on_host import CudaOnHost, put_in_place
from tests.support.onnx_exports import share_onnx_exports  # noqa: F401 - a fixture
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


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CudaOnHost:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    return put_in_place(monkeypatch)


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


def allowed(mask: np.ndarray, precision: str = "fp32") -> float:
    rule = policy(precision)
    return max(rule.floor, rule.fraction * mask.size)


@pytest.mark.parametrize("precision", ["fp32", "mixed"])
@pytest.mark.parametrize("name", MODELS)
def test_labels_are_those_of_the_stages(
    bundles: dict[str, Bundle], host: CudaOnHost, name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_segmenter(bundles[name], Options(device="cpu", precision=precision)) as segmenter:
        wanted = segmenter.segment(IMAGE)
    with open_segmenter(bundles[name], Options(device="cuda", precision=precision)) as segmenter:
        with monkeypatch.context() as patch:
            for stage in ("normalise", "resample_image", "slide", "label"):
                patch.setattr(pipeline, stage, never)
            found = segmenter.segment(IMAGE)
        exact = segmenter.segment(IMAGE, logits=True)
    assert segmenter.device.obtained == "cuda"
    assert found.mask.dtype == wanted.mask.dtype and len(np.unique(wanted.mask)) > 1
    assert differing(found.mask, wanted.mask) <= allowed(wanted.mask, precision)
    assert found.on_device and not exact.on_device and not wanted.on_device
    [remark] = found.remarks
    assert "on the device" in remark and "GiB" in remark
    assert not exact.remarks and exact.logits is not None
    assert differing(exact.mask, wanted.mask) <= 2
    assert list(found.stages) == [stage for stage in wanted.stages if stage != "label"]


def test_a_cascade(tmp_path: Path, host: CudaOnHost) -> None:
    """Every stage on the device; the first stage's labels feed the second."""
    _, folder = write_cascade(tmp_path, Tiny(mirror=(0, 1)))
    export_nnunet(folder, tmp_path / "bundle", ExportOptions(), lambda _: None)
    bundle = open_bundle(tmp_path / "bundle")
    with open_segmenter(bundle, Options(device="cpu")) as segmenter:
        wanted = segmenter.segment(IMAGE)
    with open_segmenter(bundle, Options(device="cuda")) as segmenter:
        found = segmenter.segment(IMAGE)
    assert len(found.remarks) == 2
    assert differing(found.mask, wanted.mask) <= allowed(wanted.mask, "mixed")


def test_the_demonstration(tmp_path: Path, host: CudaOnHost) -> None:
    """The bundle that comes with the package passes its golden case on the device."""
    copy = tmp_path / "bundle"
    shutil.copytree(DEMO, copy)
    raw = json.loads((copy / "bundle.json").read_text())
    raw["golden"] = [case for case in raw["golden"] if case["name"] == "t2w-synthetic-small"]
    (copy / "bundle.json").write_text(json.dumps(raw))
    with open_segmenter(open_bundle(copy), Options(device="cuda", role="t2w")) as segmenter:
        [result] = replay_all(segmenter)
    assert result.problem is None and result.device == "cuda"


def test_what_a_report_says(bundles: dict[str, Bundle], host: CudaOnHost) -> None:
    bundle, options = bundles["no mirroring, turned"], Options(device="cuda", precision="fp32")
    with open_segmenter(bundle, options) as segmenter:
        assert segment_report(segmenter, []).approximations == ()
    with open_segmenter(bundle, Options(device="cuda", skip_empty_tiles=True)) as segmenter:
        assert not segmenter.segment(IMAGE).on_device


def test_a_gpu_runs_mixed_where_it_passes(bundles: dict[str, Bundle], host: CudaOnHost) -> None:
    """Unless a precision is named; a CPU stays exact."""
    bundle = bundles["no mirroring, turned"]
    with open_segmenter(bundle, Options(device="cuda")) as segmenter:
        report = segment_report(segmenter, [])
    assert report.device.precision == segmenter.options.precision == "mixed"
    assert report.approximations == ("precision mixed",)
    for named in (Options(device="cuda", precision="fp32"), Options(device="cpu")):
        with open_segmenter(bundle, named) as segmenter:
            assert segmenter.device.precision == segmenter.options.precision == "fp32"


def test_mixed_that_does_not_pass_gives_way_to_fp32(
    bundles: dict[str, Bundle], host: CudaOnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = CudaOnHost.open_session

    def black(self: CudaOnHost, model: bytes, precision: str, threads: int | None = None) -> Session:
        session = real(self, model, precision, threads)
        if precision == "mixed":
            monkeypatch.setattr(session, "between", lambda image, logits: logits.fill(0))
        return session

    monkeypatch.setattr(CudaOnHost, "open_session", black)
    said: list[str] = []
    with open_segmenter(bundles["folds"], Options(device="cuda"), said.append) as segmenter:
        assert segmenter.device.precision == "fp32"
        assert "not cuda in mixed: The network gives a constant" in segmenter.device.why
    assert any("Device cuda in mixed is not used" in words for words in said)


def test_probabilities_take_the_stages(bundles: dict[str, Bundle], host: CudaOnHost) -> None:
    with open_segmenter(bundles["folds"], Options(device="cuda")) as segmenter:
        found = segmenter.segment(IMAGE, probabilities=True)
    assert found.probabilities is not None and not found.on_device and not found.remarks


@pytest.mark.parametrize("step", ["_decided", "_divide"])
def test_a_device_that_computes_wrongly_is_rejected(
    bundles: dict[str, Bundle], host: CudaOnHost, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks and logits are right here: only the golden check of the labels themselves can tell."""
    real = getattr(Slide, step)

    def wrong(self: Slide, *given: Any) -> Any:
        for sums in self._sums:
            sums[...] = host.arrays.upload(np.roll(np.asarray(sums), 5, -1))
        return real(self, *given)

    monkeypatch.setattr(Slide, step, wrong)
    bundle = bundles["hippocampus"]
    with pytest.raises(BackendError, match="'cuda' is rejected: golden case"):
        open_segmenter(bundle, Options(device="cuda"))
    with open_segmenter(bundle, Options(device="cuda", on_rejection="next")) as segmenter:
        assert segmenter.device.obtained == "openvino"
        for precision, margin in (("mixed", "0.5"), ("fp32", "0.05")):
            words = f"not cuda in {precision}: golden case [^;]* above {margin}[;)]"
            assert re.search(words, segmenter.device.why)


def test_a_constant_network_is_refused_on_the_device(
    bundles: dict[str, Bundle], host: CudaOnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def black(self: Any, image: Any, logits: Any) -> None:
        logits[...] = 0

    monkeypatch.setattr(cuda.BoundSession, "between", black)
    with pytest.raises(BackendError, match="constant on cuda"):
        open_segmenter(bundles["folds"], Options(device="cuda"))


def test_what_does_not_fit_is_done_in_parts_and_at_last_on_the_host(
    bundles: dict[str, Bundle], host: CudaOnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is free: sums in slabs, smaller batches, then only the network on the device, with a remark."""
    every: list[Need] = []

    def seen(case: Any, on: Any, most: int, limit: int | None, network: Any) -> Iterator[Need]:
        every[:] = every or fitting(case, on, most, None, network)
        return fitting(case, on, most, limit, network)

    with open_segmenter(bundles["hippocampus"], Options(device="cuda")) as segmenter:
        monkeypatch.setattr(case, "fitting", seen)
        whole = segmenter.segment(IMAGE)
        assert "8 tile(s)" in whole.remarks[0] and "slabs" not in whole.remarks[0]
        least = min(need.total for need in every)
        for limit in (every[0].total - 1, least):
            need = next(one for one in every if one.total <= limit)
            host.arrays._free = limit
            less = segmenter.segment(IMAGE)
            [remark] = less.remarks
            assert less.on_device and f"slabs of {need.depth} rows" in remark
            assert f"{need.batch} tile(s)" in remark and f"{need.total / 2**30:.2f} GiB" in remark
            assert differing(less.mask, whole.mask) == 0
        host.arrays._free = least - 1
        on_host = segmenter.segment(IMAGE)
    [remark] = on_host.remarks
    assert not on_host.on_device and "too little free memory" in remark
    assert differing(on_host.mask, whole.mask) <= allowed(whole.mask)


def test_lack_of_memory_that_nothing_foretold(
    bundles: dict[str, Bundle], host: CudaOnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_segmenter(bundles["hippocampus"], Options(device="cuda")) as segmenter:
        whole = segmenter.segment(IMAGE)
        real, tried, most = cuda.BoundSession.between, list[int](), 2

        def small(self: Any, image: Any, logits: Any) -> None:
            tried.append(len(image))
            if tried[-1] > most:
                raise DeviceMemoryError("ONNX Runtime is out of device memory: it failed.")
            real(self, image, logits)

        monkeypatch.setattr(cuda.BoundSession, "between", small)
        less = segmenter.segment(IMAGE)
        assert tried[0] == 8 and set(tried[tried.index(2) :]) == {2}
        assert "8 tile" in whole.remarks[0] and "2 tile" in less.remarks[0]
        assert differing(less.mask, whole.mask) <= 2
        most = 0
        with pytest.raises(DeviceMemoryError, match="--device cpu"):
            segmenter.segment(IMAGE)


def test_what_crosses_the_bus(bundles: dict[str, Bundle], host: CudaOnHost) -> None:
    """The image goes up once, labels come down: nothing of the size of logits, whatever the folds and variants."""
    with open_segmenter(bundles["folds"], Options(device="cuda")) as segmenter:
        host.arrays.up = host.arrays.down = 0
        found = segmenter.segment(IMAGE)
    assert host.arrays.down <= found.mask.size + 4096
    assert host.arrays.up <= IMAGE.data.nbytes + 100_000  # matrices and weights
