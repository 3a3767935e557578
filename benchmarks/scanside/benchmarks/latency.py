"""`scanside bench run`: how long a study takes on this machine, whole and by stage. Read this file first.

The words are MLPerf inference's: single stream, offline, p50/p90/p99, accuracy in the same report. What is measured is
the whole way, from the study's files to SEG, SR, secondary capture and result.json on disk; the way over the network
is measured by `scanside bench appliance`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scanside.benchmarks.child import Child
from scanside.benchmarks.distribution import FEWEST, Distribution
from scanside.benchmarks.environment import environment
from scanside.benchmarks.latency_results import (
    LATENCY,
    Cold,
    LatencyReport,
    Offline,
    SingleStream,
    StudyLatency,
)
from scanside.benchmarks.processes import run_measured
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.sensors import Sensed, Sensors
from scanside.benchmarks.studies import BenchStudy
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.options import Options

QUIET = 0.05
"""Part of the processor that other programs may take before a run's headline is refused."""


@dataclass(frozen=True)
class LatencyOptions:
    """Choices of a run.

    Attributes:
        run: As for `scanside run`.
        repeats: Least and most repetitions of the single stream.
        precision: It stops when the 95 % interval of the median is within ± this part of it.
        warm_ups: Untimed repetitions before.
        cold: Repetitions of the command; 0 leaves it out.
        offline: Studies in the offline run; 0 leaves it out.
    """

    run: Options = field(default_factory=Options)
    repeats: tuple[int, int] = (10, 40)
    precision: float = 0.03
    warm_ups: int = 2
    cold: int = FEWEST
    offline: int = 12

    def __post_init__(self) -> None:
        if not FEWEST <= self.repeats[0] <= self.repeats[1]:
            raise UsageError(
                f"--repeats must be at least {FEWEST}, for an interval of the median, and at most --most."
            )


def run_latency(
    path: Path, studies: Sequence[BenchStudy], options: LatencyOptions, arguments: Sequence[str]
) -> LatencyReport:
    """Measure every study.

    Args:
        path: The bundle.
        arguments: The command line, for the record.

    Raises:
        BundleError, BackendError: As `scanside run`.
        CaseError: If a run fails.
    """
    facts = environment(arguments)  # first: the load average is that of the machine before this run
    bundle = open_bundle(path)
    progress = Progress(len(studies) * (options.repeats[0] + options.cold + bool(options.offline)))
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary:
        folder = Path(temporary)
        setup = folder / "setup.json"
        setup.write_text(json.dumps({"bundle": str(path.resolve()), "options": asdict(options.run)}))
        progress.say("Opening the networks")
        with Child("the runtime", "scanside.benchmarks.stream", setup, folder / "stream.log") as stream:
            opened = stream.answer()
            measured = [_study(stream, bundle, study, options, folder, progress) for study in studies]
        progress.say("Replaying the bundle's golden cases on this device")
        selftest = _selftest(path, opened["device"]["obtained"], opened["device"]["precision"])
    remarks = [*facts.pop("remarks"), *_noise(measured)]
    if not selftest["passed"]:
        remarks.append("The golden cases failed on this device: its figures are worth nothing.")
    return LatencyReport.model_validate(
        {
            **facts,
            "schema": LATENCY,
            "bundle": bundle.summary(),
            "synthetic": bundle.manifest.synthetic,
            "device": opened["device"],
            "approximations": options.run.approximations,
            "threads": options.run.threads,
            "opening_s": round(opened["opening_s"], 3),
            "selftest": selftest,
            "headline": not remarks,
            "remarks": remarks,
            "studies": measured,
        }
    )


def _study(
    stream: Child,
    bundle: Bundle,
    study: BenchStudy,
    options: LatencyOptions,
    folder: Path,
    progress: Progress,
) -> StudyLatency:
    progress.say(f"{study.name}: {options.warm_ups} untimed repetition(s)")
    request = {"study": str(study.path.resolve()), "out": str(folder / "out")}
    for _ in range(options.warm_ups):
        refused = next((r for r in stream.ask(request)["reports"] if r["status"] == "unsuitable input"), None)
        if refused:
            raise InputError(
                f"Study {study.name} is refused, so that there is nothing to measure: {refused['reason']}"
            )
    runs: list[dict[str, Any]] = []
    with Sensors() as sensors:
        while not _enough(runs, options):
            runs.append(stream.ask(request))
            progress.step(
                f"{study.name}: {runs[-1]['wall_s']:.2f} s, {runs[-1]['network_s']:.2f} s in the network"
            )
    single = _single(runs, sensors.sensed())
    report = runs[-1]["reports"][0]
    images = [
        {key: image[key] for key in ("sequence", "shape", "spacing_mm")} for image in report["sequences"]
    ]
    return StudyLatency.model_validate(
        {
            "name": study.name,
            "origin": study.origin,
            "images": images,
            "voxels": sum(image["shape"][0] * image["shape"][1] * image["shape"][2] for image in images),
            "status": report["status"],
            "probability": report["probability"],
            "objects": report["objects"],
            "single": single,
            "cold": _cold(bundle, study, options, folder, progress) if options.cold else None,
            "offline": _offline(stream, study, single, options, folder, progress)
            if options.offline
            else None,
        }
    )


def _enough(runs: Sequence[dict[str, Any]], options: LatencyOptions) -> bool:
    least, most = options.repeats
    if len(runs) < least:
        return False
    half = Distribution.of([run["wall_s"] for run in runs]).half_width
    return len(runs) >= most or (half is not None and half <= options.precision)


def _single(runs: Sequence[dict[str, Any]], sensed: Sensed) -> SingleStream:
    def of(value: Callable[[dict[str, Any]], float]) -> Distribution:
        return Distribution.of([1000 * value(run) for run in runs])

    stages: dict[str, list[float]] = {}
    for run in runs:
        for stage in run["reports"][0]["stages"]:
            stages.setdefault(stage["name"], []).append(stage["ms"])
    return SingleStream(
        wall_ms=of(lambda run: run["wall_s"]),
        network_ms=of(lambda run: run["network_s"]),
        rest_ms=of(lambda run: run["wall_s"] - run["network_s"]),
        rest_part=round(statistics.median(1 - run["network_s"] / run["wall_s"] for run in runs), 4),
        cpu_ms=of(lambda run: run["cpu_s"]),
        other_cpu_ms=of(lambda run: run["other_cpu_s"]),
        stages_ms={name: Distribution.of(samples) for name, samples in stages.items()},
        peak_mib=round(max(run["peak_mib"] for run in runs), 1),
        sensed=sensed,
        joules_per_study={source.source: round(source.joules / len(runs), 3) for source in sensed.energy},
    )


def _cold(
    bundle: Bundle, study: BenchStudy, options: LatencyOptions, folder: Path, progress: Progress
) -> Cold:
    run = options.run
    command = [
        sys.executable, "-m", "scanside.runtime.cli.main", "run", str(bundle.path.resolve()), str(study.path.resolve()),
        "-o", str(folder / "cold"), "--overwrite", "--device", run.device, "--precision", run.precision,
        "--step-size", str(run.step_size), *(["--no-mirroring"] if not run.mirroring else []),
        *(["--folds", ",".join(run.folds)] if run.folds else []),
        *(["--threads", str(run.threads)] if run.threads else []),
    ]  # fmt: skip
    took = []
    for _ in range(options.cold):
        took.append(run_measured(command, folder / "cold.log"))
        progress.step(f"{study.name}, cold: {took[-1].wall_s:.2f} s")
    return Cold(
        wall_ms=Distribution.of([1000 * one.wall_s for one in took]),
        peak_mib=round(max(one.peak_mib for one in took), 1),
    )


def _offline(
    stream: Child,
    study: BenchStudy,
    single: SingleStream,
    options: LatencyOptions,
    folder: Path,
    progress: Progress,
) -> Offline:
    paths = [str(study.path.resolve())] * options.offline
    start = time.perf_counter()
    stream.ask({"studies": paths, "out": str(folder / "offline")})
    seconds = time.perf_counter() - start
    progress.step(f"{study.name}, offline: {options.offline} studies in {seconds:.1f} s")
    return Offline(
        studies=options.offline,
        seconds=round(seconds, 3),
        studies_per_hour=round(options.offline / seconds * 3600, 1),
        against_single_stream=round(single.wall_ms.median / 1000 * options.offline / seconds, 3),
    )


def _selftest(bundle: Path, device: str, precision: str) -> dict[str, Any]:
    """Replay the golden cases of every segmenter and study, as `scanside selftest` does."""
    command = [
        sys.executable, "-m", "scanside.runtime.cli.main", "selftest", str(bundle.resolve()),
        "--device", device, "--precision", precision, "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if not done.stdout:
        return {"passed": False, "sentences": [done.stderr.strip().splitlines()[-1]]}
    document = json.loads(done.stdout)
    sentences = [
        f"{row['case']}: {row['differing']} of {row['voxels']} voxels differ" for row in document["cases"]
    ] + [
        f"{row['case']}: features differ by at most {row['feature_error']:.1e} of their value, "
        f"the probability by {row['probability_error']:.1e}"
        for row in document["studies"]
    ]
    return {"passed": document["status"] == "ok", "sentences": sentences}


def _noise(studies: Sequence[StudyLatency]) -> list[str]:
    """What makes the figures unfit to be quoted."""
    remarks = []
    cores = os.cpu_count() or 1
    for study in studies:
        single = study.single
        if single is None:
            continue
        part = statistics.median(
            other / (wall * cores)
            for other, wall in zip(single.other_cpu_ms.samples, single.wall_ms.samples, strict=True)
        )
        if part > QUIET:
            remarks.append(f"{study.name}: other programs took {part:.0%} of the processor meanwhile.")
        if single.sensed.throttled:
            remarks.append(f"{study.name}: throttled: {'; '.join(single.sensed.throttled)}.")
        if single.wall_ms.half_width is None or single.wall_ms.half_width > 0.1:
            remarks.append(f"{study.name}: the median's 95 % interval is wider than ± 10 %.")
    return remarks
