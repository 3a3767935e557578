"""`scanside bench peak`: what matrix products reach on this machine, and which part of it a network reaches.

The peak is measured, not computed from clocks: the best of numpy's BLAS and PyTorch on square products, single-threaded
and on all cores. A network's rate is the operations of its convolutions (`flops.py`) over the time of a tile.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from pydantic import Field

from scanside.benchmarks.conditions import other_part
from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.flops import convolution_flops
from scanside.benchmarks.kinds import PeerKind
from scanside.benchmarks.processes import busy_s
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import BundleId, Part, Run
from scanside.benchmarks.tables import aligned
from scanside.runtime import machine
from scanside.runtime.backends.table import backend, open_session
from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import BackendError, UsageError

PEAK = "scanside.bench-peak/1"
_SIZES = (1024, 2048)
_GEMM_SECONDS = 1.5
"""Spent on each library, precision, size and number of threads."""
_FEWEST = 3
_NEAREST = {"mixed": "fp32"}
"""Precisions without a product of their own → that whose peak they are held against (CPUs convert float16)."""


class Gemm(Part):
    """One kind of matrix product, at the size that was fastest."""

    library: Literal["numpy", "torch"]
    precision: str
    """Of the factors: fp32, bf16 or int8."""
    threads: int
    size: int
    """Of the square matrices."""
    gops: float
    """10^9 operations a second, of the fastest product: a peak."""


class NetworkRate(Part):
    """A network on a backend."""

    peer: str
    threads: int
    tile_ms: Distribution
    gops: float
    """10^9 operations of the convolutions a second, at the median."""
    peak_precision: str
    """Whose peak it is held against."""
    fraction: float
    """Of that peak, at this number of threads."""


class PeakReport(Run):
    """`scanside bench peak`."""

    schema_: Literal["scanside.bench-peak/1"] = Field(alias="schema")
    bundle: BundleId
    role: str
    tile: list[int]
    """(C, z, y, x) voxels."""
    tile_gflop: float
    """10^9 operations of the network's convolutions for one tile; normalisation and activation do not count."""
    other_cpu_part: float
    """Part of the processor that everything else took."""
    gemm: list[Gemm]
    absent: list[str]
    """What could not be measured, with its reason."""
    networks: list[NetworkRate]


def run_peak(
    bundle: Bundle, role: str, kinds: Sequence[PeerKind], repeats: int, facts: Mapping[str, Any]
) -> PeakReport:
    """Measure matrix products, then the network of the role's first fold on every backend.

    Args:
        kinds: Of scanside.
        repeats: Tiles timed, after one that is not.
        facts: Of `environment`.

    Raises:
        UsageError: If a kind is no backend.
        BackendError: If no backend opens.
    """
    if any(kind.program != "scanside" or kind.device == "auto" for kind in kinds):
        raise UsageError("`bench peak` measures backends by name, such as openvino:fp32,cpu:fp32.")
    segmenter = bundle.manifest.segmenters[role]
    files = segmenter.networks[0].files
    flop = convolution_flops(bundle.read(files["fp32"]))
    counts = sorted({1, machine.cores()})
    progress = Progress(len(counts) * (len(_PRODUCTS) + len(kinds)))
    busy, cpu, start = busy_s(), time.process_time(), time.perf_counter()
    gemm, absent, networks = [], [], []
    for threads in counts:
        for (library, precision), prepare in _PRODUCTS.items():
            try:
                gemm.append(_gemm(library, precision, prepare, threads))
                progress.step(f"{library} {precision}, {threads} thread(s): {gemm[-1].gops:.0f} Gop/s")
            except (RuntimeError, NotImplementedError) as error:
                absent.append(f"{library} {precision}: {str(error).strip().splitlines()[0]}")
                progress.step(absent[-1])
    for threads in counts:
        for kind in kinds:
            file = files.get(backend(kind.device).FILES.get(kind.precision, "fp32"))
            try:
                if file is None:
                    raise BackendError(f"the bundle was exported without {kind.precision}")
                found = _network(kind, bundle.read(file), threads, repeats, flop, gemm)
                networks.append(found)
                progress.step(f"{kind.name}, {threads} thread(s): {found.fraction:.0%} of the peak")
            except BackendError as error:
                absent.append(f"{kind.name}: {error}")
                progress.step(absent[-1])
    if not networks:
        raise BackendError(f"No backend could be measured: {'; '.join(dict.fromkeys(absent))}")
    other = max(0.0, busy_s() - busy - (time.process_time() - cpu))
    plan = segmenter.plan
    return PeakReport.model_validate(
        {
            **{name: facts[name] for name in ("created", "command", "machine", "versions", "git")},
            "schema": PEAK,
            "bundle": bundle.summary(),
            "role": role,
            "tile": [plan.input_channels, *plan.patch_size],
            "tile_gflop": round(flop / 1e9, 3),
            "other_cpu_part": round(other_part(other, time.perf_counter() - start), 4),
            "gemm": gemm,
            "absent": list(dict.fromkeys(absent)),
            "networks": networks,
        }
    )


def _network(
    kind: PeerKind, model: bytes, threads: int, repeats: int, flop: float, gemm: Sequence[Gemm]
) -> NetworkRate:
    with open_session(kind.device, model, kind.precision, threads) as session:
        tile = np.random.default_rng(0).standard_normal((1, *session.spec.input_shape), np.float32)
        seconds = _times(lambda: session.run(tile), repeats)
    found = Distribution.of([1000 * value for value in seconds])
    wanted = _NEAREST.get(kind.precision, kind.precision)
    held = wanted if any(one.precision == wanted for one in gemm) else "fp32"
    peak = max(one.gops for one in gemm if (one.precision, one.threads) == (held, threads))
    rate = flop / 1e6 / found.median
    return NetworkRate(
        peer=kind.name,
        threads=threads,
        tile_ms=found,
        gops=round(rate, 2),
        peak_precision=held,
        fraction=round(rate / peak, 4),
    )


def _gemm(
    library: Literal["numpy", "torch"],
    precision: str,
    prepare: Callable[[int], Callable[[], object]],
    threads: int,
) -> Gemm:
    best, size_of_best = 0.0, 0
    with _threads(threads):
        for size in _SIZES:
            product = prepare(size)
            product()
            fastest, ends, done = np.inf, time.perf_counter() + _GEMM_SECONDS, 0
            while done < _FEWEST or time.perf_counter() < ends:
                start = time.perf_counter()
                product()
                fastest = min(fastest, time.perf_counter() - start)
                done += 1
            rate = 2.0 * size**3 / fastest / 1e9
            if rate > best:
                best, size_of_best = rate, size
    return Gemm(library=library, precision=precision, threads=threads, size=size_of_best, gops=round(best, 2))


def _times(call: Callable[[], object], repeats: int) -> list[float]:
    call()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


@contextmanager
def _threads(count: int) -> Any:
    import threadpoolctl  # type: ignore[import-untyped]
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpoolctl.threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def _numpy(size: int) -> Callable[[], object]:
    a, b = np.random.default_rng(0).standard_normal((2, size, size), np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, b, out=out)


def _torch(precision: str) -> Callable[[int], Callable[[], object]]:
    def prepare(size: int) -> Callable[[], object]:
        import torch

        if precision == "int8":
            whole = torch.randint(-100, 100, (2, size, size), dtype=torch.int8)
            return lambda: torch._int_mm(whole[0], whole[1])
        dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        factors = torch.randn(2, size, size).to(dtype)
        out = torch.empty(size, size, dtype=dtype)
        return lambda: torch.mm(factors[0], factors[1], out=out)

    return prepare


_PRODUCTS: dict[tuple[Literal["numpy", "torch"], str], Callable[[int], Callable[[], object]]] = {
    ("numpy", "fp32"): _numpy,
    ("torch", "fp32"): _torch("fp32"),
    ("torch", "bf16"): _torch("bf16"),
    ("torch", "int8"): _torch("int8"),
}


def peak_table(report: PeakReport) -> str:
    """The table of `scanside bench peak`."""
    machine_, versions = report.machine, report.versions
    libraries = ("scanside", "numpy", "torch", "openvino", "onnxruntime")
    known = ", ".join(f"{name} {versions[name]}" for name in libraries if name in versions)
    products = [("matrix product", "threads", "size", "Gop/s")]
    products += [
        (f"{one.library} {one.precision}", str(one.threads), str(one.size), f"{one.gops:.0f}")
        for one in report.gemm
    ]
    rows = [("network on", "threads", "tile", "Gop/s", "of the peak of")]
    rows += [
        (
            one.peer,
            str(one.threads),
            f"{one.tile_ms.median:.0f} ms",
            f"{one.gops:.0f}",
            f"{one.fraction:.0%} of {one.peak_precision}",
        )
        for one in report.networks
    ]
    busy = f" Other programs took {report.other_cpu_part:.0%} of the processor." * (
        report.other_cpu_part > 0.05
    )
    size = " × ".join(map(str, report.tile[1:]))
    return "\n".join(
        [
            f"{report.bundle.name}, {report.role}: {report.tile_gflop:.1f} Gop of convolutions for a tile of {size}; "
            f"openvino:fp32 may reach the same result with fewer (ADR 14). "
            f"The peak is the best of the products of the same precision and threads.{busy}",
            f"{machine_.processor}, {machine_.cores} core(s), {machine_.memory_gib} GiB; {known}.",
            *(f"Not measured: {words}" for words in report.absent),
            "",
            *aligned(products),
            "",
            *aligned(rows),
        ]
    )
