"""What each results file says to a person: conditions first, then its tables, then what else must be known.

Tables are Markdown that is also readable on a terminal. What is absent is –.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from scanside.benchmarks.agreement import Agreement
from scanside.benchmarks.distribution import Distribution, Ratio
from scanside.benchmarks.kinds import REFERENCE
from scanside.benchmarks.progress import duration
from scanside.benchmarks.results import Measured, Measurements

_MOST_STAGES = 8
_SINGLY = 4
"""Cases of `bench peers` whose labels are shown one by one; of more, all together."""
_NOT_IN_ROWS = ("axis", "value", "stages_ms")
_LIBRARIES = ("scanside", "nnunetv2", "torch", "openvino", "onnxruntime", "numpy")


def render(report: Measurements) -> str:
    """A results file as Markdown."""
    tables = {"peers": _peers, "parity": _parity, "tui": _tui}
    return "\n".join(tables.get(report.kind, _measured)(report)).rstrip()


def conditions(report: Measurements, *, all_of_them: bool = True) -> list[str]:
    """Where it ran, with which versions, on what; and whether the figures may be quoted."""
    versions = ", ".join(f"{name} {report.versions[name]}" for name in _LIBRARIES if name in report.versions)
    machine, device = report.machine, report.device
    where = f"{machine.processor}, {machine.cores} core(s), {machine.memory_gib} GiB"
    what = [
        f"Bundle {report.bundle.name} {report.bundle.version}" if report.bundle else "",
        f"{device.obtained} {device.precision}" if device else "",
        told(report.conditions) if all_of_them else "",
    ]
    lines = [f"{'; '.join([where, *report.gpus])}; {versions}.", f"{', '.join(filter(None, what))}."]
    if report.headline:
        return [*lines, *report.remarks]
    return [*lines, "NOT TO BE QUOTED: " + " ".join(report.remarks)]


def _measured(report: Measurements) -> list[str]:
    """A row per quantity, with its distribution; of a scale and of a card a row per point and peer."""
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
    facts = dict.fromkeys(name for one in points for name in one.facts if name not in _NOT_IN_ROWS)
    rows: list[tuple[str, ...]] = [("what", *facts, *names)]
    for one in points:
        found = (one.find(name) for name in names)
        values = ("–" if q is None else amount(q.median, q.unit) for q in found)
        rows.append((one.name, *(told(one.facts.get(name)) for name in facts), *values))
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


def _parity(report: Measurements) -> list[str]:
    """Totals by device; what differs."""
    known = report.conditions
    totals = [one for one in report.measured if "cases" in one.facts]
    cases = [one for one in report.measured if one not in totals]
    scores: dict[str, dict[str, float | None]] = {}
    for one in totals:
        scores |= one.facts["dice"]
    names = list(scores.get(REFERENCE, {}))
    head = ("program", "cases", "differing voxels", "largest margin", *(f"Dice {name}" for name in names))
    rows = [
        head,
        (REFERENCE, str(len(cases)), "reference", "", *(score(scores[REFERENCE][n]) for n in names)),
    ]
    for one in totals:
        margin = one.facts["largest_margin"]
        counts = f"{one.facts['differing']} of {one.facts['voxels']}"
        said = str(one.facts["cases"]), counts, "" if margin is None else f"{margin:.2g}"
        rows.append((f"scanside, {one.name}", *said, *(score(scores[one.name][n]) for n in names)))
    ties = [
        f"- {one.name}: {one.facts['explained']} of {one.facts['differing']} differing voxel(s), in "
        f"{one.facts['cases_differing']} case(s), had a margin of at most {one.facts['bound']:g} logits "
        "(ties by rounding)."
        for one in totals
        if one.facts["differing"]
    ]
    stopped = [] if known["complete"] else [f"- Stopped after {len(cases)} of {known['images']} cases."]
    took = sum(one.median(REFERENCE) for one in cases) / 1000
    return [
        f"{_how(known['mirroring'], known['folds'])}; Dice against the manual labels, mean.",
        *(*conditions(report, all_of_them=False), "", *aligned(rows), "", *ties, *stopped),
        f"- nnunetv2 took {duration(took)} for {len(cases)} case(s).",
    ]


def _peers(report: Measurements) -> list[str]:
    """Medians with the ratio to nnunetv2; labels; what else must be known."""
    known = report.conditions
    peers = [one for one in report.measured if "peer" in one.facts]
    reference = {
        (one.facts["case"], q.name): q
        for one in peers
        if one.facts["peer"] == REFERENCE
        for q in one.quantities
    }
    rows: list[tuple[str, ...]] = [("case", "quantity", "peer", "median", "nnunetv2 / peer")]
    for name in dict.fromkeys((one.facts["case"], q.name) for one in peers for q in one.quantities):
        for one in (one for one in peers if one.facts["case"] == name[0]):
            if q := one.find(name[1]):
                unasked = q is reference.get(name) or "other programs" in q.name
                ratio = "" if unasked else _ratio(reference.get(name), q)
                rows.append((*name, one.facts["peer"], amount(q.median, q.unit), ratio))
    images = [one for one in report.measured if "tiles" in one.facts]
    ceiling = f"the ceiling of {known['memory_ceiling_mib'] / 1024:.1f} GiB"
    ended = [
        f"{end['peer']} was ended by memory ({end['mode']}, {end['case'] or 'all cases'}): after "
        f"{end['after_s']:.0f} s it held {end['held_mib'] / 1024:.1f} GiB, more than {ceiling}."
        for end in known["ended"]
    ]
    spread = "its 95 % interval" if known["repeats"] >= 6 else "smallest … largest"
    return [
        f"{known['repeats']} alternating round(s), medians. {_how(known['mirroring'], known['folds'])}. "
        f"Ratios round by round: median, and {spread}; above 1 the peer needs less.",
        *(f"{name} is an approximation." for name, one in known["peers"].items() if one["approximation"]),
        *(
            f"{name} ran on {one['device']['obtained']}."
            for name, one in known["peers"].items()
            if one["device"] and one["device"]["obtained"] != one["device"]["asked"]
        ),
        *conditions(report, all_of_them=False),
        *(f"{name} is not measured: {why}" for name, why in known["absent"].items()),
        *(*ended, "", *aligned(rows), "", *_labels(peers, len(images)), ""),
        *(f"- {one.name}: {told(one.facts)}." for one in images if len(images) <= _SINGLY),
        *(
            f"- {name} gave different masks in different runs."
            for name in sorted({one.facts["peer"] for one in peers if not one.facts.get("repeatable", True)})
        ),
    ]


def _how(mirroring: bool, folds: Sequence[str]) -> str:
    return f"Mirroring {'on' if mirroring else 'off'}; folds {', '.join(folds)}"


def _ratio(reference: Distribution | None, own: Distribution) -> str:
    if reference is None or not all(value > 0 for value in own.samples):
        return ""
    ratio = Ratio.of([a / b for a, b in zip(reference.samples, own.samples, strict=True)])
    low, high = (ratio.min, ratio.max) if ratio.low is None else (ratio.low, ratio.high)
    return f"{ratio.median:.2f} × ({low:.2f} … {high:.2f})"


def _labels(peers: Sequence[Measured], images: int) -> list[str]:
    """Masks against nnunetv2's, a row per case, mode and peer; many cases in one row."""
    head = ("case", "mode", "peer", "voxels that differ", "Dice", "judged by its policy")
    groups: dict[tuple[str, str, str], list[Agreement]] = {}
    for one in peers:
        name = one.facts["case"] if images <= _SINGLY else f"{images} cases"
        for mode, found in one.facts.get("labels", {}).items():
            groups.setdefault((name, mode, one.facts["peer"]), []).append(Agreement.model_validate(found))
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


def _tui(report: Measurements) -> list[str]:
    terminal, *traffic = (one.facts for one in report.measured)
    figures = {
        "opening": terminal["opening_s"], "key to paint": terminal["key_to_paint_s"],
        "the same, 50 events a second": terminal["events"]["key_to_paint_s"],
        **{
            f"… with a case open, {' × '.join(map(str, one['size']))}, {one['graphics']}": one["case"]["key_to_paint_s"]
            for one in traffic
        },
    }  # fmt: skip
    rows: list[tuple[str, ...]] = [("s", "p50", "p95", "p99", "max")]
    rows += [(title, *(f"{found[name]:.3f}" for name in rows[0][1:])) for title, found in figures.items()]
    idle = f"At rest {terminal['idle_cpu_part']:.1%} of a core; {terminal['memory_mib']:.0f} MiB."
    return [*conditions(report), idle, "", *aligned(rows)]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as a Markdown table, the first one its head, in columns of even width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def told(value: Any) -> str:
    """Facts in words: `origin phantom, shape 25 × 200 × 252`; what is absent is left out."""
    if isinstance(value, Mapping):
        inside = {name: told(one) for name, one in value.items() if one not in (None, [], (), {})}
        return ", ".join(
            f"{name} ({words})" if isinstance(value[name], Mapping) else f"{name} {words}"
            for name, words in inside.items()
        )
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = all(isinstance(one, int | float) for one in value)
        return (" × " if numbers else ", ").join(map(told, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def amount(value: float | None, unit: str) -> str:
    """A value with three digits or so, and its unit; ms from 1000 on as s."""
    if value is None:
        return "–"
    if unit.endswith("ms") and value >= 1000:
        return f"{value / 1000:.2f} {unit.removesuffix('ms')}s"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {'' if unit == '1' else unit}".rstrip()


def ms(value: float | None) -> str:
    """A time in words."""
    return amount(value, "ms")


def score(value: float | None) -> str:
    """A Dice."""
    return "–" if value is None else f"{value:.4f}"
