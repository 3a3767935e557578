"""What work costs: time, CPU time of it and of everything else, memory; of a block of code, or of a whole command."""

import gc
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from scanside.runtime.errors import CaseError

SCANSIDE = (sys.executable, "-m", "scanside.runtime.cli.main")
"""The command of this very environment."""
INTERVAL_S = 0.05
_CHILDREN_EVERY = 10
"""Samples between two looks for new processes: listing them costs milliseconds."""
MIB = 2**20
MEMORY_METHOD = (
    f"every {INTERVAL_S * 1000:.0f} ms, over the process tree: sum of private memory (RSS less shared pages) plus "
    "the largest shared part; never less than the largest VmHWM of one process"
)


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Work in a thread while the block runs; the event says that it has ended. What the work raises comes then."""
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work, ended)
        try:
            yield
        finally:
            ended.set()
        working.result()


@dataclass
class Spent:
    """What a block of code or a command took.

    Attributes:
        wall_s: From begin to end, s.
        cpu_s: User and system time of the process, and of the children it waited for, s.
        other_cpu_s: CPU time that everything else on this machine took meanwhile, s; near zero on a quiet machine.
        peak_mib: Largest memory: VmHWM of this process, or of a command's tree by `MEMORY_METHOD`.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    other_cpu_s: float = 0.0
    peak_mib: float = 0.0


@contextmanager
def spent() -> Iterator[Spent]:
    """Measure what the block costs this process; its VmHWM is set back first."""
    found = Spent()
    gc.collect()
    reset_high_water_mark()
    busy, cpu, start = busy_s(), time.process_time(), time.perf_counter()
    yield found
    found.wall_s, found.cpu_s = time.perf_counter() - start, time.process_time() - cpu
    found.other_cpu_s = max(0.0, busy_s() - busy - found.cpu_s)
    found.peak_mib = high_water_mark() / MIB


class EndedByMemory(CaseError):
    """A command was ended since it needed more memory than it was allowed.

    Attributes:
        after_s: How long it had run, s.
        peak_mib: What it held when it was ended, by `MEMORY_METHOD`.
    """

    def __init__(self, command: str, after_s: float, peak_mib: float, ceiling_mib: float) -> None:
        self.after_s, self.peak_mib = after_s, peak_mib
        super().__init__(
            f"{command} was ended after {after_s:.0f} s: it held {peak_mib / 1024:.1f} GiB, more than the ceiling of "
            f"{ceiling_mib / 1024:.1f} GiB; give it a machine with more memory, or a higher ceiling."
        )


def run_measured(command: Sequence[str], log: Path, ceiling_mib: float | None = None) -> Spent:
    """Run a command to its end.

    Args:
        log: Receives its stdout and stderr.
        ceiling_mib: Memory at which the process tree is killed, so that it does not take the machine down.

    Raises:
        EndedByMemory: If it reached the ceiling.
        CaseError: If it fails; the message holds the end of the log.
    """
    busy, start, name = busy_s(), time.perf_counter(), Path(command[0]).name
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT)
    watch = _Watch(process.pid, math.inf if ceiling_mib is None else ceiling_mib * MIB)
    with meanwhile(watch.look):
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if watch.ended_it and ceiling_mib is not None:
        raise EndedByMemory(name, wall, watch.peak / MIB, ceiling_mib)
    if process.returncode != 0:
        raise CaseError(f"{name} failed with exit code {process.returncode}: {tail(log)}")
    cpu = usage.ru_utime + usage.ru_stime
    return Spent(wall, cpu, max(0.0, busy_s() - busy - cpu - watch.cpu_s), watch.peak / MIB)


def tail(log: Path) -> str:
    """The last lines of a log, in one line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-500:] or "it wrote nothing"


def busy_s() -> float:
    """CPU time that all processes of this machine have taken since it started, s."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0) + getattr(times, "steal", 0.0))


def high_water_mark(pid: int | str = "self") -> int:
    """VmHWM of a process, bytes: the kernel's own record of its largest RSS; 0 where the system keeps none."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def reset_high_water_mark() -> bool:
    """Set this process's VmHWM back to its present RSS; False where the system does not allow it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


@dataclass
class _Watch:
    """Samples the memory of a process and all its descendants; kills them all beyond a ceiling.

    Attributes:
        ceiling, peak: Bytes.
        cpu_s: What watching took.
    """

    pid: int
    ceiling: float
    peak: int = 0
    cpu_s: float = 0.0
    ended_it: bool = False
    _tree: list[psutil.Process] = field(default_factory=list)

    def look(self, ended: threading.Event) -> None:
        """Until it ends."""
        sample = 0
        while not ended.is_set():
            if sample % _CHILDREN_EVERY == 0:
                self._tree = _tree(self.pid)
            self._sample()
            if self.peak > self.ceiling and not self.ended_it:
                self.ended_it = True
                for process in _tree(self.pid):  # the parents first: nobody then starts another
                    with suppress(psutil.Error):
                        process.kill()
            sample += 1
            ended.wait(INTERVAL_S)
        self.cpu_s = time.thread_time()

    def _sample(self) -> None:
        private = shared = largest = 0
        for process in self._tree:
            with suppress(psutil.Error):
                memory = process.memory_info()
                common = getattr(memory, "shared", 0)
                private += memory.rss - common
                shared = max(shared, common)
                largest = max(largest, high_water_mark(process.pid))
        self.peak = max(self.peak, private + shared, largest)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []
