"""The card under measurement as PyTorch sees it: its ceilings and its memory. A CPU stands in for a dry run."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
        import torch

        if self.kind == "cuda":
            torch.cuda.synchronize()

    def used(self) -> float | None:
        """MiB in use on the whole device, by every library and process."""
        import torch

        if self.kind != "cuda":
            return None
        free, total = torch.cuda.mem_get_info()
        return float(total - free) / 2**20

    def release(self) -> None:
        """Give back what PyTorch keeps for later."""
        import torch

        gc.collect()
        if self.kind == "cuda":
            torch.cuda.empty_cache()

    def times(self, call: Callable[[], object]) -> list[float]:
        """ms of each repetition, after two that are not counted."""
        found: list[float] = []
        ends = 0.0
        while len(found) < _FEWEST + 2 or time.perf_counter() < ends:
            start = time.perf_counter()
            call()
            self.wait()
            found.append(1000 * (time.perf_counter() - start))
            if len(found) == 2:
                ends = time.perf_counter() + self.seconds
        return found[2:]


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

    def copied(what: str, bytes_: float, call: Callable[[], object]) -> Ceiling:
        value = bytes_ / min(device.times(call)) / 1e6
        return Ceiling.model_validate({"what": what, "precision": None, "value": value, "unit": "GB/s"})

    for precision, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        a, b = torch.randn(2, size, size, device=device.kind).to(dtype)
        best = min(device.times(lambda: a @ b))  # noqa: B023
        yield Ceiling(what="product", precision=precision, value=2 * size**3 / best / 1e9, unit="TFLOP/s")
    here, there = (torch.empty(volume, dtype=torch.uint8, device=device.kind) for _ in range(2))
    yield copied("copy", 2 * volume, lambda: there.copy_(here))
    part = here[: volume // 4]
    for pinned in (False, True) if on_gpu else (False,):
        host = torch.empty(volume // 4, dtype=torch.uint8, pin_memory=pinned)
        kind = "pinned" if pinned else "pageable"
        yield copied(f"up {kind}", volume / 4, lambda: part.copy_(host))  # noqa: B023
        yield copied(f"down {kind}", volume / 4, lambda: host.copy_(part))  # noqa: B023


@dataclass
class MemoryWatch:
    """The most that the device held while watched, beyond what it held at the beginning; None if it does not tell."""

    mib: float | None = None


@contextmanager
def watched(device: TorchDevice) -> Iterator[MemoryWatch]:
    """Watch the device's memory inside the block."""
    watch, before, ended = MemoryWatch(), device.used(), threading.Event()
    if before is None:
        yield watch
        return
    seen = [before]

    def look() -> None:
        while not ended.wait(_EVERY_S):
            seen[0] = max(seen[0], device.used() or 0)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        thread.join()
        watch.mib = round(max(seen[0], device.used() or 0) - before, 1)
