"""A warm peer in a process of its own, so that one peer's memory never counts for the other."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scanside.benchmarks.child import Child
from scanside.benchmarks.kinds import PeerKind
from scanside.benchmarks.processes import MIB, Spent, high_water_mark, spent
from scanside.benchmarks.warm import Segmented, Setup, open_peer

MEMORY_METHOD = (
    "VmHWM of the peer's own process, reset before each case: the peak of that case, "
    "loaded libraries and opened networks included"
)


@dataclass(frozen=True, eq=False)
class WarmRun:
    """One case in a warm peer: from array to labels; `network_runs` calls of the network took `network_s`."""

    spent: Spent
    network_s: float
    network_runs: int
    made: Segmented

    @property
    def outside_s(self) -> float:
        """Time outside the network, s."""
        return self.spent.wall_s - self.network_s


class _Opened:
    """In the process."""

    def __init__(self, kind: PeerKind, setup: Setup) -> None:
        self._peer = open_peer(kind, setup)

    def said(self) -> tuple[dict[str, str], float]:
        return self._peer.facts, high_water_mark() / MIB

    def segment(self, files: Sequence[Path]) -> WarmRun:
        image, watch = self._peer.load(files), self._peer.watch
        watch.restart()
        with spent() as found:
            made = self._peer.segment(image)
        return WarmRun(found, watch.seconds, watch.calls, made)


class Worker(Child[_Opened]):
    """The parent's handle of a peer's process. Use as a context manager.

    Attributes:
        facts: What the peer says of itself.
        opening: Seconds (`wall_s`) and memory (`peak_mib`) of importing and opening.
    """

    def __init__(self, kind: PeerKind, setup: Setup, folder: Path) -> None:
        """Start the process and wait until its networks are open.

        Args:
            folder: For its log.

        Raises:
            ScansideError: What opening raises.
            CaseError: If it does not come up.
        """
        start = time.perf_counter()
        super().__init__(kind.name, folder / f"{kind.name.replace(':', '-')}.log", _Opened, kind, setup)
        self.facts, peak = self.ask(_Opened.said)
        self.opening = {"wall_s": time.perf_counter() - start, "peak_mib": peak}

    def segment(self, files: Sequence[Path]) -> WarmRun:
        """Segment one image."""
        found: WarmRun = self.ask(_Opened.segment, files)
        return found
