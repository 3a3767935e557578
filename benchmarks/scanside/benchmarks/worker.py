"""A warm peer in a process of its own, driven line by line, so that one peer's memory never counts for the other.

`python -m scanside.benchmarks.worker SETUP.json` reads requests from stdin and answers on stdout, one JSON document
a line. Whatever libraries print goes to stderr.
"""

import gc
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from scanside.benchmarks.child import Child, answering
from scanside.benchmarks.kinds import PeerKind
from scanside.benchmarks.processes import MIB, busy_s, high_water_mark, reset_high_water_mark
from scanside.benchmarks.warm import Setup, open_peer
from scanside.runtime.arrays import LabelMask

MEMORY_METHOD = (
    "VmHWM of the peer's own process, reset before each case: the peak of that case, "
    "loaded libraries and opened networks included"
)


@dataclass(frozen=True, eq=False)
class WarmRun:
    """One case in a warm peer.

    Attributes:
        wall_s, network_s, cpu_s: From array to labels; inside the network; CPU time of the process, s.
        network_runs: Calls of the network.
        other_cpu_s: CPU time of everything else on the machine meanwhile, s.
        peak_mib: See `MEMORY_METHOD`.
    """

    wall_s: float
    network_s: float
    network_runs: int
    cpu_s: float
    other_cpu_s: float
    peak_mib: float
    stages_ms: dict[str, float]
    mask: LabelMask

    @property
    def outside_s(self) -> float:
        """Time outside the network, s."""
        return self.wall_s - self.network_s


class Worker:
    """The parent's handle of a peer's process. Use as a context manager.

    Attributes:
        facts: What the peer says of itself.
        opening: Seconds (`wall_s`) and memory (`peak_mib`) of importing and opening.
    """

    def __init__(self, kind: PeerKind, setup: Setup, folder: Path) -> None:
        """Start the process and wait until its networks are open.

        Args:
            folder: For its log and the masks it hands over.

        Raises:
            CaseError: If it does not come up.
        """
        name = kind.name.replace(":", "-")
        self._mask = folder / f"{name}.npy"
        request = folder / f"{name}.json"
        request.write_text(json.dumps({"peer": asdict(kind), "setup": asdict(setup)}, default=str))
        start = time.perf_counter()
        self._child = Child(kind.name, "scanside.benchmarks.worker", request, folder / f"{name}.log")
        ready = self._child.answer()
        self.facts: dict[str, str] = ready["facts"]
        self.opening = {"wall_s": time.perf_counter() - start, "peak_mib": float(ready["peak_mib"])}

    def segment(self, files: Sequence[Path]) -> WarmRun:
        """Segment one image.

        Raises:
            CaseError: If the process fails.
        """
        answer = self._child.ask({"files": [str(file) for file in files], "mask": str(self._mask)})
        return WarmRun(mask=np.load(self._mask), **answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.__exit__(kind, error, trace)


def main(request: Path) -> None:
    """The process's own side."""
    answer, requests = answering()
    asked = json.loads(request.read_text())
    raw = asked["setup"]
    setup = Setup(Path(raw["model"]), Path(raw["bundle"]), tuple(raw["folds"]), raw["mirroring"])
    peer = open_peer(PeerKind(**asked["peer"]), setup)

    answer({"facts": peer.facts, "peak_mib": high_water_mark() / MIB})
    for case in requests:
        image = peer.load([Path(file) for file in case["files"]])
        gc.collect()
        peer.watch.restart()
        reset_high_water_mark()
        busy, cpu, start = busy_s(), time.process_time(), time.perf_counter()
        result = peer.segment(image)
        wall, own, total = time.perf_counter() - start, time.process_time() - cpu, busy_s() - busy
        peak = high_water_mark() / MIB
        np.save(case["mask"], result.mask)
        answer(
            {
                "wall_s": wall,
                "network_s": peer.watch.seconds,
                "network_runs": peer.watch.calls,
                "cpu_s": own,
                "other_cpu_s": max(0.0, total - own),
                "peak_mib": peak,
                "stages_ms": result.stages_ms,
            }
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
