"""Panels of what was found: result, lesions, signature. Each is a function of the case and the width."""

from collections.abc import Mapping

from textual.content import Content
from textual.style import Style

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.runtime.outcome import Probability
from scanside.runtime.study.prior import Prior, size_words
from scanside.runtime.study.report import Feature, LesionFound, StudyReport
from scanside.tui.case.data import CaseData
from scanside.tui.case.glance import COMING, Glance, wrapped
from scanside.tui.case.stack import place_words, spot_of
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
)
from scanside.tui.tones import quiet, toned

_TOLD: Mapping[str, tuple[str, Tone]] = {
    "ok": ("● OK", Tone.PLAIN),
    "indeterminate": ("◇ INDETERMINATE", Tone.WARN),
    "no lesion segmented": ("○ NO LESION SEGMENTED (not a negative finding)", Tone.WARN),
    "unsuitable input": ("! UNSUITABLE INPUT", Tone.WARN),
}


def result_panel(glance: Glance) -> Content:
    """Status, why, probability with band, warnings, verdict."""
    data, width = glance.data, glance.width
    report, found = data.report, _verdict(data.case)
    if report is None:
        return lines([*found, *_no_result(data, width)])
    words, tone = _TOLD.get(report.status, (report.status, Tone.WARN))
    found.append(toned(words, tone, bold=True))
    if report.reason:
        found += wrapped(report.reason, width)
    if data.case.state is State.REVIEW:
        found += [
            *wrapped(
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
            f"  interval {chance.low:.2f} to {chance.high:.2f}",
        ),
        line("0 ", bar, " 1"),
        line(
            toned(f"{report.status}", _TOLD.get(report.status, ("", Tone.WARN))[1], bold=True), f"; {named}"
        ),
        *wrapped(f"calibrated: {chance.calibrated}", width, Tone.QUIET),
    ]


def _checks(report: StudyReport, width: int) -> list[Line]:
    if report.status == "unsuitable input":
        return wrapped("✗ input checks: refused, see above", width, Tone.WARN)
    if not report.warnings:
        return [toned("✓ input checks passed, no warnings", Tone.GOOD)]
    found = [toned(f"! input checks passed with {len(report.warnings)} warning(s)", Tone.WARN)]
    for warning in report.warnings:
        found += wrapped(f"! {warning}", width)
    return found


def _no_result(data: CaseData, width: int) -> list[Content]:
    case = data.case
    if data.trouble is not None:
        told = [toned("✗ The result cannot be shown", Tone.BAD, bold=True), *wrapped(data.trouble, width)]
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
    found = [toned("No result yet" if case.state in COMING else "No result", Tone.PLAIN, bold=True)]
    found += wrapped(words, width)
    if case.failure is not None:
        found.append(entry("failure", toned(case.failure, Tone.BAD, bold=True), f", {case.attempts} tries"))
    if case.reason is not None:
        found += wrapped(case.reason, width)
    return found


def lesions_panel(glance: Glance) -> Content:
    """Every lesion: role, ml, mm, place."""
    report = glance.data.report
    if report is None:
        return quiet("no result")
    if report.lesions is None:
        return Content("Nothing was computed, so no lesion was looked for.")
    if not report.lesions:
        return lines(wrapped("None was segmented. This is not a negative finding.", glance.width, Tone.WARN))
    found: list[Content] = [quiet(_lesion_heading(glance.width))]
    for place, lesion in enumerate(report.lesions):
        drawn = _lesion(lesion, glance, spot_of(lesion) == glance.spot)
        found.append(drawn.stylize(Style.from_meta({LESION: place})))
    earlier = [] if report.prior is None else wrapped(_earlier(report.prior), glance.width)
    return lines([*found, *earlier, Content(""), *wrapped(_LESION_SIGNS, glance.width, Tone.QUIET)])


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
    found = wrapped("┄──┼──┄ middle 90 % and median of the training cohort", glance.width, Tone.QUIET)
    for name, feature in report.signature.items():
        found += _feature(name, feature, glance.width, wide)
    return lines(found)


def _feature(name: str, feature: Feature, width: int, wide: bool) -> list[Line]:
    title = feature_name(name)
    if feature.value is None:
        return [
            Content(title),
            *wrapped(f"absent: {feature.reason}", width - 2, Tone.WARN, indent="  "),
        ]
    bar, where = range_bar(
        feature.value, feature.low, feature.median, feature.high, min(24, max(10, width - 24))
    )
    tone = Tone.PLAIN if where == "in range" else Tone.WARN
    told = line(f"{number(feature.value):>10} {bar} ", toned(where, tone, bold=tone is Tone.WARN))
    return [line(f"{title:<48.48} ", told)] if wide else [Content(title), told]
