"""What each results file says to a person: conditions first, then its tables, then what else must be known."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scanside.benchmarks.appliance_results import ApplianceReport, StudyWay
from scanside.benchmarks.distribution import Distribution, Ratio
from scanside.benchmarks.gpu_results import GpuReport
from scanside.benchmarks.kinds import REFERENCE
from scanside.benchmarks.latency_results import LatencyReport, RunRecord, StudyLatency
from scanside.benchmarks.peers_results import Agreement, Metric, PeersReport
from scanside.benchmarks.progress import duration
from scanside.benchmarks.results import ParityReport, Run
from scanside.benchmarks.scale_results import ScaleReport
from scanside.benchmarks.tables import DISTRIBUTION, aligned, cells, number, score, table, words
from scanside.benchmarks.tui import TuiReport

_MOST_STAGES = 8
_SINGLY = 4
"""Cases of `bench peers` whose labels are shown one by one; of more, all together."""
_LIBRARIES = ("scanside", "nnunetv2", "torch", "openvino", "onnxruntime", "numpy")
_WAY = {
    "last instance → report at the peer": "whole_ms",
    "  until the study is complete": "completeness_ms",
    "  in the queue": "queue_ms",
    "  computing": "compute_ms",
    "    of it inference": "inference_ms",
    "  delivering": "deliver_ms",
    "added: without quiet time and inference": "added_ms",
    "last instance → all objects at the peer": "all_stored_ms",
}
_RATE = {
    "senders": "{senders}", "instances/s": "{instances_per_s:.0f}", "MB/s": "{megabytes_per_s:.1f}",
    "a round": "{wall_ms.median!t}", "95 % interval": "{wall_ms!i}", "acknowledged after": "{response_ms.median!t}",
    "at most": "{slowest_ms!t}",
}  # fmt: skip
_POINT = {
    "varied": "{axis} {value}", "image": "{shape!x}", "classes": "{classes}", "tiles": "{tiles}",
    "studies": "{studies}", "wall": "{wall_ms.median!t}", "network": "{network_ms.median!t}",
    "peak memory": "{peak_mib:.0f} MiB", "before": "{baseline_mib:.0f} MiB",
}  # fmt: skip
_PEERS = {
    ("together", "wall"): "one command for all cases",
    ("together", "peak_memory"): "one command, peak memory",
    ("cold", "wall"): "cold command",
    ("cold", "peak_memory"): "cold, peak memory",
    ("warm", "wall"): "warm, array to labels",
    ("warm", "network"): "warm, in the network",
    ("warm", "outside"): "warm, outside the network",
    ("warm", "peak_memory"): "warm, peak memory",
}
"""What the table shows; the results file has more."""
_CASE = {
    "whole case": "{peer}", "seconds": "{seconds.median:.3g}", "× nnunetv2": "{times:.2f}",
    "device MiB": "{device_memory_mib:.0f}", "differing": "{differing}", "lowest Dice": "{lowest_dice:.4f}",
}  # fmt: skip


def render(report: Run) -> str:
    """A results file as Markdown."""
    found: Callable[[Any], list[str]] = _TABLES[type(report)]
    return "\n".join(found(report)).rstrip()


def conditions(report: Run) -> list[str]:
    """Where it ran, with which versions, on what; and whether the figures may be quoted."""
    versions = ", ".join(f"{name} {report.versions[name]}" for name in _LIBRARIES if name in report.versions)
    where = words("{processor}, {cores} core(s), {memory_gib} GiB", report.machine)
    lines = [f"{'; '.join([where, *getattr(report, 'gpus', [])])}; {versions}."]
    if isinstance(report, RunRecord):
        named = f": {', '.join(report.approximations)}" if report.approximations else ""
        passed = "passed" if report.passed else "NOT PASSED"
        lines.append(
            words("Bundle {bundle.name} {bundle.version} on {device.obtained} {device.precision}", report)
            + f"{named}. Golden cases: {passed}."
        )
    if getattr(report, "headline", True):
        return [*lines, *report.remarks]
    return [*lines, "NOT TO BE QUOTED: " + " ".join(report.remarks)]


def _longest(stages: Mapping[str, Distribution]) -> str:
    ordered = sorted(stages.items(), key=lambda item: -item[1].median)
    return ", ".join(words(f"{name} {{median!t}}", found) for name, found in ordered[:_MOST_STAGES])


def _latency(report: LatencyReport) -> list[str]:
    rows: list[tuple[str, ...]] = [("study", "quantity", *DISTRIBUTION)]
    for study in report.studies:
        quantities = {
            "warm, files to written results": study.single.wall_ms,
            "  in the network": study.single.network_ms,
            "  everything else": study.single.rest_ms,
            **({"cold command": study.cold.wall_ms} if study.cold else {}),
        }
        rows += [(study.name, title, *cells(DISTRIBUTION, found)) for title, found in quantities.items()]
    opening = "- A new process: libraries {imports_ms!t}, bundle {bundle_ms!t}, networks {networks_ms!t}."
    return [
        *conditions(report), "", *aligned(rows), "", words(opening, report.opening),
        *(line for study in report.studies for line in _study(study)),
    ]  # fmt: skip


def _study(study: StudyLatency) -> list[str]:
    size = "; ".join(words("{sequence} {shape!x}", image) for image in study.images)
    single, sensed = study.single, study.single.sensed
    energy = ", ".join(f"{joules:.1f} J ({source})" for source, joules in single.joules_per_study.items())
    lines = [
        f"- {study.name} ({study.origin}): {size}; {study.status}; writes {', '.join(study.objects) or 'no DICOM'}.",
        f"  - Everything but the network takes {single.rest_part:.0%} of the time. "
        f"Longest stages: {_longest(single.stages_ms)}.",
        f"  - Peak memory {single.peak_mib:.0f} MiB; {len(single.wall_ms.samples)} repetitions.",
    ]
    if energy:
        lines.append(f"  - Energy a study: {energy}.")
    if sensed.hottest_c is not None:
        lines.append(f"  - Hottest {sensed.hottest_c:.0f} °C.")
    if sensed.absent:
        lines.append(f"  - Not told by this machine: {'; '.join(sensed.absent)}.")
    if study.cold:
        lines.append(words("  - Cold: peak memory {peak_mib:.0f} MiB.", study.cold))
    back = (
        "  - Back to back: {studies_per_hour:.0f} studies an hour, {against_single_stream:.2f} × as many as one after "
        "the other; peak memory {peak_mib:.0f} MiB."
    )
    return [*lines, *([words(back, study.offline)] if study.offline else [])]


def _appliance(report: ApplianceReport) -> list[str]:
    rows: list[tuple[str, ...]] = [("study", "quantity", *DISTRIBUTION)]
    for study in report.studies:
        rows += [
            (study.name, title, *cells(DISTRIBUTION, getattr(study.way, name)))
            for title, name in _WAY.items()
        ]
    peak = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in report.peak_mib.items())
    return [
        *conditions(report),
        f"A study is complete after {report.quiet_seconds:g} quiet second(s), as configured; loopback, no TLS, no "
        "storage commitment.",
        *(["", *table(_RATE, report.rates)] if report.rates else []),
        *("", *aligned(rows), ""),
        *(line for study in report.studies for line in _sent(study)),
        f"- Peak memory: {peak}.",
    ]


def _sent(study: StudyWay) -> list[str]:
    stages = {name: ms for name, ms in study.way.stages_ms.items() if name not in ("total", "queued")}
    sent = "- {name} ({origin}): {instances} instances, {megabytes:.1f} MB, sent in {send_ms.median!t}; {status}; "
    return [
        f"{words(sent, study)}the peer got {', '.join(study.objects)}.",
        f"  - Longest stages: {_longest(stages)}.",
    ]


def _scale(report: ScaleReport) -> list[str]:
    growth = (
        "- With {axis}: time ∝ n^{wall:.2f}, without the network n^{rest:.2f}, memory it adds n^{memory:.2f}."
    )
    return [
        *conditions(report),
        f"{report.device.obtained}; made network: {report.network}. No point may need more than "
        f"{report.ceiling_mib:.0f} MiB: {'none does' if report.within_ceiling else 'SOME DO'}.",
        *("", *table(_POINT, report.points), ""),
        *(words(growth, one) for one in report.growth),
    ]


def _parity(report: ParityReport) -> list[str]:
    first = next(iter(report.totals.values()))
    names = list(first.dice)
    rows = [
        ("program", "cases", "differing voxels", "largest margin", *(f"Dice {name}" for name in names)),
        ("nnunetv2", str(first.cases), "reference", "", *(score(first.reference_dice[n]) for n in names)),
    ]
    for device, total in report.totals.items():
        margin = "" if total.largest_margin is None else f"{total.largest_margin:.2g}"
        counts = words("{differing} of {voxels}", total)
        rows.append(
            (
                f"scanside, {device}", str(total.cases), counts, margin, *(score(total.dice[n]) for n in names),
            )
        )  # fmt: skip
    tie = (
        "{explained} of {differing} differing voxel(s), in {cases_differing} case(s), had a margin of at most "
        "{bound:g} logits (ties by rounding)."
    )
    stopped = f"- Stopped after {len(report.cases)} of {report.images} cases."
    seconds = sum(case.reference_seconds for case in report.cases)
    return [
        f"{_how(report)}; Dice against the manual labels, mean.",
        *(*conditions(report), "", *aligned(rows), ""),
        *(f"- {device}: {words(tie, total)}" for device, total in report.totals.items() if total.differing),
        *([] if report.complete else [stopped]),
        f"- nnunetv2 took {duration(seconds)} for {len(report.cases)} case(s).",
    ]


def _how(report: ParityReport | PeersReport | GpuReport) -> str:
    return f"Mirroring {'on' if report.mirroring else 'off'}; folds {', '.join(report.folds)}"


def _peers(report: PeersReport) -> list[str]:
    rows: list[tuple[str, ...]] = [("case", "quantity", "peer", "median", "nnunetv2 / peer")]
    if report.together:
        rows += _metrics(f"{report.together.cases} cases", report.together.metrics)
    for case in report.cases:
        rows += _metrics(case.name, case.metrics)
    spread = "its 95 % interval" if report.repeats >= 6 else "smallest … largest"
    named = [f"{name} is an approximation." for name, peer in report.peers.items() if peer.approximation]
    obtained = [
        f"{name} ran on {peer.device.obtained}."
        for name, peer in report.peers.items()
        if peer.device and peer.device.obtained != peer.device.asked
    ]
    ended = [
        f"{end.peer} was ended by memory ({end.mode}, {end.case or 'all cases'}): after {end.after_s:.0f} s it "
        f"held {end.held_mib / 1024:.1f} GiB, more than the ceiling of {report.memory_ceiling_mib / 1024:.1f} GiB."
        for end in report.ended
    ]
    unsteady = sorted({name for case in report.cases for name, same in case.repeatable.items() if not same})
    sizes = [words("- {name}: {shape!x} voxels, {tiles} tile(s).", case) for case in report.cases]
    return [
        f"{report.repeats} alternating round(s), medians. {_how(report)}. Ratios round by round: median, and {spread}; "
        "above 1 the peer needs less.",
        *(*named, *obtained, *conditions(report)),
        *(f"{name} is not measured: {why}" for name, why in report.absent.items()),
        *(*ended, "", *aligned(rows), "", *_labels(report), ""),
        *(sizes if len(sizes) <= _SINGLY else []),
        *(f"- {name} gave different masks in different runs." for name in unsteady),
    ]


def _metrics(case: str, metrics: Sequence[Metric]) -> list[tuple[str, ...]]:
    return [
        (case, title, peer, number(value, metric.unit), _ratio(metric.ratio.get(peer)))
        for metric in metrics
        if (title := _PEERS.get((metric.mode, metric.name)))
        for peer, value in metric.median.items()
    ]


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    known = ratio.low is not None
    return words(
        f"{{median:.2f}} × ({{{'low' if known else 'min'}:.2f}} … {{{'high' if known else 'max'}:.2f}})",
        ratio,
    )


def _labels(report: PeersReport) -> list[str]:
    """Masks against nnunetv2's, a row a case, mode and peer; many cases in one row."""
    head = ("case", "mode", "peer", "voxels that differ", "Dice", "judged by its policy")
    groups: dict[tuple[str, str, str], list[Agreement]] = {}
    for case in report.cases:
        name = case.name if len(report.cases) <= _SINGLY else f"{len(report.cases)} cases"
        for mode, peers in case.labels.items():
            for peer, found in peers.items():
                groups.setdefault((name, mode, peer), []).append(found)
    if not groups:
        return [f"Labels are not compared: {REFERENCE} gave none, or nothing else did."]
    rows = [(*key, *_agreement(found)) for key, found in groups.items()]
    return [f"Labels against {REFERENCE}'s:", "", *aligned([head, *rows])]


def _agreement(found: Sequence[Agreement]) -> tuple[str, str, str]:
    differing, voxels = sum(one.differing for one in found), sum(one.voxels for one in found)
    scores = {
        name: min((s for one in found if (s := one.dice[name]) is not None), default=None)
        for name in found[0].dice
    }
    told = ", ".join(f"{name} {score(value)}" for name, value in scores.items())
    if len(scores) > 3:
        known = [value for value in scores.values() if value is not None]
        told = f"lowest of {len(known)} labels {score(min(known, default=None))}"
    problems = [one.problem for one in found if one.problem]
    many = f"{len(problems)} of {len(found)} " if len(found) > 1 else ""
    judged = f"{many}rejected: {problems[0]}" if problems else "accepted"
    return f"{differing} of {voxels}", f"{'lowest: ' if many or len(found) > 1 else ''}{told}", judged


def _gpu(report: GpuReport) -> list[str]:
    card = report.card
    told = words(", driver {driver}, CUDA {cuda}, {memory_gib} GiB", card) if card.driver else ""
    return [
        *(["**Dry run on a CPU: none of this says anything about a GPU.**", ""] if report.dry_run else []),
        f"{card.name}{told}. {words('{bundle.name}, image of {image!x}', report)}. {_how(report)}.",
        *(*conditions(report), "", *table(_CASE, report.cases), ""),
        *(f"- {one.peer}, ms: {_listed(one.stages_ms)}." for one in report.cases if one.stages_ms),
        *(
            f"- {name}, golden cases: {'passed' if one.passed else '**NOT PASSED**'} ({'; '.join(one.sentences)})."
            for name, one in report.golden.items()
        ),
        *(f"- Not measured: {why}." for why in report.failed),
    ]


def _listed(stages: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {ms:.1f}" for name, ms in stages.items())


def _tui(report: TuiReport) -> list[str]:
    figures = {
        "opening": report.opening_s, "key to paint": report.key_to_paint_s,
        "the same, 50 events a second": report.events.key_to_paint_s,
    }  # fmt: skip
    spread = {"p50": "{p50:.3f}", "p95": "{p95:.3f}", "p99": "{p99:.3f}", "max": "{max:.3f}"}
    rows = [("s", *spread), *((title, *cells(spread, found)) for title, found in figures.items())]
    rest = words("At rest {idle_cpu_part:.1%} of a core; {memory_mib:.0f} MiB; {studies} studies.", report)
    return [*conditions(report), rest, "", *aligned(rows)]


_TABLES: dict[type[Run], Callable[[Any], list[str]]] = {
    LatencyReport: _latency, ApplianceReport: _appliance, ScaleReport: _scale, ParityReport: _parity,
    PeersReport: _peers, GpuReport: _gpu, TuiReport: _tui,
}  # fmt: skip
