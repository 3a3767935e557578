"""What stands in the panels. Each is a function of the case and the width; no widget is known here."""

import json
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from textual.content import Content
from textual.style import Style

from scanside.runtime.appliance.store.records import Case, Entry, Item
from scanside.runtime.appliance.store.states import Sending, State
from scanside.runtime.outcome import Probability
from scanside.runtime.study.prior import Prior, size_words
from scanside.runtime.study.report import Feature, LesionFound, StudyReport
from scanside.tui.case.data import CaseData
from scanside.tui.case.stack import Spot, place_words, spot_of
from scanside.tui.case.text import (
    Line,
    chance_bar,
    entry,
    feature_name,
    line,
    lines,
    number,
    range_bar,
)
from scanside.tui.format import (
    TITLES,
    Tone,
    duration,
    event_words,
    full_moment,
    item_words,
    spoken,
    state_name,
)
from scanside.tui.tones import quiet, toned

_SENDING: Mapping[Sending, tuple[str, Tone]] = {
    Sending.WAITING: ("◌", Tone.BUSY),
    Sending.SENT: ("↑", Tone.BUSY),
    Sending.AWAITING: ("↑", Tone.BUSY),
    Sending.COMMITTED: ("✓", Tone.GOOD),
    Sending.DELIVERED: ("✓", Tone.GOOD),
    Sending.ABANDONED: ("–", Tone.QUIET),
}
_TOLD: Mapping[str, tuple[str, Tone]] = {
    "ok": ("● OK", Tone.PLAIN),
    "indeterminate": ("◇ INDETERMINATE", Tone.WARN),
    "no lesion segmented": ("○ NO LESION SEGMENTED (not a negative finding)", Tone.WARN),
    "unsuitable input": ("! UNSUITABLE INPUT", Tone.WARN),
}
OBJECTS = {
    "seg": "segmentation",
    "sr": "report (SR)",
    "sc": "pictures",
    "key": "key images",
    "reject": "rejection",
    "gsps": "outlines",
}


@dataclass(frozen=True)
class Glance:
    """What panels are made of.

    Attributes:
        spot: The lesion that is looked at.
        width: Cells there are.
        spans: Lesion → its first and last slice, from 0, of those whose images were read.
    """

    data: CaseData
    spot: Spot | None
    width: int
    spans: Mapping[Spot, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """A panel: what it is called, and what makes it."""

    name: str
    title: str
    build: Callable[[Glance], Content]


def result_panel(glance: Glance) -> Content:
    """Status, why, probability with band, warnings, verdict."""
    data, width = glance.data, glance.width
    report, found = data.report, _verdict(data.case)
    if report is None:
        return lines([*found, *_no_result(data, width)])
    words, tone = _TOLD.get(report.status, (report.status, Tone.WARN))
    found.append(toned(words, tone, bold=True))
    if report.reason:
        found += _wrapped(report.reason, width)
    if data.case.state is State.REVIEW:
        found += [
            *_wrapped(
                "◆ Waits for a person: nothing has been sent. a accepts, r rejects, m marks a false lesion.",
                width,
                Tone.WARN,
            )
        ]
    checks = _checks(report, width)
    if report.warnings:  # before the number that they are about
        found += [Content(""), *checks]
    found += [Content(""), *_chance(report, width)]
    if report.distance is not None:
        found.append(entry("distance", f"{report.distance:.2f} from training cohort"))
    if not report.warnings:
        found += [Content(""), *checks]
    return lines(found)


def _verdict(case: Case) -> list[Content]:
    """What a person said of the result."""
    if case.verdict is None:
        return []
    return [entry("verdict", toned(f"{case.verdict} by {case.verdict_by}", Tone.WARN, bold=True))]


def _chance(report: StudyReport, width: int) -> list[Line]:
    """The probability, never without the status."""
    chance: Probability | None = report.probability
    if chance is None:
        return [entry("probability", "none is given"), entry("", quiet(f"({report.status})"))]
    bar = chance_bar(chance.value, chance.low, chance.high, max(12, min(width - 6, 40)))
    named = f"class named: {chance.predicted}" if chance.predicted else "no class is named"
    return [
        line(
            toned(f"P({chance.of}) = {chance.value:.2f}", Tone.PLAIN, bold=True),
            f"  band {chance.low:.2f} to {chance.high:.2f}",
        ),
        line("0 ", bar, " 1"),
        line(
            toned(f"{report.status}", _TOLD.get(report.status, ("", Tone.WARN))[1], bold=True), f"; {named}"
        ),
        *_wrapped(f"calibrated: {chance.calibrated}", width, Tone.QUIET),
    ]


def _checks(report: StudyReport, width: int) -> list[Line]:
    if report.status == "unsuitable input":
        return _wrapped("✗ input checks: refused, see above", width, Tone.WARN)
    if not report.warnings:
        return [toned("✓ input checks passed, no warnings", Tone.GOOD)]
    found = [toned(f"! input checks passed with {len(report.warnings)} warning(s)", Tone.WARN)]
    for warning in report.warnings:
        found += _wrapped(f"! {warning}", width)
    return found


def _no_result(data: CaseData, width: int) -> list[Content]:
    case = data.case
    if data.trouble is not None:
        told = [toned("✗ The result cannot be shown", Tone.BAD, bold=True), *_wrapped(data.trouble, width)]
        if case.status is not None:  # what the store knows; a probability without its report is left out
            told.append(entry("status", case.status))
        return told
    words = {
        State.RECEIVING: "Images are still coming.",
        State.QUEUED: "It waits for its turn.",
        State.PAUSED: "It waits until somebody resumes it.",
        State.RUNNING: "It is being computed; the result appears here.",
        State.QUARANTINED: "It failed as often as is allowed; t tries again.",
        State.CANCELLED: "It was cancelled; t queues it again.",
    }.get(case.state, "This job has no result.")
    if case.state is State.RECEIVING and case.stage:
        words = "It is complete, and what it lacks is being fetched from an archive."
    found = [toned("No result yet" if case.state in _COMING else "No result", Tone.PLAIN, bold=True)]
    found += _wrapped(words, width)
    if case.failure is not None:
        found.append(entry("failure", toned(case.failure, Tone.BAD, bold=True), f", {case.attempts} tries"))
    if case.reason is not None:
        found += _wrapped(case.reason, width)
    return found


_COMING = (State.RECEIVING, State.QUEUED, State.PAUSED, State.RUNNING)


def lesions_panel(glance: Glance) -> Content:
    """Every lesion: role, ml, mm, place."""
    report = glance.data.report
    if report is None:
        return quiet("no result")
    if report.lesions is None:
        return Content("Nothing was computed, so no lesion was looked for.")
    if not report.lesions:
        return lines(_wrapped("None was segmented. This is not a negative finding.", glance.width, Tone.WARN))
    found: list[Content] = [quiet(_lesion_heading(glance.width))]
    for place, lesion in enumerate(report.lesions):
        drawn = _lesion(lesion, glance, spot_of(lesion) == glance.spot)
        found.append(drawn.stylize(Style.from_meta({LESION: place})))
    earlier = [] if report.prior is None else _wrapped(_earlier(report.prior), glance.width)
    return lines([*found, *earlier, Content(""), *_wrapped(_LESION_SIGNS, glance.width, Tone.QUIET)])


def _earlier(prior: Prior) -> str:
    """One line: what was measured of the patient before."""
    sizes = [f"{TITLES.get(size.role, size.role)} {size_words(size)}" for size in prior.sizes]
    notes = [] if prior.same_algorithm else ["another bundle"]
    notes += [] if prior.archive is None else [f"from the archive {prior.archive}"]
    said = f" ({', '.join(notes)})" if notes else ""
    return f"Earlier, {prior.day}{said}: {'; '.join(sizes)}"


LESION = "scanside.lesion"
"""Meta of a line of the lesion table: its number in the report; a click goes there."""
_LESION_SIGNS = "* measured for the signature; ▸ looked at; slices count from the feet"


def _lesion_heading(width: int) -> str:
    """Above the columns of `_lesion`."""
    where = "  centre (mm)" if width >= _LESION_WIDE else ""
    return f"  {'lesion':<7}{'volume':>9}{'diameter':>9}{'slices':>7}{where}"


_LESION_WIDE = 52


def _lesion(found: LesionFound, glance: Glance, here: bool) -> Line:
    """In one line, or in two where it is narrow."""
    signs = f"{'▸' if here else ' '}{'*' if found.measured else ' '}"
    title = TITLES.get(found.role, found.role)
    span = glance.spans.get(spot_of(found))
    slices = f"{span[0] + 1}–{span[1] + 1}" if span else ""
    size = f"{found.volume_ml:>6.2f} ml{found.longest_diameter_mm:>6.1f} mm{slices:>7}"
    place = place_words(found.centroid_mm)
    wide = glance.width >= _LESION_WIDE
    words = f"{signs}{title:<5}{found.number:>2}{size}" + (
        f"  {place}" if wide else f"\n   centre {place} mm"
    )
    return toned(words, Tone.PLAIN, bold=here)


def signature_panel(glance: Glance) -> Content:
    """Each feature against the training cohort."""
    report = glance.data.report
    if report is None:
        return quiet("no result")
    if report.signature is None:
        return Content("No feature was measured.")
    wide = glance.width >= 92
    found = _wrapped("┄──┼──┄ middle 90 % and median of the training cohort", glance.width, Tone.QUIET)
    for name, feature in report.signature.items():
        found += _feature(name, feature, glance.width, wide)
    return lines(found)


def _feature(name: str, feature: Feature, width: int, wide: bool) -> list[Line]:
    title = feature_name(name)
    if feature.value is None:
        return [
            Content(title),
            *_wrapped(f"absent: {feature.reason}", width - 2, Tone.WARN, indent="  "),
        ]
    bar, where = range_bar(
        feature.value, feature.low, feature.median, feature.high, min(24, max(10, width - 24))
    )
    tone = Tone.PLAIN if where == "in range" else Tone.WARN
    told = line(f"{number(feature.value):>10} {bar} ", toned(where, tone, bold=tone is Tone.WARN))
    return [line(f"{title:<48.48} ", told)] if wide else [Content(title), told]


def series_panel(glance: Glance) -> Content:
    """What was used, and what was made of every series of the study."""
    report, case = glance.data.report, glance.data.case
    found: list[Content | str] = []
    if case.series:
        chosen = ", ".join(TITLES.get(name, name) for name in case.series)
        found += _wrapped(f"A person chose the series for {chosen}.", glance.width, Tone.WARN)
    if report is None:
        found.append(f"{case.series_count} series, {case.instances} images received; N lists them")
        return lines(found)
    for used in report.sequences:
        b = f" b={used.b_value:g}" if used.b_value is not None and " b=" not in used.series else ""
        found.append(
            entry(
                TITLES.get(used.sequence, used.sequence),
                toned(used.series + b, Tone.PLAIN, bold=True),
                width=5,
            )
        )
        found += _wrapped(used.how, glance.width - 2, Tone.QUIET, indent="  ")
    left = [row for row in report.considered if row.chosen is None]
    if left:
        found.append(quiet(f"not used ({len(left)}):"))
    for row in left:
        found.append(f"{row.series}, {row.images} images" if row.images else row.series)
        found += _wrapped(row.reason, glance.width - 2, Tone.QUIET, indent="  ")
    return lines(found or ["The study was refused before a series was chosen; N lists them."])


def run_panel(glance: Glance) -> Content:
    """Times, device, bundle."""
    report, case, width = glance.data.report, glance.data.case, glance.width
    if report is None:
        return quiet("no result")
    device, bundle = report.device, report.bundle
    same = device.obtained is None or device.asked in (device.obtained, "auto", device.engine)
    found: list[Content | str] = [
        entry("device", toned(device.obtained or "none", Tone.PLAIN if same else Tone.WARN, bold=True)),
        *_wrapped(f"asked: {device.asked}; {device.why}", width - 2, Tone.QUIET, indent="  "),
        entry("precision", device.precision),
        entry("recipe", ", ".join(report.approximations) if report.approximations else "exact"),
        entry("bundle", toned(f"{bundle.name} {bundle.version}", Tone.PLAIN, bold=True)),
        *_wrapped(f"sha256 {bundle.sha256}", width - 2, Tone.QUIET, indent="  "),
    ]
    if report.synthetic:
        found += _wrapped("SYNTHETIC: trained on a phantom, not on patients.", width, Tone.WARN)
    found += ["", entry("stages", duration(sum(stage.ms for stage in report.stages) / 1000))]
    if case.started is not None and case.finished is not None:
        found.append(entry("", quiet(f"{duration(case.finished - case.started)} from start to result")))
    longest = max((stage.ms for stage in report.stages), default=1.0)
    room = min(20, width - 34)
    for stage in report.stages:
        bar = "█" * round(stage.ms / longest * room) if room > 3 else ""
        found.append(f"  {spoken(stage.name):<20.20}{stage.ms / 1000:>8.2f} s {bar}")
    return lines(found)


def delivery_panel(glance: Glance) -> Content:
    """Each object and destination."""
    items = glance.data.items
    if not items:
        held = glance.data.case.state in (State.REVIEW, *_COMING)
        return Content("Nothing is to be sent yet." if held else "Nothing is to be sent.")
    found: list[Content] = []
    for item in items:
        found += _item(item, glance.width, glance.data.case)
    return lines(found)


def _item(item: Item, width: int, case: Case) -> list[Line]:
    symbol, tone = _SENDING[item.state]
    held = case.state is State.REVIEW and item.state is Sending.WAITING
    state = "waits until accepted" if held else item_words(item.state)
    tries = f", {item.attempts} tries" if item.attempts else ""
    failing = bool(item.reason) and item.state is Sending.WAITING
    tone = Tone.WARN if held else Tone.BAD if failing else tone
    shown = toned(f"{'◆' if held else '✗' if failing else symbol} {state}{tries}", tone)
    what = f"{OBJECTS.get(item.kind, item.kind):<13}→ {item.destination}"
    told = [line(f"{what:<28} ", shown)] if width >= 56 else [Content(what), line("  ", shown)]
    return told + (_wrapped(item.reason, width - 2, Tone.BAD, indent="  ") if item.reason else [])


def history_panel(glance: Glance) -> Content:
    """The jobs of the case, and who did what and when; latest first."""
    data = glance.data
    found: list[Content] = []
    if len(data.jobs) > 1:
        found.append(quiet(f"{len(data.jobs)} computations; h looks at an earlier one"))
        found += [_job(job, job.job == data.case.job) for job in data.jobs]
        found.append(Content(""))
    for one in reversed(data.history):
        found += _audit(one, glance.width)
    return lines(found or [quiet("nothing yet")])


def _job(job: Case, here: bool) -> Line:
    came = job.status or job.failure or ""
    verdict = f", {job.verdict}" if job.verdict else ""
    where = state_name(job.state).text
    return toned(f"{'▸' if here else ' '} job {job.job}  {where}  {came}{verdict}", Tone.PLAIN, bold=here)


def _audit(one: Entry, width: int) -> list[Line]:
    detail = json.loads(one.detail)
    words = f"{full_moment(one.at)[5:]}  {one.actor}: {event_words(one.action)}"
    if "to" in detail:
        words += f" → {state_name(State(detail['to'])).text if detail['to'] in set(State) else detail['to']}"
    if one.job is not None:
        words += f" (job {one.job})"
    by_person = one.actor.startswith("user ")
    found = _wrapped(words, width, Tone.PLAIN if by_person else Tone.QUIET, bold=by_person)
    reason = detail.get("reason")
    return found + (_wrapped(f"“{reason}”", width - 2, Tone.PLAIN, indent="  ") if reason else [])


def _wrapped(
    words: str, width: int, tone: Tone = Tone.PLAIN, indent: str = "", bold: bool = False
) -> list[Line]:
    """A sentence in lines of a panel, with the names that people have for sequences."""
    parts = textwrap.wrap(spoken(words), max(width, 12)) or [""]
    return [toned(indent + part, tone, bold) for part in parts]


PANELS: Sequence[Panel] = (
    Panel("result", "Result", result_panel),
    Panel("lesions", "Lesions", lesions_panel),
    Panel("signature", "Signature", signature_panel),
    Panel("series", "Series", series_panel),
    Panel("run", "Run", run_panel),
    Panel("delivery", "Delivery", delivery_panel),
    Panel("history", "History", history_panel),
)
"""In the order of their tabs."""
