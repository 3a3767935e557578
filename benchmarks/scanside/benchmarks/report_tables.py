"""What each results file says to a person: conditions first, then its tables, then what else must be known."""

from collections.abc import Callable, Sequence
from typing import Any

from scanside.benchmarks.distribution import Ratio
from scanside.benchmarks.kinds import REFERENCE
from scanside.benchmarks.peers_results import Agreement, Metric, PeersReport
from scanside.benchmarks.progress import duration
from scanside.benchmarks.results import Measured, Measurements, ParityReport, Run
from scanside.benchmarks.tables import aligned, amount, cells, ms, score, told, words
from scanside.benchmarks.tui import TuiReport

_MOST_STAGES = 8
_SINGLY = 4
"""Cases of `bench peers` whose labels are shown one by one; of more, all together."""
_LIBRARIES = ("scanside", "nnunetv2", "torch", "openvino", "onnxruntime", "numpy")
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


def render(report: Run) -> str:
    """A results file as Markdown."""
    found: Callable[[Any], list[str]] = _TABLES[type(report)]
    return "\n".join(found(report)).rstrip()


def conditions(report: Run) -> list[str]:
    """Where it ran, with which versions, on what; and whether the figures may be quoted."""
    versions = ", ".join(f"{name} {report.versions[name]}" for name in _LIBRARIES if name in report.versions)
    where = words("{processor}, {cores} core(s), {memory_gib} GiB", report.machine)
    lines = [f"{'; '.join([where, *getattr(report, 'gpus', [])])}; {versions}."]
    if isinstance(report, Measurements):
        what = [words("Bundle {bundle.name} {bundle.version}", report)] if report.bundle else []
        what += [words("{device.obtained} {device.precision}", report)] if report.device else []
        lines.append(f"{', '.join([*what, told(report.conditions)])}.")
    if getattr(report, "headline", True):
        return [*lines, *report.remarks]
    return [*lines, "NOT TO BE QUOTED: " + " ".join(report.remarks)]


def _measured(report: Measurements) -> list[str]:
    """A row per quantity, with its distribution; of a scale and of a card, a row per point and peer."""
    wide = report.kind in ("scale", "gpu")
    golden = [
        f"- {where}, golden cases: {'passed' if one.passed else '**NOT PASSED**'} ({'; '.join(one.sentences)})."
        for where, one in report.golden.items()
    ]
    return [
        *(*conditions(report), "", *aligned(_wide(report) if wide else _long(report.measured)), ""),
        *(line for one in report.measured for line in _lines(one, wide)),
        *golden,
    ]


def _long(found: Sequence[Measured]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("what", "quantity", "median", "95 % interval", "p90", "p99", "max")]
    for one in found:
        for q in one.quantities:
            ends = f"{amount(q.low, q.unit)} … {amount(q.high, q.unit)}" if q.low is not None else "–"
            more = (q.p90, q.p99, q.max if len(q.samples) > 1 else None)
            told = (amount(value, q.unit) for value in more)
            rows.append((one.name, q.name, amount(q.median, q.unit), ends, *told))
    return rows


def _wide(report: Measurements) -> list[tuple[str, ...]]:
    points = [one for one in report.measured if one.facts]
    names = dict.fromkeys(q.name for one in points for q in one.quantities)
    facts = [name for name in points[0].facts if name not in ("axis", "value", "stages_ms")]
    rows: list[tuple[str, ...]] = [("what", *facts, *names)]
    for one in points:
        found = (one.find(name) for name in names)
        values = ("–" if q is None else amount(q.median, q.unit) for q in found)
        rows.append((one.name, *(told(one.facts[name]) for name in facts), *values))
    return rows


def _lines(one: Measured, wide: bool) -> list[str]:
    """What the table does not say."""
    lines = [f"- {one.name}: {told(one.facts)}."] if one.facts and not wide else []
    if wide and not one.facts:
        lines.append(f"- {one.name}: {', '.join(f'{q.name}{q.median:.2f}' for q in one.quantities)}.")
    stages = {name: found for name, found in one.stages_ms.items() if name not in ("total", "queued")}
    longest = sorted(stages.items(), key=lambda item: -item[1].median)[:_MOST_STAGES]
    if longest:
        lines.append(
            f"  - Longest stages: {', '.join(f'{name} {ms(found.median)}' for name, found in longest)}."
        )
    if one.sensed and one.sensed.hottest_c is not None:
        lines.append(f"  - Hottest {one.sensed.hottest_c:.0f} °C.")
    if one.sensed and one.sensed.absent:
        lines.append(f"  - Not told by this machine: {'; '.join(one.sensed.absent)}.")
    return lines


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


def _how(report: ParityReport | PeersReport) -> str:
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
        (case, title, peer, amount(value, metric.unit), _ratio(metric.ratio.get(peer)))
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
    Measurements: _measured, ParityReport: _parity, PeersReport: _peers, TuiReport: _tui,
}  # fmt: skip
