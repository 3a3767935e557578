"""`python benchmarks/scripts/gpu_networks.py MODEL_FOLDER BUNDLE OUT.json`: a card's ceilings, and the network on it.

The ceilings are products of matrices in each precision, copies within the card, and between host and card. The network
is nnunetv2's in PyTorch with its best settings, and the product's backends with one tile at once and as many as they
take to advantage. `--dry-run` does all of it on a CPU, to see that it runs.
"""

import copy
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.gpu_bench import card_here, gpu_backends
from scanside.benchmarks.kinds import PeerKind, parse_kinds
from scanside.benchmarks.script import convolution_flops, facts, save, script, table
from scanside.benchmarks.source import CHECKPOINT, Source, find_source
from scanside.export.model_folder import read_model_folder
from scanside.export.network import build_network
from scanside.runtime.arrays import Float32
from scanside.runtime.backends.device_io import Lending
from scanside.runtime.backends.session import Session
from scanside.runtime.backends.table import backend, open_session
from scanside.runtime.cli.arguments import names
from scanside.runtime.errors import BackendError, CaseError

_MOST = 8
"""Tiles at once: the mirror variants of one."""
_FEWEST = 5
"""Repetitions of whatever is timed."""
_CONVOLUTIONS = {"fp32": "fp32", "bf16": "bf16", "mixed": "fp16"}
VARIANTS: dict[str, dict[str, Any]] = {
    "torch fp32": {"amp": False},
    "torch amp": {},
    "torch amp, 8 tiles": {"batch": _MOST},
    "torch amp, channels_last_3d": {"channels_last": True},
    "torch amp, torch.compile": {"compiled": True},
}
"""Ways to run nnunetv2's network."""


@dataclass
class Round:
    """A model on a card: what has been measured so far, and what failed.

    Attributes:
        kind: `cuda`, or `cpu` in a dry run.
        seconds: For each thing that is timed.
        ceilings: `what`, `precision`, `value`, `unit` of each.
    """

    source: Source
    kind: str
    seconds: float = 1.0
    ceilings: list[dict[str, Any]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """A failure of one measurement, of any kind, is noted and does not end the round."""
        try:
            yield
        except Exception as error:  # torch, ONNX Runtime and CUDA raise types of their own
            self.failed.append(f"{what}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        gc.collect()
        if self.kind == "cuda":
            torch.cuda.empty_cache()

    def times(self, call: Callable[[], object]) -> list[float]:
        """ms of each repetition, after two that are not counted."""
        found, ends = list[float](), 0.0
        while len(found) < _FEWEST + 2 or time.perf_counter() < ends:
            start = time.perf_counter()
            call()
            if self.kind == "cuda":
                torch.cuda.synchronize()
            found.append(1000 * (time.perf_counter() - start))
            if len(found) == 2:
                ends = time.perf_counter() + self.seconds
        return found[2:]

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
    ) -> dict[str, Any]:
        """A network's ms per tile, the part of the card's product that it reaches, and how far its logits lie from
        float32's: RMS of the difference, relative to their RMS."""
        found = Distribution.of([ms / batch for ms in times])
        peaks = [
            one["value"] for one in self.ceilings if (one["what"], one["precision"]) == ("product", precision)
        ]
        return {
            "engine": engine, "batch": batch, "ms": found,
            "fraction": round(self.gflop / found.median / peaks[0], 4) if peaks else None,
            "difference": float(np.sqrt(((output - self.exact) ** 2).mean() / (self.exact**2).mean())),
        }  # fmt: skip


def main(
    model: Path, bundle: Path, out: Path, backends: str | None = None, dry_run: bool = False,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Measure ceilings, nnunetv2's network in each variant, and the bundle's on each backend: cuda:mixed,cuda:fp32."""
    document, card = facts("bench-gpu-networks/1", out, overwrite), card_here(dry_run)
    kinds = parse_kinds(names(backends) or gpu_backends(dry_run))
    with TemporaryDirectory(prefix="scanside-bench-") as folder:
        source = find_source(model, bundle, None, Path(folder))
        this = Round(source, "cpu", 0.05) if dry_run else Round(source, "cuda")
        with this.attempt("ceilings"):
            this.ceilings.extend(ceilings(this))
        networks = list[dict[str, Any]]()
        with this.attempt("torch networks"):
            networks.extend(torch_networks(this))
        networks.extend(own_networks(this, kinds))
    document |= {
        "dry_run": dry_run, "card": card, "bundle": source.bundle.summary(), "tile": list(this.tile.shape[1:]),
        "tile_gflop": round(this.gflop, 3), "ceilings": this.ceilings, "networks": networks, "failed": this.failed,
    }  # fmt: skip
    told = ", ".join(
        f"{one['what']} {one['precision'] or ''} {one['value']:.3g} {one['unit']}" for one in this.ceilings
    )
    rows = [
        (one["engine"], one["batch"], f"{one['ms'].median:.3g}",
         "–" if one["fraction"] is None else f"{one['fraction']:.1%}", f"{one['difference']:.1g}")
        for one in networks
    ]  # fmt: skip
    words = [
        *(["**Dry run on a CPU: none of this says anything about a GPU.**", ""] if dry_run else []),
        f"{card['name']}: {told}. {source.bundle.summary()['name']}, {this.gflop:.4g} GFLOP for a tile.",
        *table(("network alone", "tiles at once", "ms per tile", "of the peak", "Δ logits"), rows),
        *(f"- Not measured: {why}." for why in this.failed),
    ]
    save(document, out, words)
    if this.failed:
        raise CaseError(f"{len(this.failed)} of the measurements failed; see {out}.")


def ceilings(this: Round) -> Iterator[dict[str, Any]]:
    """What the card reaches: the best of a second of repetitions. A copy within it counts bytes read and written."""
    on_gpu = this.kind == "cuda"
    size, volume = (8192, 1 << 30) if on_gpu else (256, 1 << 20)

    def copied(what: str, moved: float, call: Callable[[], object]) -> dict[str, Any]:
        return {"what": what, "precision": None, "value": moved / min(this.times(call)) / 1e6, "unit": "GB/s"}

    for precision, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        a, b = torch.randn(2, size, size, device=this.kind).to(dtype)
        best = min(this.times(lambda: a @ b))  # noqa: B023
        yield {
            "what": "product", "precision": precision, "value": 2 * size**3 / best / 1e9, "unit": "TFLOP/s",
        }  # fmt: skip
    here, there = (torch.empty(volume, dtype=torch.uint8, device=this.kind) for _ in range(2))
    yield copied("copy", 2 * volume, lambda: there.copy_(here))
    part = here[: volume // 4]
    for pinned in (False, True) if on_gpu else (False,):
        host = torch.empty(volume // 4, dtype=torch.uint8, pin_memory=pinned)
        kind = "pinned" if pinned else "pageable"
        yield copied(f"up {kind}", volume / 4, lambda: part.copy_(host))  # noqa: B023
        yield copied(f"down {kind}", volume / 4, lambda: host.copy_(part))  # noqa: B023


def torch_networks(this: Round) -> Iterator[dict[str, Any]]:
    """Times of nnunetv2's network in each variant."""
    source, kind = this.source, this.kind
    folder = read_model_folder(source.model, folds=source.folds, checkpoint=CHECKPOINT, trust_pickles=False)
    network = build_network(folder, source.plan.input_channels, source.plan.labels.heads)
    network.load_state_dict(folder.checkpoints[0].weights)
    network = network.eval().to(kind)
    torch.backends.cudnn.benchmark = kind == "cuda"  # as nnUNetPredictor sets it
    for name, how in VARIANTS.items():
        if how.get("compiled") and kind != "cuda":
            continue  # it would time a C++ compiler
        with this.attempt(name), torch.inference_mode():
            run = _prepared(network, torch.from_numpy(this.tile).to(kind), kind, **how)
            output = run()[:1].float().cpu().numpy()
            precision = "fp16" if how.get("amp", True) else "fp32"
            yield this.row(name, how.get("batch", 1), this.times(run), output, precision)


def _prepared(
    network: Any, tile: Any, kind: str, amp: bool = True, batch: int = 1, channels_last: bool = False,
    compiled: bool = False,
) -> Callable[[], Any]:  # fmt: skip
    tiles = tile.expand(batch, -1, -1, -1, -1).contiguous()
    if channels_last:
        network = copy.deepcopy(network).to(memory_format=torch.channels_last_3d)
        tiles = tiles.to(memory_format=torch.channels_last_3d)
    if compiled:
        network = torch.compile(network)

    def run() -> Any:
        with torch.autocast(kind, enabled=amp):
            return network(tiles)

    return run


def own_networks(this: Round, kinds: Sequence[PeerKind]) -> Iterator[dict[str, Any]]:
    """Times of the first fold on each backend, between arrays of the host and, where it lends them, of the device."""
    for kind in kinds:
        with this.attempt(kind.name):
            network = this.network(backend(kind.device).FILES.get(kind.precision, "fp32"))
            with open_session(kind.device, network, kind.precision) as session:
                output = session.run(this.tile)
                precision = _CONVOLUTIONS.get(kind.precision, "")
                for batch in sorted({1, min(_MOST, session.spec.batch)}):
                    tiles = np.repeat(this.tile, batch, axis=0)
                    times = this.times(lambda: session.run(tiles))  # noqa: B023
                    yield this.row(kind.name, batch, times, output, precision)
                    lent = _on_the_device(session, tiles, this)
                    if lent is not None:
                        yield this.row(f"{kind.name}, on the device", batch, *lent, precision)


def _on_the_device(session: Session, tiles: Float32, this: Round) -> tuple[list[float], Float32] | None:
    """ms of each run between arrays of the device and the first tile's logits; None for a backend that lends none."""
    inner = getattr(session, "_session", None)
    if not isinstance(inner, Lending):
        return None
    arrays = inner.arrays
    with arrays.work():
        image = arrays.upload(tiles)
        logits = arrays.xp.empty((len(tiles), inner.spec.heads, *tiles.shape[2:]), "float32")
        times = this.times(lambda: inner.between(image, logits))
        return times, arrays.download(logits)[:1]


if __name__ == "__main__":
    script(main)
