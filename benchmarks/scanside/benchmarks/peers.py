"""`scanside bench peers`: nnunetv2 and its peers in alternating rounds on the same images. Read this file first."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
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


@dataclass(eq=False)
class _Taken:
    """Everything that was measured; a case of None stands for all of them together.

    Attributes:
        runs: By mode, case and peer, in order of the rounds.
        masks: The different ones that a peer gave, by mode, case and peer.
    """

    runs: dict[tuple[Mode, str | None, str], list[Any]] = field(default_factory=lambda: defaultdict(list))
    masks: dict[tuple[Mode, str, str], list[LabelMask]] = field(default_factory=lambda: defaultdict(list))
    ended: list[dict[str, Any]] = field(default_factory=list)
    opening: dict[str, dict[str, float]] = field(default_factory=dict)

    def keep(self, mode: Mode, case: str, peer: str, mask: LabelMask) -> None:
        """Keep a mask unless it is known."""
        known = self.masks[mode, case, peer]
        if not any((mask == other).all() for other in known):
            known.append(mask)


@dataclass(frozen=True)
class _Bench:
    """What every measurement needs."""

    source: Source
    cases: list[StagedCase]
    kinds: tuple[PeerKind, ...]
    setup: Setup
    options: PeersOptions
    ceiling_mib: float
    folder: Path
    taken: _Taken
    progress: Progress


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
    kinds = (NNUNET, *parse_kinds([word.strip() for word in options.backends.split(",")]))
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary:
        folder = Path(temporary)
        source = find_source(model, options.bundle, names(options.folds), folder, file_precisions(kinds))
        cases = stage(images, source.plan, source.ending, folder / "images")
        setup = Setup(source.model, source.bundle.path, source.folds, mirroring=options.mirroring)
        given = options.ceiling_gib
        ceiling = 1024 * given if given else _CEILING * psutil.virtual_memory().available / MIB
        rounds = len(cases) * (
            options.repeats * options.cold + (options.repeats + options.warm_ups) * options.warm
        )
        progress = Progress(len(kinds) * (rounds + options.repeats * options.together))
        bench = _Bench(source, cases, kinds, setup, options, ceiling, folder, _Taken(), progress)
        devices, absent = _probe(bench)
        kinds = tuple(kind for kind in kinds if kind.name not in absent)
        if kinds == (NNUNET,):
            raise BackendError(f"None of the backends opens: {'; '.join(absent.values())}")
        bench = replace(bench, kinds=kinds)
        commands = ColdPeers(setup, source.ending, folder, ceiling)
        if options.cold or options.together:
            progress.say("Bringing all programs' files into the file cache")
            commands.warm_files(kinds)
        if options.together:
            _run_commands(bench, commands, "together", None, all_together(cases, folder / "together"), cases)
        for case in cases if options.cold else ():
            _run_commands(bench, commands, "cold", case.name, case.folder, [case])
        if options.warm:
            _run_warm(bench)
        judge = Judge(source, mirroring=options.mirroring)
        found = [one for case in cases for one in _case(bench, case, judge)]
        for kind in kinds if options.together else ():
            all_of_them = {"case": f"{len(cases)} cases", "peer": kind.name}
            found.append(_measured(bench, None, kind, all_of_them, ("together",)))
    opening = [
        measured(
            f"opening {name}",
            {},
            [
                quantity("opening", "ms", 1000 * one["wall_s"]),
                quantity("opening, peak memory", "MiB", one["peak_mib"]),
            ],
        )
        for name, one in bench.taken.opening.items()
    ]
    conditions = source.record(options.mirroring) | {
        "peers": {
            kind.name: {
                "program": kind.program, "device": devices.get(kind.name), "approximation": kind.approximation,
                "command": commands.command(kind),
            }
            for kind in kinds
        },
        "step_size": _STEP, "repeats": options.repeats, "warm_ups": options.warm_ups if options.warm else 0,
        "memory_method": {"command": processes.MEMORY_METHOD, "warm": warm.MEMORY_METHOD},
        "memory_ceiling_mib": round(ceiling, 1), "absent": absent, "ended": bench.taken.ended,
    }  # fmt: skip
    remarks = [*facts["remarks"], *_noise(found)]
    return measurements(
        "peers", facts, [*found, *opening], remarks, headline=True, bundle=conditions.pop("bundle"),
        conditions=conditions,
    )  # fmt: skip


def _probe(bench: _Bench) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """What each backend obtained, or why it does not open; `auto` has chosen then before anything is timed."""
    bench.progress.say("Opening each backend once")
    devices: dict[str, dict[str, str]] = {}
    absent: dict[str, str] = {}
    for kind in bench.kinds:
        if kind.program == "scanside":
            try:
                with Worker(kind, bench.setup, bench.folder) as probe:
                    devices[kind.name] = probe.facts
            except ScansideError as error:
                absent[kind.name] = str(error)
    return devices, absent


def _round(bench: _Bench, index: int) -> tuple[PeerKind, ...]:
    """The peers in turn: each round begins with another, so that none always follows the same one."""
    start = max(index, 0) % len(bench.kinds)
    return bench.kinds[start:] + bench.kinds[:start]


def _run_commands(
    bench: _Bench,
    commands: ColdPeers,
    mode: Mode,
    name: str | None,
    images: Path,
    cases: Sequence[StagedCase],
) -> None:
    """A command on a folder of images, in rounds; a peer that the ceiling ended does not try again."""
    taken, title = bench.taken, name or f"{len(cases)} cases"
    for index in range(bench.options.repeats):
        for kind in _round(bench, index):
            if (mode, name, kind.name) in ((end["mode"], end["case"], end["peer"]) for end in taken.ended):
                continue
            try:
                run = commands.run(kind, images, [case.name for case in cases])
            except EndedByMemory as end:
                taken.ended.append(
                    {
                        "peer": kind.name, "mode": mode, "case": name, "after_s": round(end.after_s, 1),
                        "held_mib": round(end.peak_mib, 1),
                    }
                )  # fmt: skip
                bench.progress.step(f"{mode} {kind.name}, {title}: {end}")
                continue
            for case, mask in run.masks.items():
                taken.keep(mode, case, kind.name, mask)
            taken.runs[mode, name, kind.name].append(run)
            bench.progress.step(
                f"{mode} {kind.name}, {title}: {run.spent.wall_s:.2f} s, {run.spent.peak_mib:.0f} MiB"
            )


def _run_warm(bench: _Bench) -> None:
    bench.progress.say("Opening all in processes of their own")
    options, taken = bench.options, bench.taken
    with ExitStack() as opened:
        workers = {
            kind.name: opened.enter_context(Worker(kind, bench.setup, bench.folder)) for kind in bench.kinds
        }
        for case in bench.cases:
            for index in range(-options.warm_ups, options.repeats):
                for kind in _round(bench, index):
                    run = workers[kind.name].segment(case.files)
                    if index >= 0:
                        taken.runs["warm", case.name, kind.name].append(run)
                        taken.keep("warm", case.name, kind.name, run.mask)
                    bench.progress.step(
                        f"warm {kind.name}, {case.name}: {run.spent.wall_s:.2f} s, {run.outside_s:.2f} s of it outside "
                        f"the network, {run.spent.peak_mib:.0f} MiB{' (warm-up)' if index < 0 else ''}"
                    )
        taken.opening.update({name: peer.opening for name, peer in workers.items()})


def _case(bench: _Bench, case: StagedCase, judge: Judge) -> Iterator[Measured]:
    """What an image is, then every peer on it."""
    taken = bench.taken
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
        masks = {kind: taken.masks.get((mode, case.name, kind.name)) for kind in bench.kinds}
        for peer, found in judge.compare(
            case, volume, {kind: own for kind, own in masks.items() if own}
        ).items():
            labels.setdefault(peer, {})[mode] = found.model_dump()
    for kind in bench.kinds:
        runs = taken.runs["warm", case.name, kind.name]
        facts = {
            "case": case.name, "peer": kind.name, "network_runs": runs[0].network_runs if runs else None,
            "repeatable": all(len(taken.masks.get((mode, case.name, kind.name), [])) < 2 for mode in MODES),
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
        runs = bench.taken.runs[mode, case, kind.name]
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
