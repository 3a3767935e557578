"""The devices `tensorrt` (Jetson, servers) and `tensorrt-rtx` (RTX workstations): engines built and kept here."""

import hashlib
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from scanside.runtime.backends import engines, gpu, trt_build, trt_ready
from scanside.runtime.backends.device_io import device
from scanside.runtime.backends.session import Session
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.device import gpu_arrays
from scanside.runtime.device.case import Device
from scanside.runtime.errors import BackendError
from scanside.runtime.extras import install_command, package_command
from scanside.runtime.manifest import FileEntry

_PRECISIONS: dict[str, FilePrecision] = {"fp32": "fp32", "mixed": "mixed", "bf16": "bf16", "int8": "int8"}


@dataclass
class TensorRt:
    """One flavour of TensorRT as a backend; see `table.Backend`.

    Attributes:
        install: How a person gets the library.
    """

    NAME: str
    TITLE: str
    install: Callable[[], str]
    FILES: Mapping[str, FilePrecision]
    ON_TRIAL = True

    def missing(self) -> tuple[str, str] | None:
        """What is missing and how to get it: driver, GPU and packages all at once, then what a trial says."""
        found = [problem for problem in (gpu.missing(), self._library(), _cuda_python()) if problem]
        if found:
            return "; ".join(reason for reason, _ in found), "; ".join(fix for _, fix in found)
        return trt_ready.trial(self.NAME) or self._foreign_gpu() or gpu_arrays.missing()

    def version(self) -> str:
        """Flavour, version and the GPU it runs on."""
        return f"{self.library()} on {gpu.gpu()}"

    def library(self) -> str:
        """Flavour and version."""
        return f"{self.NAME} {trt_build.library(self.NAME).__version__}"

    def open_session(self, model: bytes, precision: str, threads: int | None = None) -> Session:
        """Open a network, building its engine where none of this machine is kept.

        Args:
            threads: Not used: the network runs on the GPU.
        """
        import cuda.bindings.runtime as cuda

        from scanside.runtime.backends.trt_session import TensorRtSession

        facts = self.facts(hashlib.sha256(model).hexdigest(), precision)
        for _ in range(2):
            engine = engines.obtain(facts, lambda: self._build(model))
            ready = trt_build.deserialise(engine.plan, self.NAME)
            if ready is not None:
                library = trt_build.library(self.NAME)
                kernels = engines.kernels(facts) if self.NAME == "tensorrt-rtx" else None
                arrays = gpu_arrays.gpu_arrays()
                session = TensorRtSession(
                    library, ready, self.NAME, precision, engine.sha256, cuda, arrays, kernels
                )
                engines.announce(
                    f"{self.NAME}: {(session.spec.memory or 0) / 2**30:.2f} GiB of device memory for a batch of "
                    f"{session.spec.batch}{f' ({engine.remark})' if engine.remark else ''}"
                )
                return session
            engines.announce(f"{self.NAME} does not take the kept engine; building it anew")
            engines.discard(facts)
        raise BackendError(f"{self.NAME} does not take the engine it has just built; run `scanside doctor`.")

    def on_device(self, networks: Sequence[Session]) -> Device:
        """The GPU's memory with a segmenter's networks in it, so that only labels come back.

        Args:
            networks: From `open_session`, one a fold.
        """
        most = min(network.spec.batch for network in networks)
        return device(networks, gpu_arrays.gpu_arrays(), networks, most)

    def kept(self, network: FileEntry, precision: str, threads: int | None = None) -> str | None:
        """sha256 of the engine that is kept here for a network, or None.

        Args:
            threads: Not used: the network runs on the GPU.
        """
        return engines.kept(self.facts(network.sha256, precision))

    def facts(self, network: str, precision: str) -> engines.Facts:
        """What an engine of a network (its ONNX file's sha256) depends on here."""
        here = gpu.gpu()
        return engines.Facts(
            network=network,
            library=self.library(),
            gpu=here.name,
            capability=here.capability,
            memory=here.memory,
            driver=here.driver,
            cuda=here.cuda,
            precision=precision,
            profile=f"batch {gpu.LARGEST_BATCH}, workspace {trt_build.workspace(self.NAME, here.memory)}",
        )

    def _build(self, model: bytes) -> engines.Built:
        here = gpu.gpu()
        ahead = bool(trt_build.capabilities(self.NAME))  # without the GPU, so that it times no kernels
        return trt_build.build_largest(
            model,
            self.NAME,
            gpu.LARGEST_BATCH,
            here.memory,
            capability=here.capability if ahead else None,
            timings=None if ahead else self._timings(),
            progress=_in_quarters(self.NAME),
        )

    def _timings(self) -> str:
        """Name of the kernel timings of this library on this GPU under this driver."""
        here = gpu.gpu()
        facts = f"{self.library()} {here.name} {here.capability} {here.driver}"
        return f"{re.sub('[^A-Za-z0-9.]+', '-', facts)}.timings"

    def _library(self) -> tuple[str, str] | None:
        if trt_build.installed(self.NAME):
            return None
        return f"{self.NAME} is not installed", self.install()

    def _foreign_gpu(self) -> tuple[str, str] | None:
        able, here = trt_build.capabilities(self.NAME), gpu.gpu()
        if not able or here.capability in able:
            return None
        return (
            f"{self.NAME} does not target {here.name} (compute capability {here.capability}; "
            f"it targets {', '.join(able)})",
            "use --device tensorrt on a Jetson or a data-centre GPU",
        )


def _in_quarters(name: str) -> Callable[[float], None]:
    """Announces a build that takes minutes three times on its way."""
    told = 0

    def progress(part: float) -> None:
        nonlocal told
        if told < int(part * 4) < 4:
            told = int(part * 4)
            engines.announce(f"{name}: {told * 25} % of the engine is built")

    return progress


def _cuda_python() -> tuple[str, str] | None:
    if importlib.util.find_spec("cuda") and importlib.util.find_spec("cuda.bindings"):
        return None
    found = gpu.find()
    major = found.cuda.partition(".")[0] if isinstance(found, gpu.Gpu) else ""
    wanted = f"cuda-bindings=={major}.*" if major.isdigit() else "cuda-bindings"
    return "cuda-python is not installed", package_command(wanted)


RTX = TensorRt("tensorrt-rtx", "TensorRT-RTX, NVIDIA GPU", lambda: install_command("rtx"), _PRECISIONS)
FULL = TensorRt(
    "tensorrt",
    "TensorRT, NVIDIA GPU",
    lambda: (
        "pip install tensorrt (it comes from pypi.nvidia.com), Jetson: apt install python3-libnvinfer (JetPack)"
    ),
    _PRECISIONS,
)
