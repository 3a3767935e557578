"""`python benchmarks/scripts/peak.py BUNDLE OUT.json`: which part of this machine's matrix products a network reaches.

The peak is measured, not computed from clocks: the best of numpy's and PyTorch's square products, with one thread and
with one a core. A network's rate is the operations of its convolutions (`convolution_flops`) over the time of a tile.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
import torch

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.kinds import parse_kinds
from scanside.benchmarks.script import convolution_flops, facts, save, script, table, where
from scanside.runtime import machine
from scanside.runtime.backends.table import backend, open_session
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import BackendError, UsageError

SIZES = (1024, 2048)
GEMM_SECONDS = 1.5
"""Spent on each library, precision, size and number of threads."""


def main(
    bundle: Path, out: Path, backends: str = "openvino:fp32,openvino:bf16,cpu:fp32", role: str | None = None,
    repeats: int = 10, overwrite: bool = False,
) -> None:  # fmt: skip
    """Measure matrix products, then the network of the role's first fold on every backend."""
    document, opened = facts("bench-peak/1", out, overwrite), open_bundle(bundle)
    kinds = parse_kinds(backends.split(","))
    if any(kind.program != "scanside" or kind.device == "auto" for kind in kinds):
        raise UsageError("--backends names backends with their precisions, such as openvino:fp32,cpu:fp32.")
    segmenter = opened.manifest.segmenters[opened.role(role)]
    files, plan = segmenter.networks[0].files, segmenter.plan
    flop = convolution_flops(opened.read(files["fp32"]))
    gemm, networks, absent = list[dict[str, Any]](), list[dict[str, Any]](), dict[str, None]()
    counts = sorted({1, machine.cores()})
    for threads in counts:
        for (library, precision), prepare in PRODUCTS.items():
            with _or_absent(absent, f"{library} {precision}"):
                product = {"library": library, "precision": precision, "threads": threads}
                gemm.append({**product, **_gemm(prepare, threads)})
    for threads in counts:
        for kind in kinds:
            with _or_absent(absent, kind.name):
                file = files.get(backend(kind.device).FILES.get(kind.precision, "fp32"))
                if file is None:
                    raise BackendError(f"the bundle was exported without {kind.precision}")
                with open_session(kind.device, opened.read(file), kind.precision, threads) as session:
                    tile = np.random.default_rng(0).standard_normal(
                        (1, *session.spec.input_shape), np.float32
                    )
                    found = _times(lambda: session.run(tile), repeats)  # noqa: B023
                held = kind.precision if any(g["precision"] == kind.precision for g in gemm) else "fp32"
                best = max(g["gops"] for g in gemm if (g["precision"], g["threads"]) == (held, threads))
                rate = flop / 1e6 / found.median
                networks.append(
                    {
                        "peer": kind.name, "threads": threads, "tile_ms": found, "gops": round(rate, 2),
                        "peak_precision": held, "fraction": round(rate / best, 4),
                    }
                )  # fmt: skip
    document |= {
        "bundle": opened.summary(), "role": opened.role(role), "tile": [plan.input_channels, *plan.patch_size],
        "tile_gflop": round(flop / 1e9, 3), "gemm": gemm, "absent": list(absent), "networks": networks,
    }  # fmt: skip
    save(document, out, _words(document, opened.manifest.name))


def _words(document: dict[str, Any], name: str) -> list[str]:
    """The same for people."""
    return [
        f"{name}, {document['role']}: {document['tile_gflop']:.1f} Gop of convolutions for a tile of "
        f"{' × '.join(map(str, document['tile'][1:]))}; openvino:fp32 may reach the same result with fewer (ADR 14).",
        where(document, "numpy", "torch", "openvino", "onnxruntime"),
        *document["remarks"],
        *(f"Not measured: {words}" for words in document["absent"]),
        *table(
            ("matrix product", "threads", "size", "Gop/s"),
            [
                (f"{g['library']} {g['precision']}", g["threads"], g["size"], f"{g['gops']:.0f}")
                for g in document["gemm"]
            ],
        ),
        *table(
            ("network on", "threads", "tile", "Gop/s", "of the peak of"),
            [
                (n["peer"], n["threads"], f"{n['tile_ms'].median:.0f} ms", f"{n['gops']:.0f}",
                 f"{n['fraction']:.0%} of {n['peak_precision']}")
                for n in document["networks"]
            ],
        ),
    ]  # fmt: skip


@contextmanager
def _or_absent(absent: dict[str, None], name: str) -> Iterator[None]:
    """A measurement that this machine may not be able to do."""
    try:
        yield
    except (RuntimeError, NotImplementedError, BackendError) as error:
        absent[f"{name}: {str(error).strip().splitlines()[0]}"] = None


def _times(call: Callable[[], object], repeats: int) -> Distribution:
    """ms of each call after one that does not count."""
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(1000 * (time.perf_counter() - start))
    return Distribution.of(found)


def _gemm(prepare: Callable[[int], Callable[[], object]], threads: int) -> dict[str, float]:
    """10⁹ operations a second of the fastest product, and its size."""
    best: dict[str, float] = {"size": 0, "gops": 0.0}
    torch.set_num_threads(threads)
    with threadpoolctl.threadpool_limits(threads):
        for size in SIZES:
            product, fastest, ends = prepare(size), np.inf, time.perf_counter() + GEMM_SECONDS
            while fastest == np.inf or time.perf_counter() < ends:
                fastest = min(fastest, _times(product, 1).median)
            rate = round(2.0 * size**3 / fastest / 1e6, 2)
            best = max(best, {"size": size, "gops": rate}, key=lambda found: found["gops"])
    return best


def _numpy(size: int) -> Callable[[], object]:
    a, b = np.random.default_rng(0).standard_normal((2, size, size), np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)


def _torch(dtype: torch.dtype) -> Callable[[int], Callable[[], object]]:
    def prepare(size: int) -> Callable[[], object]:
        if dtype == torch.int8:
            a, b = torch.randint(-100, 100, (2, size, size), dtype=torch.int8)
            return lambda: torch._int_mm(a, b)
        a, b = torch.randn(2, size, size).to(dtype)
        out = torch.empty(size, size, dtype=dtype)
        return lambda: torch.mm(a, b, out=out)

    return prepare


PRODUCTS: dict[tuple[str, str], Callable[[int], Callable[[], object]]] = {
    ("numpy", "fp32"): _numpy,
    ("torch", "fp32"): _torch(torch.float32),
    ("torch", "bf16"): _torch(torch.bfloat16),
    ("torch", "int8"): _torch(torch.int8),
}


if __name__ == "__main__":
    script(main)
