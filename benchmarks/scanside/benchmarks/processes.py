"""A command with its wall time, CPU time and the memory of its whole process tree."""

import math
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from scanside.runtime.errors import CaseError

INTERVAL_S = 0.05
_CHILDREN_EVERY = 10
"""Samples between two looks for new processes: listing them costs milliseconds."""
MIB = 2**20
MEMORY_METHOD = (
    f"every {INTERVAL_S * 1000:.0f} ms, over the process tree: sum of private memory (RSS less shared pages) plus "
    "the largest shared part; never less than the largest VmHWM of one process"
)


@dataclass(frozen=True)
class Finished:
    """What a command took.

    Attributes:
        wall_s: From before it was started until it had ended, s.
        cpu_s: User and system time of the command and of the children it waited for, s.
        other_cpu_s: CPU time that everything else on this machine took meanwhile, s; what a quiet machine has
            near zero.
        peak_mib: Largest memory of the tree, by `MEMORY_METHOD`.
        peak_rss_mib: Largest sum of RSS over the tree: libraries that processes share count in each of them.
        processes: Most processes at one time.
    """

    wall_s: float
    cpu_s: float
    other_cpu_s: float
    peak_mib: float
    peak_rss_mib: float
    processes: int


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


def run_measured(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    ceiling_mib: float | None = None,
) -> Finished:
    """Run a command to its end.

    Args:
        log: Receives its stdout and stderr.
        environment: Added to this process's environment.
        ceiling_mib: Memory at which the process tree is killed, so that it does not take the machine down; None for
            no limit.

    Raises:
        EndedByMemory: If it reached the ceiling.
        CaseError: If it fails; the message holds the end of the log.
    """
    busy, start = busy_s(), time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        watch = _Watch(process.pid, ceiling_mib)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            wall = time.perf_counter() - start
            watch.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if watch.ended_it and ceiling_mib is not None:
        raise EndedByMemory(Path(command[0]).name, wall, watch.peak / MIB, ceiling_mib)
    if process.returncode != 0:
        raise CaseError(f"{Path(command[0]).name} failed with exit code {process.returncode}: {tail(log)}")
    cpu = usage.ru_utime + usage.ru_stime
    return Finished(
        wall_s=wall,
        cpu_s=cpu,
        other_cpu_s=max(0.0, busy_s() - busy - cpu - watch.cpu_s),
        peak_mib=max(watch.peak, watch.high_water) / MIB,
        peak_rss_mib=max(watch.peak_rss, watch.high_water) / MIB,
        processes=watch.processes,
    )


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
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def reset_high_water_mark() -> bool:
    """Set this process's VmHWM back to its present RSS; False where the system does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


class _Watch(threading.Thread):
    """Samples the memory of a process and all its descendants; kills them all beyond a ceiling."""

    def __init__(self, pid: int, ceiling_mib: float | None) -> None:
        super().__init__(name="memory", daemon=True)
        self.peak = self.peak_rss = self.high_water = self.processes = 0
        self.cpu_s = 0.0
        self.ended_it = False
        self._pid, self._ended = pid, threading.Event()
        self._ceiling = math.inf if ceiling_mib is None else ceiling_mib * MIB

    def run(self) -> None:
        tree: list[psutil.Process] = []
        sample = 0
        while not self._ended.is_set():
            if sample % _CHILDREN_EVERY == 0:
                tree = _tree(self._pid)
            self._sample(tree)
            if self.peak > self._ceiling and not self.ended_it:
                self.ended_it = True
                _kill(self._pid)
            sample += 1
            self._ended.wait(INTERVAL_S)
        self.cpu_s = time.thread_time()

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _sample(self, tree: list[psutil.Process]) -> None:
        private = shared = rss = alive = 0
        for process in tree:
            try:
                memory = process.memory_info()
            except psutil.Error:
                continue
            if memory.rss == 0:  # ended, not yet waited for
                continue
            alive += 1
            common = getattr(memory, "shared", 0)
            rss += memory.rss
            private += memory.rss - common
            shared = max(shared, common)
            self.high_water = max(self.high_water, high_water_mark(process.pid))
        self.peak = max(self.peak, private + shared)
        self.peak_rss = max(self.peak_rss, rss)
        self.processes = max(self.processes, alive)


def _kill(pid: int) -> None:
    """End a process and its descendants, the parents first: nobody then starts another."""
    for process in _tree(pid):
        with suppress(psutil.Error):
            process.kill()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []
