"""`scanside bench run`: how long a study takes on this machine, whole and by stage. Read this file first.

The words are MLPerf inference's: single stream, offline, p50/p90/p99, accuracy in the same report. What is measured is
the whole way, from the study's files to SEG, SR, secondary capture and result.json on disk; the way over the network
is measured by `scanside bench appliance`.
"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.benchmarks import conditions
from scanside.benchmarks.child import Child
from scanside.benchmarks.choices import LatencyOptions
from scanside.benchmarks.distribution import Distribution, distributions
from scanside.benchmarks.processes import SCANSIDE, run_measured
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import Measured, Measurements, Quantity, measured, quantity
from scanside.benchmarks.sensors import Sensed, Sensors
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
) -> Measurements:
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
            opened = [quantity(name, "ms", ms) for name, ms in opening.items()]
            found, remarks = [measured("a new process", {}, opened)], list[str]()
            for study in studies:
                found.append(_study(bench, study, remarks))
    progress.say("Replaying the bundle's golden cases on this device")
    return conditions.whole_studies("run", facts, bundle, options.run, device, found, remarks)


def _study(bench: _Bench, study: BenchStudy, remarks: list[str]) -> Measured:
    """Everything about one study; what speaks against quoting it is added to the remarks."""
    options, out, name = bench.options, bench.folder / "out", study.name
    bench.progress.say(f"{name}: {_WARM_UPS} untimed repetition(s)")
    for _ in range(_WARM_UPS):
        _asked(bench, study, 1, out)
    runs: list[Streamed] = []
    with Sensors() as sensors:
        while not _enough(runs, options):
            runs.append(_asked(bench, study, 1, out))
            words = f"{name}: {runs[-1].spent.wall_s:.2f} s, {runs[-1].network_s:.2f} s in the network"
            if len(runs) <= options.repeats:
                bench.progress.step(words)
            else:
                bench.progress.say(f"{words}; the median is not known well enough yet")
    sensed, quantities, reports = sensors.sensed(), _single(runs), [run.reports[0] for run in runs]
    quantities += _energy("", sensed, len(runs))
    remarks += conditions.disturbed(name, quantities, "warm") + conditions.throttled(name, sensed)
    if options.cold:
        quantities += _cold(bench, study)
        remarks += conditions.disturbed(f"{name}, cold", quantities, "cold")
    if options.offline:
        quantities += _offline(bench, study, quantities[0].median, reports, remarks)
    remarks += conditions.changed(name, reports)
    images = {
        one["sequence"]: {"shape": one["shape"], "spacing_mm": one["spacing_mm"]}
        for one in reports[0]["sequences"]
    }
    facts = {
        "origin": study.origin, "images": images,
        "voxels": sum(math.prod(one["shape"]) for one in images.values()),
        **{key: reports[0][key] for key in ("status", "probability", "objects")},
    }  # fmt: skip
    stages = distributions(
        [{one["name"]: one["ms"] for one in report["stages"]} for report in reports[: len(runs)]]
    )
    return measured(name, facts, quantities, stages, sensed)


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


def _single(runs: Sequence[Streamed]) -> list[Quantity]:
    """One study after the other."""
    walls, networks = [one.spent.wall_s for one in runs], [one.network_s for one in runs]
    pairs = list(zip(walls, networks, strict=True))
    return [
        quantity("warm", "ms", *(1000 * wall for wall in walls), gate=True),
        quantity("in the network", "ms", *(1000 * network for network in networks)),
        quantity("everything else", "ms", *(1000 * (wall - network) for wall, network in pairs)),
        quantity("everything else, part of warm", "1", *(1 - network / wall for wall, network in pairs)),
        quantity("warm, CPU", "CPU ms", *(1000 * one.spent.cpu_s for one in runs)),
        quantity("warm, other programs", "CPU ms", *(1000 * one.spent.other_cpu_s for one in runs)),
        quantity("warm, peak memory", "MiB", *(one.spent.peak_mib for one in runs)),
    ]


def _energy(mode: str, sensed: Sensed, studies: int) -> list[Quantity]:
    return [
        quantity(f"{mode}energy per study, {one.source}", "J", one.joules / studies) for one in sensed.energy
    ]


def _cold(bench: _Bench, study: BenchStudy) -> list[Quantity]:
    command = [
        *SCANSIDE, "run", str(bench.bundle.path.resolve()), str(study.path.resolve()),
        "-o", str(bench.folder / "cold"), "--overwrite",
        *conditions.as_arguments(bench.options.run),
    ]  # fmt: skip
    took = []
    for _ in range(bench.options.cold):
        took.append(run_measured(command, bench.folder / "cold.log"))
        bench.progress.step(f"{study.name}, cold: {took[-1].wall_s:.2f} s")
    return [
        quantity("cold", "ms", *(1000 * one.wall_s for one in took), gate=True),
        quantity("cold, other programs", "CPU ms", *(1000 * one.other_cpu_s for one in took)),
        quantity("cold, peak memory", "MiB", *(one.peak_mib for one in took)),
    ]


def _offline(
    bench: _Bench, study: BenchStudy, warm_ms: float, reports: list[dict[str, Any]], remarks: list[str]
) -> list[Quantity]:
    """Back to back; what each study came to, and what speaks against quoting it, are added."""
    count, name = bench.options.offline, f"{study.name}, offline"
    with Sensors() as sensors:
        answer = _asked(bench, study, count, bench.folder / "offline")
    seconds, sensed = answer.spent.wall_s, sensors.sensed()
    bench.progress.step(f"{name}: {count} studies in {seconds:.1f} s")
    other = conditions.other_part(answer.spent.other_cpu_s, seconds)
    reports += answer.reports
    remarks += conditions.crowded(name, other) + conditions.throttled(name, sensed)
    return [
        quantity("offline, studies", "1", count),
        quantity("offline, all", "ms", 1000 * seconds),
        quantity("offline", "1/h", count / seconds * 3600),
        quantity("offline, against one after the other", "1", warm_ms / 1000 * count / seconds),
        quantity("offline, peak memory", "MiB", answer.spent.peak_mib),
        quantity("offline, other programs", "1", other),
        *_energy("offline, ", sensed, count),
    ]
