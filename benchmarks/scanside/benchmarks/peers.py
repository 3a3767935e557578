"""`scanside bench peers`: nnunetv2 and scanside in alternating pairs on the same images. Read this file first."""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scanside.benchmarks import processes, worker
from scanside.benchmarks.agreement import agreement, margins
from scanside.benchmarks.cold import ColdPeers, ColdRun
from scanside.benchmarks.environment import environment
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import PEERS, Agreement, Device, Metric, PeersCase, PeersReport
from scanside.benchmarks.source import Source, find_source
from scanside.benchmarks.staging import StagedCase, stage
from scanside.benchmarks.warm import NAMES, Mask, Setup
from scanside.benchmarks.worker import WarmRun, Worker
from scanside.runtime import machine
from scanside.runtime.images.load import load_case
from scanside.runtime.images.orient import reorient
from scanside.runtime.plan import Plan
from scanside.runtime.stages.crop import crop
from scanside.runtime.stages.resample import resampled_shape, target_spacing
from scanside.runtime.stages.slide import tiling
from scanside.runtime.volume import Volume

Mode = Literal["cold", "warm"]
_STEP = 0.5
_QUIET = 0.05
"""Part of the processor that other programs may take before a report says so."""
_COLD = (
    ("wall", "s", lambda run: run.took.wall_s),
    ("cpu", "s", lambda run: run.took.cpu_s),
    ("other_cpu", "s", lambda run: run.took.other_cpu_s),
    ("peak_memory", "MiB", lambda run: run.took.peak_mib),
    ("peak_rss", "MiB", lambda run: run.took.peak_rss_mib),
    ("processes", "processes", lambda run: run.took.processes),
)
_WARM = (
    ("wall", "s", lambda run: run.wall_s),
    ("network", "s", lambda run: run.network_s),
    ("outside", "s", lambda run: run.outside_s),
    ("cpu", "s", lambda run: run.cpu_s),
    ("other_cpu", "s", lambda run: run.other_cpu_s),
    ("peak_memory", "MiB", lambda run: run.peak_mib),
)


@dataclass(frozen=True)
class PeersOptions:
    """Choices of a run.

    Attributes:
        bundle: None to export the model to a temporary one.
        repeats: Pairs a mode and case.
        warm_ups: Untimed warm runs before them, a case and peer.
        device: Of the runtime: openvino, cpu or auto.
        folds: None for all that the bundle has.
    """

    bundle: Path | None = None
    repeats: int = 3
    warm_ups: int = 1
    device: str = "auto"
    mirroring: bool = False
    cold: bool = True
    warm: bool = True
    folds: tuple[str, ...] | None = None


@dataclass(eq=False)
class _Samples:
    """All runs of one case."""

    cold: dict[str, list[ColdRun]] = field(default_factory=lambda: {name: [] for name in NAMES})
    warm: dict[str, list[WarmRun]] = field(default_factory=lambda: {name: [] for name in NAMES})

    def masks(self, mode: Mode, name: str) -> list[Mask]:
        runs: Sequence[ColdRun | WarmRun] = self.cold[name] if mode == "cold" else self.warm[name]
        return [run.mask for run in runs]


def run_peers(
    model: Path, images: Sequence[Path], options: PeersOptions, arguments: Sequence[str]
) -> PeersReport:
    """Measure both peers.

    Args:
        model: nnU-Net v2 results folder.
        images: What `scanside segment` takes.
        arguments: The command line, for the record.

    Raises:
        InputError: If an image or the model is unsuitable.
        CaseError: If a peer fails.
    """
    facts = environment(arguments)  # first: the load average is that of the machine before this run
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary:
        folder = Path(temporary)
        source = find_source(model, options.bundle, options.folds, folder)
        cases = stage(images, source.plan, source.ending, folder / "images")
        setup = Setup(
            source.model, source.bundle.path, source.folds, options.device, mirroring=options.mirroring
        )
        steps = 2 * len(cases) * options.repeats * (options.cold + options.warm)
        progress = Progress(steps + 2 * len(cases) * options.warm_ups * options.warm)
        samples = {case.name: _Samples() for case in cases}
        progress.say("Opening the bundle once, so that `auto` has chosen its device before anything is timed")
        with Worker("scanside", setup, folder) as probe:
            device = Device.model_validate(probe.facts)
        commands = None
        if options.cold:
            commands = _run_cold(ColdPeers(setup, source.ending, folder), cases, samples, options, progress)
        opening = _run_warm(setup, cases, samples, options, progress, folder) if options.warm else None
        measured = [_case(case, samples[case.name], source, options) for case in cases]
    return PeersReport.model_validate(
        {
            **facts,
            "remarks": [*facts["remarks"], *_noise(measured)],
            "schema": PEERS,
            "bundle": source.bundle.summary(),
            "checkpoints": source.checkpoints,
            "mirroring": options.mirroring,
            "device": device,
            "folds": source.folds,
            "step_size": _STEP,
            "repeats": options.repeats,
            "warm_ups": options.warm_ups if options.warm else 0,
            "memory_method": {"cold": processes.MEMORY_METHOD, "warm": worker.MEMORY_METHOD},
            "commands": commands,
            "opening": opening,
            "cases": measured,
        }
    )


def _run_cold(
    peers: ColdPeers,
    cases: Sequence[StagedCase],
    samples: dict[str, _Samples],
    options: PeersOptions,
    progress: Progress,
) -> dict[str, list[str]]:
    progress.say("Bringing both programs' files into the file cache")
    peers.warm_files()
    for case in cases:
        for _ in range(options.repeats):
            for name in NAMES:
                run = peers.run(name, case)
                samples[case.name].cold[name].append(run)
                progress.step(
                    f"cold {name}, {case.name}: {run.took.wall_s:.2f} s, {run.took.peak_mib:.0f} MiB"
                )
    return peers.commands()


def _run_warm(
    setup: Setup,
    cases: Sequence[StagedCase],
    samples: dict[str, _Samples],
    options: PeersOptions,
    progress: Progress,
    folder: Path,
) -> dict[str, dict[str, float]]:
    progress.say("Opening both in processes of their own")
    with Worker("nnunetv2", setup, folder) as first, Worker("scanside", setup, folder) as second:
        workers = dict(zip(NAMES, (first, second), strict=True))
        for case in cases:
            for index in range(-options.warm_ups, options.repeats):
                for name, peer in workers.items():
                    run = peer.segment(case.files)
                    untimed = " (warm-up)" if index < 0 else ""
                    if index >= 0:
                        samples[case.name].warm[name].append(run)
                    progress.step(
                        f"warm {name}, {case.name}: {run.wall_s:.2f} s, {run.outside_s:.2f} s of it outside "
                        f"the network, {run.peak_mib:.0f} MiB{untimed}"
                    )
        return {name: peer.opening for name, peer in workers.items()}


def _case(case: StagedCase, samples: _Samples, source: Source, options: PeersOptions) -> PeersCase:
    volume = load_case(case.case, len(source.plan.channels)).volume
    metrics, labels = [], {}
    if options.cold:
        metrics += _metrics("cold", _COLD, samples.cold)
        labels["cold"] = _labels("cold", case, samples, source, options)
    if options.warm:
        metrics += _metrics("warm", _WARM, samples.warm)
        labels["warm"] = _labels("warm", case, samples, source, options)
    everything = {name: samples.masks("cold", name) + samples.masks("warm", name) for name in NAMES}
    return PeersCase.model_validate(
        {
            "name": case.name,
            "shape": volume.geometry.shape,
            "spacing_mm": volume.geometry.spacing,
            "converted": case.converted,
            "tiles": tiles(volume, source.plan),
            "network_runs": {n: samples.warm[n][0].network_runs for n in NAMES} if options.warm else None,
            "metrics": metrics,
            "stages_ms": _stages(samples.warm["scanside"]) if options.warm else None,
            "labels": labels,
            "repeatable": {
                name: all((mask == masks[0]).all() for mask in masks) for name, masks in everything.items()
            },
        }
    )


def _metrics(mode: Mode, quantities: Any, runs: dict[str, Any]) -> list[Metric]:
    return [
        Metric.of(mode, name, unit, *([value(run) for run in runs[peer]] for peer in NAMES))
        for name, unit, value in quantities
    ]


def _labels(
    mode: Mode, case: StagedCase, samples: _Samples, source: Source, options: PeersOptions
) -> Agreement:
    """The pair of masks that differ most."""
    pairs = list(zip(samples.masks(mode, "scanside"), samples.masks(mode, "nnunetv2"), strict=True))
    mask, reference = max(pairs, key=lambda pair: int((pair[0] != pair[1]).sum()))
    if (mask == reference).all():
        return agreement(mask, reference, source.plan)
    from scanside.benchmarks.reference import FromFolder  # torch: only now, and only where labels differ

    _, found, _ = FromFolder(source, mirroring=options.mirroring).predict(case.case)
    return agreement(mask, reference, source.plan, margins(mask, reference, found.margin))


def _noise(cases: Sequence[PeersCase]) -> list[str]:
    """Whether something else was using the processor while the runs were timed."""
    metrics = [metric for case in cases for metric in case.metrics]
    other, wall = (
        sum(sum(metric.nnunetv2 + metric.scanside) for metric in metrics if metric.name == name)
        for name in ("other_cpu", "wall")
    )
    share = other / (wall * machine.cores())
    if share <= _QUIET:
        return []
    return [
        f"Other programs took {share:.0%} of the processor while the runs were timed; "
        "ratios of pairs are more reliable than times."
    ]


def _stages(runs: Sequence[WarmRun]) -> dict[str, float]:
    return {
        name: round(statistics.median(run.stages_ms[name] for run in runs), 3) for name in runs[0].stages_ms
    }


def tiles(volume: Volume, plan: Plan) -> int:
    """How many tiles an image has, at nnU-Net's step, on the network's grid."""
    if plan.reorient:
        volume, _ = reorient(volume, plan.reorient)
    cropped = crop(volume, plan, None)
    target = target_spacing(plan, cropped.spacing)
    shape = resampled_shape(cropped.data.shape[1:], cropped.spacing, target)
    return tiling(shape, plan.patch_size, _STEP).count
