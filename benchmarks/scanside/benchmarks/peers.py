"""`scanside bench peers`: nnunetv2 and its peers in alternating rounds on the same images. Read this file first."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import psutil

from scanside.benchmarks import processes, warm
from scanside.benchmarks.agreement import Judge
from scanside.benchmarks.choices import PeersOptions
from scanside.benchmarks.cold import ColdPeers
from scanside.benchmarks.conditions import QUIET, measurements, other_part
from scanside.benchmarks.distribution import medians
from scanside.benchmarks.kinds import NNUNET, PeerKind, file_precisions, parse_kinds
from scanside.benchmarks.processes import MIB, EndedByMemory
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import Measured, Measurements, measured, quantity
from scanside.benchmarks.source import Source, StagedCase, all_together, find_source, stage
from scanside.benchmarks.warm import Setup, Worker
from scanside.runtime.arrays import LabelMask
from scanside.runtime.cli.arguments import names
from scanside.runtime.errors import BackendError, ScansideError
from scanside.runtime.images.load import load_case
from scanside.runtime.images.orient import reorient
from scanside.runtime.plan import Plan
from scanside.runtime.stages.crop import crop
from scanside.runtime.stages.resample import resampled_shape, target_spacing
from scanside.runtime.stages.slide import tiling
from scanside.runtime.volume import Volume

_STEP = 0.5
_CEILING = 0.9
"""Part of the free memory that a command may take, unless told otherwise."""
Mode = Literal["together", "cold", "warm"]
MODES: tuple[Mode, ...] = ("together", "cold", "warm")
_COMMAND: dict[str, tuple[str, float, str]] = {
    "": ("ms", 1000.0, "spent.wall_s"),
    ", CPU": ("CPU ms", 1000.0, "spent.cpu_s"),
    ", other programs": ("CPU ms", 1000.0, "spent.other_cpu_s"),
    ", peak memory": ("MiB", 1.0, "spent.peak_mib"),
}
"""End of a quantity's name → its unit, the factor of what a run has, and where a run has it."""
_OPENED = {
    **_COMMAND,
    ", in the network": ("ms", 1000.0, "network_s"),
    ", outside the network": ("ms", 1000.0, "outside_s"),
}


@dataclass
class _Bench:
    """What every measurement needs, and what was measured; a case of None stands for all of them together.

    Attributes:
        kinds: Whoever is measured; without what does not open, once that is known.
        devices, absent: What a backend obtained, or why it does not open.
        runs: By mode, case and peer, in order of the rounds.
        masks: The different ones that a peer gave, by mode, case and peer.
        ended: Commands that the memory ceiling ended: mode, case and peer → after how long, and what they held.
    """

    source: Source
    cases: list[StagedCase]
    kinds: tuple[PeerKind, ...]
    setup: Setup
    options: PeersOptions
    ceiling_mib: float
    folder: Path
    progress: Progress
    devices: dict[str, dict[str, str]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    runs: dict[tuple[Mode, str | None, str], list[Any]] = field(default_factory=lambda: defaultdict(list))
    masks: dict[tuple[Mode, str, str], list[LabelMask]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[tuple[Mode, str | None, str], EndedByMemory] = field(default_factory=dict)
    opening: list[Measured] = field(default_factory=list)

    @cached_property
    def commands(self) -> ColdPeers:
        """The peers as commands."""
        return ColdPeers(self.setup, self.source.ending, self.folder, self.ceiling_mib)

    def keep(self, mode: Mode, case: str, peer: str, mask: LabelMask) -> None:
        """Keep a mask unless it is known."""
        known = self.masks[mode, case, peer]
        if not any((mask == other).all() for other in known):
            known.append(mask)

    def round(self, index: int) -> tuple[PeerKind, ...]:
        """The peers in turn: each round begins with another, so that none always follows the same one."""
        start = max(index, 0) % len(self.kinds)
        return self.kinds[start:] + self.kinds[:start]


def run_peers(
    model: Path, images: Sequence[Path], options: PeersOptions, facts: Mapping[str, Any]
) -> Measurements:
    """Measure all peers.

    Args:
        model: nnU-Net v2 results folder.
        images: What `scanside segment` takes.
        facts: Of `environment`, taken before anything else was done.

    Raises:
        UsageError: If a backend is unknown.
        InputError: If an image or the model is unsuitable.
        BackendError: If none of the backends opens.
        CaseError: If a peer fails.
    """
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary:
        bench = _prepared(model, images, options, Path(temporary))
        _probe(bench)
        if options.cold or options.together:
            bench.progress.say("Bringing all programs' files into the file cache")
            bench.commands.warm_files(bench.kinds)
        if options.together:
            _run_commands(
                bench, "together", None, bench.cases, all_together(bench.cases, bench.folder / "together")
            )
        for case in bench.cases if options.cold else ():
            _run_commands(bench, "cold", case.name, [case], case.folder)
        if options.warm:
            _run_warm(bench)
        judge = Judge(bench.source, mirroring=options.mirroring)
        found = [one for case in bench.cases for one in _case(bench, case, judge)]
    for kind in bench.kinds if options.together else ():
        all_of_them = {"case": f"{len(bench.cases)} cases", "peer": kind.name}
        found.append(_measured(bench, None, kind, all_of_them, ("together",)))
    return measurements(
        "peers", facts, [*found, *bench.opening], [*facts["remarks"], *_noise(found)], headline=True,
        bundle=bench.source.bundle.summary(), conditions=_conditions(bench),
    )  # fmt: skip


def _prepared(model: Path, images: Sequence[Path], options: PeersOptions, folder: Path) -> _Bench:
    kinds = (NNUNET, *parse_kinds([word.strip() for word in options.backends.split(",")]))
    source = find_source(model, options.bundle, names(options.folds), folder, file_precisions(kinds))
    cases = stage(images, source.plan, source.ending, folder / "images")
    given = options.ceiling_gib
    ceiling = 1024 * given if given else _CEILING * psutil.virtual_memory().available / MIB
    rounds = len(cases) * (
        options.repeats * options.cold + (options.repeats + options.warm_ups) * options.warm
    )
    progress = Progress(len(kinds) * (rounds + options.repeats * options.together))
    setup = Setup(source.model, source.bundle.path, source.folds, mirroring=options.mirroring)
    return _Bench(source, cases, kinds, setup, options, ceiling, folder, progress)


def _probe(bench: _Bench) -> None:
    """Open each backend once; `auto` has chosen then before anything is timed."""
    bench.progress.say("Opening each backend once")
    for kind in bench.kinds:
        if kind.program == "scanside":
            try:
                with Worker(kind, bench.setup, bench.folder) as probe:
                    bench.devices[kind.name] = probe.facts
            except ScansideError as error:
                bench.absent[kind.name] = str(error)
    bench.kinds = tuple(kind for kind in bench.kinds if kind.name not in bench.absent)
    if bench.kinds == (NNUNET,):
        raise BackendError(f"None of the backends opens: {'; '.join(bench.absent.values())}")


def _run_commands(
    bench: _Bench, mode: Mode, name: str | None, cases: Sequence[StagedCase], images: Path
) -> None:
    """A command on a folder of images, in rounds; a peer that the ceiling ended does not try again."""
    for index in range(bench.options.repeats):
        for kind in bench.round(index):
            which, title = (mode, name, kind.name), f"{mode} {kind.name}, {name or f'{len(cases)} cases'}"
            if which in bench.ended:
                continue
            try:
                run = bench.commands.run(kind, images, [case.name for case in cases])
            except EndedByMemory as end:
                bench.ended[which] = end
                bench.progress.step(f"{title}: {end}")
                continue
            for case, mask in run.masks.items():
                bench.keep(mode, case, kind.name, mask)
            bench.runs[which].append(run)
            bench.progress.step(f"{title}: {run.spent.wall_s:.2f} s, {run.spent.peak_mib:.0f} MiB")


def _run_warm(bench: _Bench) -> None:
    bench.progress.say("Opening all in processes of their own")
    options = bench.options
    with ExitStack() as opened:
        workers = {
            kind.name: opened.enter_context(Worker(kind, bench.setup, bench.folder)) for kind in bench.kinds
        }
        for case in bench.cases:
            for index in range(-options.warm_ups, options.repeats):
                for kind in bench.round(index):
                    run = workers[kind.name].segment(case.files)
                    if index >= 0:
                        bench.runs["warm", case.name, kind.name].append(run)
                        bench.keep("warm", case.name, kind.name, run.mask)
                    bench.progress.step(
                        f"warm {kind.name}, {case.name}: {run.spent.wall_s:.2f} s, {run.outside_s:.2f} s of it outside "
                        f"the network, {run.spent.peak_mib:.0f} MiB{' (warm-up)' if index < 0 else ''}"
                    )
        bench.opening += [measured(f"opening {name}", {}, worker.opening) for name, worker in workers.items()]


def _conditions(bench: _Bench) -> dict[str, Any]:
    options = bench.options
    return {
        **bench.source.record(options.mirroring),
        "peers": {
            kind.name: {
                "program": kind.program, "device": bench.devices.get(kind.name),
                "approximation": kind.approximation, "command": bench.commands.command(kind),
            }
            for kind in bench.kinds
        },
        "step_size": _STEP, "repeats": options.repeats, "warm_ups": options.warm_ups if options.warm else 0,
        "memory_method": {"command": processes.MEMORY_METHOD, "warm": warm.MEMORY_METHOD},
        "memory_ceiling_mib": round(bench.ceiling_mib, 1), "absent": bench.absent,
        "ended": [
            {
                "peer": peer, "mode": mode, "case": case, "after_s": round(end.after_s, 1),
                "held_mib": round(end.peak_mib, 1),
            }
            for (mode, case, peer), end in bench.ended.items()
        ],
    }  # fmt: skip


def _case(bench: _Bench, case: StagedCase, judge: Judge) -> Iterator[Measured]:
    """What an image is, then every peer on it."""
    volume = load_case(case.case, len(bench.source.plan.channels)).volume
    yield measured(
        case.name,
        {
            "shape": list(volume.geometry.shape), "spacing_mm": list(volume.geometry.spacing),
            "converted": case.converted, "tiles": tiles(volume, bench.source.plan),
        },
        [],
    )  # fmt: skip
    labels: dict[str, dict[str, Any]] = {}
    for mode in MODES:
        masks = {kind: bench.masks.get((mode, case.name, kind.name)) for kind in bench.kinds}
        for peer, found in judge.compare(
            case, volume, {kind: own for kind, own in masks.items() if own}
        ).items():
            labels.setdefault(peer, {})[mode] = found.model_dump()
    for kind in bench.kinds:
        runs = bench.runs["warm", case.name, kind.name]
        facts = {
            "case": case.name, "peer": kind.name, "network_runs": runs[0].network_runs if runs else None,
            "repeatable": all(len(bench.masks.get((mode, case.name, kind.name), [])) < 2 for mode in MODES),
            "labels": labels.get(kind.name, {}),
            "stages_ms": medians([run.stages_ms for run in runs]) if runs else {},
        }  # fmt: skip
        yield _measured(bench, case.name, kind, facts, ("cold", "warm"))


def _measured(
    bench: _Bench, case: str | None, kind: PeerKind, facts: dict[str, Any], modes: Sequence[Mode]
) -> Measured:
    """A peer; without what it does not have of every round, since the memory ceiling ended it."""
    quantities = []
    for mode in modes:
        runs = bench.runs[mode, case, kind.name]
        if runs and len(runs) == bench.options.repeats:
            for end, (unit, factor, place) in (_OPENED if mode == "warm" else _COMMAND).items():
                samples = (factor * value for value in map(attrgetter(place), runs))
                quantities.append(quantity(f"{mode}{end}", unit, *samples))
    return measured(f"{facts['case']}, {kind.name}", facts, quantities)


def _noise(found: Sequence[Measured]) -> list[str]:
    """Whether something else was using the processor while the runs were timed."""
    other, wall = (
        sum(
            sum(one.samples)
            for peer in found
            for one in peer.quantities
            if one.name in {f"{mode}{end}" for mode in MODES}
        )
        for end in (", other programs", "")
    )
    share = other_part(other, wall)
    if share <= QUIET:
        return []
    return [
        f"Other programs took {share:.0%} of the processor while the runs were timed; "
        "ratios of rounds are more reliable than times."
    ]


def tiles(volume: Volume, plan: Plan) -> int:
    """How many tiles an image has, at nnU-Net's step, on the network's grid."""
    if plan.reorient:
        volume, _ = reorient(volume, plan.reorient)
    cropped = crop(volume, plan, None)
    target = target_spacing(plan, cropped.spacing)
    shape = resampled_shape(cropped.data.shape[1:], cropped.spacing, target)
    return tiling(shape, plan.patch_size, _STEP).count
