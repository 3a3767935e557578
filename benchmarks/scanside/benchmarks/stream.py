"""Whole studies in a process of its own with the networks open: what `scanside run` does, warm.

`python -m scanside.benchmarks.stream SETUP.json`, driven by `latency.py`.
"""

import gc
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from scanside.benchmarks.child import answering, told
from scanside.benchmarks.processes import MIB, busy_s, high_water_mark, reset_high_water_mark
from scanside.benchmarks.warm import Stopwatch, timed_sessions
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError, ScansideError
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
        opening: What opening took, for an `Opening`.
    """

    def __init__(self, bundle: Path, options: Options) -> None:
        self.watch, self._options = Stopwatch(), options
        start = time.perf_counter()
        self._bundle = open_bundle(bundle)
        opened = time.perf_counter()
        with timed_sessions(self.watch):
            self.runner = StudyRunner(self._bundle, options)
        self.opening = {
            "bundle_ms": round(1000 * (opened - start), 1),
            "networks_ms": round(1000 * (time.perf_counter() - opened), 1),
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


def main(setup: Path) -> None:
    """Answer requests: `{"study": …, "out": …}` for one, `{"studies": […], "out": …}` for many."""
    answer, requests = answering()
    asked = json.loads(setup.read_text())
    options = Options(**{**asked["options"], "folds": tuple(asked["options"]["folds"] or ()) or None})
    imported = 1000 * (time.time() - psutil.Process().create_time())
    try:
        stream = Stream(Path(asked["bundle"]), options)
        device = stream.runner.device
        answer(
            {
                "opening": {"imports_ms": round(imported, 1), **stream.opening},
                "device": {
                    "asked": device.asked, "obtained": device.obtained, "why": device.why,
                    "precision": device.precision,
                },
            }
        )  # fmt: skip
        for request in requests:
            answer(_measured(stream, request))
    except ScansideError as error:
        answer(told(error))


def _measured(stream: Stream, request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked, and say what it took."""
    gc.collect()
    stream.watch.restart()
    reset_high_water_mark()
    busy, cpu, start = busy_s(), time.process_time(), time.perf_counter()
    out = Path(request["out"])
    if "study" in request:
        reports = [stream.one(Path(request["study"]), out)]
    else:
        reports = list(stream.many([Path(path) for path in request["studies"]], out))
    wall, own, total = time.perf_counter() - start, time.process_time() - cpu, busy_s() - busy
    return {
        "wall_s": wall,
        "network_s": stream.watch.seconds,
        "cpu_s": own,
        "other_cpu_s": max(0.0, total - own),
        "peak_mib": high_water_mark() / MIB,
        "reports": [
            {
                **report.model_dump(mode="json", include={"status", "reason", "stages", "sequences"}),
                "probability": report.probability.value if report.probability else None,
                "objects": [made.kind for made in report.objects],
            }
            for report in reports
        ],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
