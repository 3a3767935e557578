"""`scanside bench run`: how long a study takes on this machine, whole and by stage. Read this file first.

The words are MLPerf inference's: single stream, offline, p50/p90/p99, accuracy in the same report. What is measured is
the whole way, from the study's files to SEG, SR, secondary capture and result.json on disk; the way over the network
is measured by `scanside bench appliance`.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.benchmarks import conditions
from scanside.benchmarks.child import Child
from scanside.benchmarks.choices import LatencyOptions
from scanside.benchmarks.distribution import Distribution, distributions
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
from scanside.benchmarks.sensors import Sensed, Sensors, gpu_names
from scanside.benchmarks.stream import Stream, Streamed
from scanside.benchmarks.studies import BenchStudy
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.errors import InputError

_ENOUGH = 0.03
"""The single stream ends when the 95 % interval of the median is within ± this part of it."""
_WARM_UPS = 2


@dataclass(frozen=True)
class _Bench:
    """What every measurement needs."""

    bundle: Bundle
    options: LatencyOptions
    folder: Path
    stream: Child[Stream]
    progress: Progress


def run_latency(
    path: Path, studies: Sequence[BenchStudy], options: LatencyOptions, facts: Mapping[str, Any]
) -> LatencyReport:
    """Measure every study.

    Args:
        path: The bundle.
        facts: Of `environment`, taken before anything else was done.

    Raises:
        BundleError, BackendError: As `scanside run`.
        InputError: If a study is refused.
        CaseError: If a run fails.
    """
    bundle = open_bundle(path)
    progress = Progress(len(studies) * (options.repeats + options.cold + bool(options.offline)))
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary:
        folder = Path(temporary)
        progress.say("Opening the networks")
        if options.run.device == "auto":  # the first time, golden cases run to choose the device
            Child("the runtime", folder / "stream.log", Stream, path, options.run).close()
        with Child("the runtime", folder / "stream.log", Stream, path, options.run) as stream:
            opening, device = stream.ask(Stream.said)
            bench = _Bench(bundle, options, folder, stream, progress)
            measured, remarks = [], []
            for study in studies:
                one, said = _study(bench, study)
                measured.append(one)
                remarks += said
        progress.say("Replaying the bundle's golden cases on this device")
        selftest = conditions.golden_cases(path, device["obtained"], device["precision"])
    remarks += conditions.wrong(selftest)
    return LatencyReport.model_validate(
        {
            **facts,
            "schema": LATENCY,
            "gpus": gpu_names(),
            "bundle": bundle.summary(),
            "synthetic": bundle.manifest.synthetic,
            "device": device,
            "approximations": options.run.approximations,
            "threads": options.run.threads,
            "selftest": selftest,
            "headline": not remarks,
            "remarks": remarks,
            "opening": opening,
            "studies": measured,
        }
    )


def _study(bench: _Bench, study: BenchStudy) -> tuple[StudyLatency, list[str]]:
    """Everything about one study, and what speaks against quoting it."""
    options, out = bench.options, bench.folder / "out"
    bench.progress.say(f"{study.name}: {_WARM_UPS} untimed repetition(s)")
    for _ in range(_WARM_UPS):
        _asked(bench, study, 1, out)
    runs: list[Streamed] = []
    with Sensors() as sensors:
        while not _enough(runs, options):
            runs.append(_asked(bench, study, 1, out))
            words = f"{study.name}: {runs[-1].spent.wall_s:.2f} s, {runs[-1].network_s:.2f} s in the network"
            if len(runs) <= options.repeats:
                bench.progress.step(words)
            else:
                bench.progress.say(f"{words}; the median is not known well enough yet")
    single, reports = _single(runs, sensors.sensed()), [run.reports[0] for run in runs]
    remarks = conditions.noise(study.name, single.wall_ms, single.other_cpu_ms)
    remarks += conditions.throttled(study.name, single.sensed)
    cold = offline = None
    if options.cold:
        cold = _cold(bench, study)
        remarks += conditions.noise(f"{study.name}, cold", cold.wall_ms, cold.other_cpu_ms)
    if options.offline:
        offline, more, said = _offline(bench, study, single)
        reports += more
        remarks += said
    remarks += conditions.changed(study.name, reports)
    report = reports[0]
    images = [
        {key: image[key] for key in ("sequence", "shape", "spacing_mm")} for image in report["sequences"]
    ]
    found = StudyLatency.model_validate(
        {
            "name": study.name,
            "origin": study.origin,
            "images": images,
            "voxels": sum(image["shape"][0] * image["shape"][1] * image["shape"][2] for image in images),
            **{key: report[key] for key in ("status", "probability", "objects")},
            "single": single,
            "cold": cold,
            "offline": offline,
        }
    )
    return found, remarks


def _asked(bench: _Bench, study: BenchStudy, count: int, out: Path) -> Streamed:
    """A study in the stream, so often back to back.

    Raises:
        InputError: If the study is refused.
    """
    answer: Streamed = bench.stream.ask(Stream.measure, [study.path.resolve()] * count, out)
    refused = next((one for one in answer.reports if one["status"] == "unsuitable input"), None)
    if refused:
        raise InputError(
            f"Study {study.name} is refused, so that there is nothing to measure: {refused['reason']}"
        )
    return answer


def _enough(runs: Sequence[Streamed], options: LatencyOptions) -> bool:
    if len(runs) < options.repeats:
        return False
    half = Distribution.of([run.spent.wall_s for run in runs]).half_width
    return len(runs) >= options.most or (half is not None and half <= _ENOUGH)


def _single(runs: Sequence[Streamed], sensed: Sensed) -> SingleStream:
    def of(value: Callable[[Streamed], float]) -> Distribution:
        return Distribution.of([1000 * value(run) for run in runs])

    stages = [{stage["name"]: stage["ms"] for stage in run.reports[0]["stages"]} for run in runs]
    return SingleStream(
        wall_ms=of(lambda run: run.spent.wall_s),
        network_ms=of(lambda run: run.network_s),
        split_absent="no session tells copies from computing; on a CPU nothing is copied",
        rest_ms=of(lambda run: run.spent.wall_s - run.network_s),
        rest_part=round(statistics.median(1 - run.network_s / run.spent.wall_s for run in runs), 4),
        cpu_ms=of(lambda run: run.spent.cpu_s),
        other_cpu_ms=of(lambda run: run.spent.other_cpu_s),
        stages_ms=distributions(stages),
        peak_mib=round(max(run.spent.peak_mib for run in runs), 1),
        sensed=sensed,
        joules_per_study=_energy(sensed, len(runs)),
    )


def _energy(sensed: Sensed, studies: int) -> dict[str, float]:
    return {source.source: round(source.joules / studies, 3) for source in sensed.energy}


def _cold(bench: _Bench, study: BenchStudy) -> Cold:
    command = [
        sys.executable, "-m", "scanside.runtime.cli.main", "run", str(bench.bundle.path.resolve()),
        str(study.path.resolve()), "-o", str(bench.folder / "cold"), "--overwrite",
        *conditions.as_arguments(bench.options.run),
    ]  # fmt: skip
    took = []
    for _ in range(bench.options.cold):
        took.append(run_measured(command, bench.folder / "cold.log"))
        bench.progress.step(f"{study.name}, cold: {took[-1].wall_s:.2f} s")
    return Cold(
        wall_ms=Distribution.of([1000 * one.wall_s for one in took]),
        other_cpu_ms=Distribution.of([1000 * one.other_cpu_s for one in took]),
        peak_mib=round(max(one.peak_mib for one in took), 1),
    )


def _offline(
    bench: _Bench, study: BenchStudy, single: SingleStream
) -> tuple[Offline, list[dict[str, Any]], list[str]]:
    """Back to back; also what each study came to, and what speaks against quoting it."""
    count, name = bench.options.offline, f"{study.name}, offline"
    with Sensors() as sensors:
        answer = _asked(bench, study, count, bench.folder / "offline")
    seconds, sensed = answer.spent.wall_s, sensors.sensed()
    bench.progress.step(f"{name}: {count} studies in {seconds:.1f} s")
    other = conditions.other_part(answer.spent.other_cpu_s, seconds)
    found = Offline(
        studies=count,
        seconds=round(seconds, 3),
        studies_per_hour=round(count / seconds * 3600, 1),
        against_single_stream=round(single.wall_ms.median / 1000 * count / seconds, 3),
        peak_mib=round(answer.spent.peak_mib, 1),
        other_cpu_part=round(other, 4),
        joules_per_study=_energy(sensed, count),
    )
    return found, answer.reports, conditions.crowded(name, other) + conditions.throttled(name, sensed)
