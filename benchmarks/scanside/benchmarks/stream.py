"""Whole studies with the networks open, for a process of their own: what `scanside run --studies` does, measured."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from scanside.benchmarks.processes import Spent, spent
from scanside.benchmarks.warm import Stopwatch, device_facts, timed_sessions
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import CaseError
from scanside.runtime.events import ignore
from scanside.runtime.options import Options
from scanside.runtime.run import run_items
from scanside.runtime.study.batch import StudySteps, StudyTask
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.report import StudyReport, read_report


@dataclass(frozen=True)
class Streamed:
    """What studies took, `network_s` of it inside the network, and what they came to."""

    spent: Spent
    network_s: float
    reports: list[dict[str, Any]]


class Stream:
    """A bundle with its networks open, whose time inside the network is measured.

    Attributes:
        opening: ms that importing libraries, opening the bundle and opening its networks took.
    """

    def __init__(self, bundle: Path, options: Options) -> None:
        self._watch = Stopwatch()
        imported = 1000 * (time.time() - psutil.Process().create_time())
        start = time.perf_counter()
        opened = open_bundle(bundle)
        after = time.perf_counter()
        with timed_sessions(self._watch):
            self.runner = StudyRunner(opened, options)
        self._steps = StudySteps(self.runner, opened, options)
        self.opening = {
            "libraries": round(imported, 1),
            "bundle": round(1000 * (after - start), 1),
            "networks": round(1000 * (time.perf_counter() - after), 1),
        }

    def said(self) -> tuple[dict[str, float], dict[str, str]]:
        """What opening took, and the device."""
        return self.opening, device_facts(self.runner.device)

    def measure(self, paths: Sequence[Path], out: Path) -> Streamed:
        """Studies from their files to written results, back to back; the result of each in a folder of its own.

        Raises:
            CaseError: If one fails.
        """
        tasks = [StudyTask(path, out / str(number), ()) for number, path in enumerate(paths)]
        self._watch.restart()
        with spent() as found:
            ended = list(run_items(self._steps, tasks, ignore))
        failed = next((one.reason for one in ended if one.status == "failed"), None)
        if failed:
            raise CaseError(failed)
        return Streamed(found, self._watch.seconds, [_came_to(read_report(task.out)) for task in tasks])


def _came_to(report: StudyReport) -> dict[str, Any]:
    return {
        **report.model_dump(mode="json", include={"status", "reason", "stages", "sequences"}),
        "probability": report.probability.value if report.probability else None,
        "objects": [made.kind for made in report.objects],
    }
