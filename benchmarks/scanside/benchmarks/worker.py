"""A warm peer in a process of its own, driven line by line, so that one peer's memory never counts for the other.

`python -m scanside.benchmarks.worker SETUP.json` reads requests from stdin and answers on stdout, one JSON document
a line. Whatever libraries print goes to stderr.
"""

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from scanside.benchmarks.processes import MIB, busy_s, high_water_mark, reset_high_water_mark, tail
from scanside.benchmarks.warm import Mask, Setup, open_peer
from scanside.runtime.errors import CaseError

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
    mask: Mask

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

    def __init__(self, name: str, setup: Setup, folder: Path) -> None:
        """Start the process and wait until its networks are open.

        Args:
            folder: For its log and the masks it hands over.

        Raises:
            CaseError: If it does not come up.
        """
        self._name, self._log, self._mask = name, folder / f"{name}.log", folder / f"{name}.npy"
        request = folder / f"{name}.json"
        request.write_text(json.dumps({"peer": name, "setup": asdict(setup)}, default=str))
        start = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scanside.benchmarks.worker", str(request)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        ready = self._answer()
        self.facts: dict[str, str] = ready["facts"]
        self.opening = {"wall_s": time.perf_counter() - start, "peak_mib": float(ready["peak_mib"])}

    def segment(self, files: Sequence[Path]) -> WarmRun:
        """Segment one image.

        Raises:
            CaseError: If the process fails.
        """
        assert self._process.stdin is not None
        request = {"files": [str(file) for file in files], "mask": str(self._mask)}
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._failed() from None
        answer = self._answer()
        return WarmRun(mask=np.load(self._mask), **answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failed(self) -> CaseError:
        code = self._process.wait()
        return CaseError(f"{self._name} failed with exit code {code}: {tail(self._log)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self.close()


def main(request: Path) -> None:
    """The process's own side."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asked = json.loads(request.read_text())
    raw = asked["setup"]
    setup = Setup(
        Path(raw["model"]), Path(raw["bundle"]), tuple(raw["folds"]), raw["device"], raw["mirroring"]
    )
    peer = open_peer(asked["peer"], setup)

    def answer(document: dict[str, Any]) -> None:
        print(json.dumps(document), file=answers, flush=True)

    answer({"facts": peer.facts, "peak_mib": high_water_mark() / MIB})
    for line in sys.stdin:
        case = json.loads(line)
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
