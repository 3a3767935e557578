"""A real `scanside serve` on a folder of its own, and what its store says of a study's way through it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from scanside.benchmarks.appliance_ends import PEER
from scanside.benchmarks.processes import MIB, busy_s, high_water_mark
from scanside.runtime.acceptance.rehearsal import Rehearsal
from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.receive.main import PORT_FILE
from scanside.runtime.appliance.store import audit, worklist
from scanside.runtime.appliance.store.states import ENDED, Action, State
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import CaseError
from scanside.runtime.options import Options

TITLE = "SCANSIDE"
_NOT_INFERENCE = frozenset({"queued", "inputs", "read", "open", "golden cases", "write", "total"})


@dataclass(frozen=True)
class Way:
    """A study's moments in the store, seconds since 1970.

    Attributes:
        queued: It counted as complete.
        claimed: The worker took it.
        finished: Its result was on disk and in the store.
        objects: Number of objects that are sent.
        result: Its result.json.
        stages_ms: Of the worker.
    """

    queued: float
    claimed: float
    finished: float
    objects: int
    result: Mapping[str, Any]
    stages_ms: Mapping[str, float]

    @property
    def inference_ms(self) -> float:
        """The pipeline's stages, without reading and writing files."""
        return sum(ms for stage, ms in self.stages_ms.items() if stage not in _NOT_INFERENCE)


class Service(Rehearsal):
    """The service, which receives."""

    @property
    def port(self) -> int:
        """Where it receives, on this machine."""
        return int(json.loads((self.config.service.data / PORT_FILE).read_text())["port"])

    def peak_mib(self) -> dict[str, float]:
        """VmHWM of the supervisor and its processes, since they were started."""
        assert self._process is not None
        pids = {"serve": self._process.pid}
        with suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children():
                words = child.cmdline()
                pids |= {name: child.pid for name in NAMES if words[-2:] == [name, str(self.path)]}
        return {name: round(high_water_mark(pid) / MIB, 1) for name, pid in pids.items()}

    def way(self, study_uid: str, seconds: float) -> Way:
        """Wait until a study has been computed and sent.

        Raises:
            CaseError: If that takes too long, or it was not computed.
        """
        case = self.wait_for(study_uid, (State.DONE, *ENDED), seconds)
        if case is None or case.state is not State.DONE or case.result is None:
            why = (case.reason if case else None) or f"after {seconds:g} s it is not done"
            raise CaseError(f"The appliance did not finish a study: {why}; {self.last_word()}.")
        with self.store() as database:
            entries = [one for one in audit.entries(database, case_id=case.case_id) if one.job == case.job]
            timings = [one for one in worklist.timings(database, case.arrived) if one.job == case.job]
        return Way(
            queued=max(one.at for one in entries if one.action == Action.COMPLETE),
            claimed=float(case.started or 0.0),
            finished=float(case.finished or 0.0),
            objects=len(self.items(case)),
            result=json.loads((self.config.results / case.result / "result.json").read_text()),
            stages_ms={one.stage: one.ms for one in timings},
        )


@contextmanager
def service(
    folder: Path, bundle: Path, options: Options, *, quiet_seconds: float, peer_port: int
) -> Iterator[Service]:
    """Start it.

    Args:
        folder: For configuration, data and log; made.
        options: How studies are computed.
        quiet_seconds: As in the configuration.
        peer_port: Where results are sent, on this machine.

    Raises:
        CaseError: If it does not begin.
    """
    folder.mkdir(parents=True)
    measured = open_bundle(bundle)
    tables = {
        "service": {"data": folder / "data", "bundle": bundle.resolve(), "research_use_only": True},
        "trust": {"allow": [f"{measured.manifest.name}@{measured.sha256}"]},
        "receive": {"ae_title": TITLE, "port": 0, "quiet_seconds": quiet_seconds, "reserve_gb": 0.05},
        "work": {
            "device": options.device, "precision": options.precision, "mirroring": options.mirroring,
            "step_size": options.step_size, "folds": options.folds, "threads": options.threads,
        },
        "send": {"commitment_port": 0},
        "watch": {"port": 0, "log_level": "WARNING"},
        "destinations": [
            {
                "kind": "dicom", "name": PEER, "ae_title": PEER, "host": "127.0.0.1", "port": peer_port,
                "commitment": False,
            }
        ],
    }  # fmt: skip
    with Service.started(Config.model_validate(tables), folder) as found:
        yield found


@contextmanager
def other_cpu() -> Iterator[list[float]]:
    """CPU seconds, in the list when the block ends, of everything on this machine but this process and all below it."""
    found, busy, own = [0.0], busy_s(), _tree_cpu_s()
    yield found
    found[0] = max(0.0, busy_s() - busy - (_tree_cpu_s() - own))


def _tree_cpu_s() -> float:
    """CPU time of this process and everything below it, also of children that have ended, s."""
    total, own = 0.0, psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])  # user, system, and both of children
    return total
