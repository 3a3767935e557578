"""The network alone on a card: nnunetv2's in PyTorch with its best settings, beside the product's backends."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.flops import convolution_flops
from scanside.benchmarks.gpu_card import TorchDevice
from scanside.benchmarks.gpu_results import Ceiling, NetworkTime
from scanside.benchmarks.kinds import PeerKind
from scanside.benchmarks.source import CHECKPOINT, Source
from scanside.runtime.arrays import Float32
from scanside.runtime.backends.device_io import Lending
from scanside.runtime.backends.session import Session
from scanside.runtime.backends.table import backend, open_session
from scanside.runtime.errors import BackendError

_MOST = 8
"""Tiles at once: the mirror variants of one."""
_CONVOLUTIONS = {"fp32": "fp32", "bf16": "bf16", "mixed": "fp16"}


@dataclass
class Round:
    """A model on a card: what has been measured so far, and what failed."""

    source: Source
    device: TorchDevice
    ceilings: list[Ceiling] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """A failure of one measurement, of any kind, is noted and does not end the round."""
        try:
            yield
        except Exception as error:  # torch, ONNX Runtime and CUDA raise types of their own
            self.failed.append(f"{what}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        self.device.release()

    def network(self, precision: str) -> bytes:
        """The file of the first fold for a precision.

        Raises:
            BackendError: If the bundle has none.
        """
        files = self.source.bundle.manifest.segmenters[self.source.role].networks[0].files
        if precision not in files:
            raise BackendError(f"the bundle was exported without {precision}")
        return self.source.bundle.read(files[precision])

    @cached_property
    def gflop(self) -> float:
        """10^9 operations of the convolutions for a tile."""
        return convolution_flops(self.network("fp32")) / 1e9

    @cached_property
    def tile(self) -> Float32:
        """Noise."""
        shape = (1, self.source.plan.input_channels, *self.source.plan.patch_size)
        return np.random.default_rng(0).standard_normal(shape, np.float32)

    @cached_property
    def exact(self) -> Float32:
        """What ONNX Runtime's CPU provider gives in float32: what every difference is taken from."""
        with open_session("cpu", self.network("fp32"), "fp32") as session:
            return session.run(self.tile)

    def row(
        self, engine: str, batch: int, times: Sequence[float], output: Float32, precision: str
    ) -> NetworkTime:
        """A network's time for so many tiles at once, with the part of the card's product that it reaches."""
        found = Distribution.of([ms / batch for ms in times])
        return NetworkTime(
            engine=engine,
            batch=batch,
            ms=found,
            fraction=flops_fraction(self.gflop, found.median, precision, self.ceilings),
            difference=float(np.sqrt(((output - self.exact) ** 2).mean() / (self.exact**2).mean())),
        )


def flops_fraction(gflop: float, ms: float, precision: str, found: Sequence[Ceiling]) -> float | None:
    """Which part of the measured product of a precision a network's convolutions reach."""
    peaks = [one.value for one in found if (one.what, one.precision) == ("product", precision)]
    return round(gflop / ms / peaks[0], 4) if peaks else None


@dataclass(frozen=True)
class Variant:
    """A way to run nnunetv2's network."""

    name: str
    amp: bool = True
    batch: int = 1
    channels_last: bool = False
    compiled: bool = False


VARIANTS = (
    Variant("torch fp32", amp=False),
    Variant("torch amp"),
    Variant("torch amp, 8 tiles", batch=_MOST),
    Variant("torch amp, channels_last_3d", channels_last=True),
    Variant("torch amp, torch.compile", compiled=True),
)


def torch_networks(this: Round) -> Iterator[NetworkTime]:
    """Times of nnunetv2's network in each variant."""
    import torch

    from scanside.export.model_folder import read_model_folder
    from scanside.export.network import build_network

    source, kind = this.source, this.device.kind
    folder = read_model_folder(source.model, folds=source.folds, checkpoint=CHECKPOINT, trust_pickles=False)
    network = build_network(folder, source.plan.input_channels, source.plan.labels.heads)
    network.load_state_dict(folder.checkpoints[0].weights)
    network = network.eval().to(kind)
    torch.backends.cudnn.benchmark = kind == "cuda"  # as nnUNetPredictor sets it
    for variant in VARIANTS:
        if variant.compiled and kind != "cuda":
            continue  # it would time a C++ compiler
        with this.attempt(variant.name), torch.inference_mode():
            run = _prepare(network, variant, torch.from_numpy(this.tile).to(kind), kind)
            output = run()[:1].float().cpu().numpy()
            precision = "fp16" if variant.amp else "fp32"
            yield this.row(variant.name, variant.batch, this.device.times(run), output, precision)


def _prepare(network: Any, variant: Variant, tile: Any, kind: str) -> Callable[[], Any]:
    import torch

    tiles = tile.expand(variant.batch, -1, -1, -1, -1).contiguous()
    if variant.channels_last:
        network = copy.deepcopy(network).to(memory_format=torch.channels_last_3d)
        tiles = tiles.to(memory_format=torch.channels_last_3d)
    if variant.compiled:
        network = torch.compile(network)

    def run() -> Any:
        with torch.autocast(kind, enabled=variant.amp):
            return network(tiles)

    return run


def own_networks(this: Round, kinds: Sequence[PeerKind]) -> Iterator[NetworkTime]:
    """Times of the first fold on each backend, one tile at once and as many as it takes to advantage."""
    for kind in kinds:
        with this.attempt(kind.name):
            network = this.network(backend(kind.device).FILES.get(kind.precision, "fp32"))
            with open_session(kind.device, network, kind.precision) as session:
                output = session.run(this.tile)
                precision = _CONVOLUTIONS.get(kind.precision, "")
                for batch in sorted({1, min(_MOST, session.spec.batch)}):
                    tiles = np.repeat(this.tile, batch, axis=0)
                    times = this.device.times(lambda: session.run(tiles))  # noqa: B023
                    yield this.row(kind.name, batch, times, output, precision)
                    lent = _on_the_device(session, tiles, this.device)
                    if lent is not None:
                        yield this.row(f"{kind.name}, on the device", batch, *lent, precision)


def _on_the_device(
    session: Session, tiles: Float32, device: TorchDevice
) -> tuple[list[float], Float32] | None:
    """ms of each run between arrays of the device and the first tile's logits; None for a backend that lends none."""
    inner = getattr(session, "_session", None)
    if not isinstance(inner, Lending):
        return None
    arrays = inner.arrays
    with arrays.work():
        image = arrays.upload(tiles)
        logits = arrays.xp.empty((len(tiles), inner.spec.heads, *tiles.shape[2:]), "float32")
        times = device.times(lambda: inner.between(image, logits))
        return times, arrays.download(logits)[:1]
