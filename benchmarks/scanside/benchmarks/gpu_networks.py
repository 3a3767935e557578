"""The network alone on a card: nnunetv2's in PyTorch with its best settings, beside the product's backends."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.gpu_card import TorchDevice, flops_fraction
from scanside.benchmarks.gpu_results import Ceiling, NetworkTime
from scanside.benchmarks.kinds import PeerKind
from scanside.benchmarks.source import CHECKPOINT, Source
from scanside.runtime.arrays import Float32
from scanside.runtime.backends.device_io import Lending
from scanside.runtime.backends.session import Session
from scanside.runtime.backends.table import backend, open_session
from scanside.runtime.errors import BackendError

ON_THE_DEVICE = "on the device"
"""Of a backend's time between arrays of the device, as the product runs it; its other rows take tiles of the host."""
Attempt = Callable[[str], contextlib.AbstractContextManager[None]]
"""Given a name, a context in which a failure is noted and does not end the round."""
_MOST = 8
"""Tiles at once: the mirror variants of one."""
_CONVOLUTIONS = {"fp32": "fp32", "bf16": "bf16", "mixed": "fp16"}


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


def torch_networks(
    source: Source,
    device: TorchDevice,
    tile: Float32,
    exact: Float32,
    gflop: float,
    found: list[Ceiling],
    attempt: Attempt,
) -> Iterator[NetworkTime]:
    """Times of nnunetv2's network in each variant."""
    import torch

    from scanside.export.model_folder import read_model_folder
    from scanside.export.network import build_network

    folder = read_model_folder(source.model, folds=source.folds, checkpoint=CHECKPOINT, trust_pickles=False)
    network = build_network(folder, source.plan.input_channels, source.plan.labels.heads)
    network.load_state_dict(folder.checkpoints[0].weights)
    network = network.eval().to(device.kind)
    torch.backends.cudnn.benchmark = device.kind == "cuda"  # as nnUNetPredictor sets it
    for variant in VARIANTS:
        if variant.compiled and device.kind != "cuda":
            continue  # it would time a C++ compiler
        with attempt(variant.name), torch.inference_mode():
            run = _prepare(network, variant, torch.from_numpy(tile).to(device.kind), device.kind)
            output = run()[:1].float().cpu().numpy()
            times = [ms / variant.batch for ms in device.times(run)]
            precision = "fp16" if variant.amp else "fp32"
            yield _row(variant.name, variant.batch, times, output, exact, gflop, precision, found)
    del network
    device.release()


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


def own_networks(
    source: Source,
    kinds: Sequence[PeerKind],
    device: TorchDevice,
    tile: Float32,
    exact: Float32,
    gflop: float,
    found: list[Ceiling],
    attempt: Attempt,
) -> Iterator[NetworkTime]:
    """Times of the first fold on each backend, one tile at once and as many as it takes to advantage."""
    files = source.bundle.manifest.segmenters[source.role].networks[0].files
    for kind in kinds:
        with attempt(kind.name):
            file = files.get(backend(kind.device).FILES.get(kind.precision, "fp32"))
            if file is None:
                raise BackendError(f"the bundle was exported without {kind.precision}")
            with open_session(kind.device, source.bundle.read(file), kind.precision) as session:
                output = session.run(tile)
                precision = _CONVOLUTIONS.get(kind.precision, "")
                for batch in sorted({1, min(_MOST, session.spec.batch)}):
                    tiles = np.repeat(tile, batch, axis=0)
                    times = [ms / batch for ms in device.times(lambda given=tiles: session.run(given))]  # type: ignore[misc]
                    yield _row(kind.name, batch, times, output, exact, gflop, precision, found)
                    lent = _on_the_device(session, tiles, device)
                    if lent is not None:
                        between = [ms / batch for ms in lent[0]]
                        name = f"{kind.name}, {ON_THE_DEVICE}"
                        yield _row(name, batch, between, lent[1], exact, gflop, precision, found)
        device.release()


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


def float32_logits(source: Source, tile: Float32) -> Float32:
    """What ONNX Runtime's CPU provider gives in float32: what every difference is taken from."""
    file = source.bundle.manifest.segmenters[source.role].networks[0].files["fp32"]
    with open_session("cpu", source.bundle.read(file), "fp32") as session:
        return session.run(tile)


def _row(
    engine: str,
    batch: int,
    times: Sequence[float],
    output: Float32,
    exact: Float32,
    gflop: float,
    precision: str,
    found: list[Ceiling],
) -> NetworkTime:
    described = Distribution.of(times)
    difference = float(np.sqrt(((output - exact) ** 2).mean() / (exact**2).mean()))
    return NetworkTime(
        engine=engine,
        batch=batch,
        ms=described,
        fraction=flops_fraction(gflop, described.median, precision, found),
        difference=difference,
    )
