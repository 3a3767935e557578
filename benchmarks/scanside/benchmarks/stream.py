"""Whole studies with the networks open, for a process of their own: what `scanside run` does, warm."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from scanside.benchmarks.processes import Spent, spent
from scanside.benchmarks.warm import Stopwatch, device_facts, timed_sessions
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError
from scanside.runtime.options import Options
from scanside.runtime.study.compose import run_report
from scanside.runtime.study.pipeline import StudyRunner, refused
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyInput, StudyResult
from scanside.runtime.study.report import StudyReport
from scanside.runtime.study.write import write_result


class Stream:
    """A bundle with its networks open, whose time inside the network is measured.

    Attributes:
        watch: Counts that time.
        opening: ms that importing libraries, opening the bundle and opening its networks took.
    """

    def __init__(self, bundle: Path, options: Options) -> None:
        self.watch, self._options = Stopwatch(), options
        imported = 1000 * (time.time() - psutil.Process().create_time())
        start = time.perf_counter()
        self._bundle = open_bundle(bundle)
        opened = time.perf_counter()
        with timed_sessions(self.watch):
            self.runner = StudyRunner(self._bundle, options)
        self.opening = {
            "libraries": round(imported, 1),
            "bundle": round(1000 * (opened - start), 1),
            "networks": round(1000 * (time.perf_counter() - opened), 1),
        }

    def read(self, path: Path) -> StudyInput | StudyResult:
        """A study; one that is refused is a result."""
        try:
            return read_study(path, self.runner.recipe.needed)
        except InputError as error:
            return refused(str(error))

    def compute(self, study: StudyInput | StudyResult) -> StudyResult:
        """Check, segment, measure, classify."""
        return study if isinstance(study, StudyResult) else self.runner.run(study)

    def write(self, result: StudyResult, path: Path, out: Path) -> StudyReport:
        """Masks, pictures, DICOM objects, result.json."""
        return write_result(
            result,
            self._bundle,
            self.runner.recipe.channels,
            out,
            lambda final, outputs: run_report(final, self._bundle, self._options, [path], outputs),
        )

    def one(self, path: Path, out: Path) -> StudyReport:
        """A study from its files to written results."""
        return self.write(self.compute(self.read(path)), path, out)

    def many(self, paths: list[Path], out: Path) -> Iterator[StudyReport]:
        """Studies back to back: the next one is read, and the last one written, while the networks compute."""
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            reading = reader.submit(self.read, paths[0])
            writing: Future[StudyReport] | None = None
            for number, path in enumerate(paths):
                study = reading.result()
                if number + 1 < len(paths):
                    reading = reader.submit(self.read, paths[number + 1])
                result = self.compute(study)
                if writing is not None:
                    yield writing.result()
                writing = writer.submit(self.write, result, path, out / str(number % 2))
            assert writing is not None
            yield writing.result()

    def said(self) -> tuple[dict[str, float], dict[str, str]]:
        """What opening took, and the device."""
        return self.opening, device_facts(self.runner.device)

    def measure(self, paths: list[Path], out: Path) -> "Streamed":
        """One study, or many back to back: what they took and what they came to."""
        self.watch.restart()
        with spent() as found:
            reports = [self.one(paths[0], out)] if len(paths) == 1 else list(self.many(paths, out))
        return Streamed(found, self.watch.seconds, [_came_to(report) for report in reports])


@dataclass(frozen=True)
class Streamed:
    """What studies took, `network_s` of it inside the network, and what they came to."""

    spent: Spent
    network_s: float
    reports: list[dict[str, Any]]


def _came_to(report: StudyReport) -> dict[str, Any]:
    return {
        **report.model_dump(mode="json", include={"status", "reason", "stages", "sequences"}),
        "probability": report.probability.value if report.probability else None,
        "objects": [made.kind for made in report.objects],
    }
