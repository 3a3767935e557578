"""The card under measurement as PyTorch sees it: its ceilings and its memory. A CPU stands in for a dry run."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from scanside.benchmarks.gpu_results import Ceiling
from scanside.runtime import machine
from scanside.runtime.backends import gpu
from scanside.runtime.errors import BackendError

_EVERY_S = 0.002
"""Between two looks at the memory of the device."""
_FEWEST = 5


@dataclass(frozen=True)
class TorchDevice:
    """Where PyTorch computes.

    Attributes:
        kind: `cuda`, or `cpu` in a dry run.
        seconds: For each thing that is timed.
    """

    kind: str
    seconds: float = 1.0

    @property
    def name(self) -> str:
        """Of the card, or of the processor."""
        import torch

        return str(torch.cuda.get_device_name(0)) if self.kind == "cuda" else machine.processor()

    def wait(self) -> None:
        """Until everything that was asked for is done."""
        if self.kind == "cuda":
            import torch

            torch.cuda.synchronize()

    def used(self) -> int | None:
        """Bytes in use on the whole device, by every library and process."""
        if self.kind != "cuda":
            return None
        import torch

        free, total = torch.cuda.mem_get_info()
        return int(total - free)

    def release(self) -> None:
        """Give back what PyTorch keeps for later."""
        import gc

        import torch

        gc.collect()
        if self.kind == "cuda":
            torch.cuda.empty_cache()

    def times(self, call: Callable[[], object]) -> list[float]:
        """ms of each repetition, after two that are not counted."""
        for _ in range(2):
            call()
        self.wait()
        found: list[float] = []
        ends = time.perf_counter() + self.seconds
        while len(found) < _FEWEST or time.perf_counter() < ends:
            start = time.perf_counter()
            call()
            self.wait()
            found.append(1000 * (time.perf_counter() - start))
        return found


def torch_device(dry: bool) -> TorchDevice:
    """The card.

    Raises:
        BackendError: If there is none that PyTorch can use.
    """
    if dry:
        return TorchDevice("cpu", 0.05)
    import torch

    absent = gpu.missing()
    if absent:
        raise BackendError(f"There is no GPU to measure: {absent[0]}; {absent[1]}, or add --dry-run.")
    if not torch.cuda.is_available():
        raise BackendError(
            f"PyTorch {torch.__version__} does not see the GPU; install a PyTorch for CUDA, or add --dry-run."
        )
    return TorchDevice("cuda")


def ceilings(device: TorchDevice) -> Iterator[Ceiling]:
    """What the card reaches: products of matrices in each precision, copies within it, and between host and it."""
    import torch

    on_gpu = device.kind == "cuda"
    size, volume = (8192, 1 << 30) if on_gpu else (256, 1 << 20)
    for precision, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        factors = torch.randn(2, size, size, device=device.kind).to(dtype)
        best = min(device.times(lambda both=factors: both[0] @ both[1]))  # type: ignore[misc]
        yield Ceiling(what="product", precision=precision, value=2 * size**3 / best / 1e9, unit="TFLOP/s")
    here, there = (torch.empty(volume, dtype=torch.uint8, device=device.kind) for _ in range(2))
    best = min(device.times(lambda: there.copy_(here)))
    yield Ceiling(what="copy", precision=None, value=2 * volume / best / 1e6, unit="GB/s")
    for pinned in (False, True) if on_gpu else (False,):
        host = torch.empty(volume // 4, dtype=torch.uint8, pin_memory=pinned)
        part, kind = here[: volume // 4], "pinned" if pinned else "pageable"
        for way, call in (
            ("up", lambda a=part, b=host: a.copy_(b)),
            ("down", lambda a=part, b=host: b.copy_(a)),
        ):
            best = min(device.times(call))
            yield Ceiling.model_validate(
                {"what": f"{way} {kind}", "precision": None, "value": volume / 4 / best / 1e6, "unit": "GB/s"}
            )


@dataclass
class MemoryWatch:
    """The most that the device held while watched.

    Attributes:
        mib: Beyond what it held at the beginning; None where the device does not tell.
    """

    mib: float | None = None
    _stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def watched(device: TorchDevice) -> Iterator[MemoryWatch]:
    """Watch the device's memory inside the block."""
    watch = MemoryWatch()
    before = device.used()
    if before is None:
        yield watch
        return
    most = before

    def look() -> None:
        nonlocal most
        while not watch._stop.wait(_EVERY_S):
            most = max(most, device.used() or 0)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch._stop.set()
        thread.join()
        watch.mib = round((max(most, device.used() or 0) - before) / 2**20, 1)


def flops_fraction(gflop: float, ms: float, precision: str, found: list[Ceiling]) -> float | None:
    """Which part of the measured product of a precision a network's convolutions reach."""
    peak: Any = next(
        (one.value for one in found if (one.what, one.precision) == ("product", precision)), None
    )
    return None if not peak else round(gflop / ms / peak, 4)
