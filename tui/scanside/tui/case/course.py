"""Panels of how it went: series, run, delivery, history. Each is a function of the case and the width."""

import json
from collections.abc import Mapping

from textual.content import Content

from scanside.runtime.appliance.store.records import Case, Entry, Item
from scanside.runtime.appliance.store.states import Sending, State
from scanside.tui.case.glance import COMING, Glance, wrapped
from scanside.tui.case.text import (
    Line,
    entry,
    line,
    lines,
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
OBJECTS = {
    "seg": "segmentation",
    "sr": "report (SR)",
    "sc": "pictures",
    "key": "key images",
    "reject": "rejection",
    "gsps": "outlines",
}


def series_panel(glance: Glance) -> Content:
    """What was used, and what was made of every series of the study."""
    report, case = glance.data.report, glance.data.case
    found: list[Content | str] = []
    if case.series:
        chosen = ", ".join(TITLES.get(name, name) for name in case.series)
        found += wrapped(f"A person chose the series for {chosen}.", glance.width, Tone.WARN)
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
        found += wrapped(used.how, glance.width - 2, Tone.QUIET, indent="  ")
    left = [row for row in report.considered if row.chosen is None]
    if left:
        found.append(quiet(f"not used ({len(left)}):"))
    for row in left:
        found.append(f"{row.series}, {row.images} images" if row.images else row.series)
        found += wrapped(row.reason, glance.width - 2, Tone.QUIET, indent="  ")
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
        *wrapped(f"asked: {device.asked}; {device.why}", width - 2, Tone.QUIET, indent="  "),
        entry("precision", device.precision),
        entry("recipe", ", ".join(report.approximations) if report.approximations else "exact"),
        *(
            entry("mask", f"{TITLES.get(role, role)} decided together with {TITLES.get(other, other)}")
            for role, other in report.decided_with.items()
        ),
        entry("bundle", toned(f"{bundle.name} {bundle.version}", Tone.PLAIN, bold=True)),
        *wrapped(f"sha256 {bundle.sha256}", width - 2, Tone.QUIET, indent="  "),
    ]
    if report.synthetic:
        found += wrapped("SYNTHETIC: trained on a phantom, not on patients.", width, Tone.WARN)
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
        held = glance.data.case.state in (State.REVIEW, *COMING)
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
    return told + (wrapped(item.reason, width - 2, Tone.BAD, indent="  ") if item.reason else [])


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
    found = wrapped(words, width, Tone.PLAIN if by_person else Tone.QUIET, bold=by_person)
    reason = detail.get("reason")
    return found + (wrapped(f"“{reason}”", width - 2, Tone.PLAIN, indent="  ") if reason else [])
