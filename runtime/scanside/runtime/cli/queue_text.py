"""The queue in words: for `scanside queue`, and for whoever reads it aloud. No colour, no symbol carries a meaning."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from scanside.runtime.appliance.store.records import Case, Entry, Item
from scanside.runtime.appliance.store.states import SETTLED, State

_AFTER = 2
"""Spaces between columns."""


def moment(at: float | None, now: float) -> str:
    """Local time; with the date where that is not today's."""
    if at is None:
        return ""
    then = datetime.fromtimestamp(at)
    today = then.date() == datetime.fromtimestamp(now).date()
    return then.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def state_of(case: Case, now: float) -> str:
    """What happens with a case: how far its computation is, when it is tried again, how much of it has arrived."""
    words = str(case.state)
    if case.state is State.RUNNING and case.stage:
        words += f": {case.stage}"
        words += f" {case.done} of {case.total}" if case.total else ""
    elif case.state is State.RECEIVING and case.stage:
        words += f": {case.stage}"
    elif case.state is State.QUEUED and case.not_before > now:
        words += f", again in {case.not_before - now:.0f} s"
    elif case.state is State.SENDING:
        words += _arrived(case)
    return words


def _arrived(case: Case) -> str:
    settled = sum(n for state, n in case.sending.items() if state in SETTLED)
    return f" {settled} of {sum(case.sending.values())}"


def result_of(case: Case) -> str:
    """The status of the result; a probability never stands without it."""
    if case.status is None:
        return ""
    if case.probability is None:
        return case.status
    band = "" if case.low is None or case.high is None else f" ({case.low:.2f} to {case.high:.2f})"
    return f"{case.status}, probability {case.probability:.2f}{band}"


def note_of(case: Case) -> str:
    """Why it failed or was refused, and what a person said of it."""
    parts = [] if case.verdict is None else [case.verdict]
    if case.failure is not None:
        parts.append(f"{case.failure}, try {case.attempts}")
    if case.reason is not None:
        parts.append(case.reason)
    if case.deleted is not None:
        parts.append("deleted after retention")
    return ": ".join(parts)


def line_of(case: Case, *, names: bool, stages: bool) -> str:
    """A change in one line: case, state, result, note. A time that grows shorter is no change.

    Args:
        stages: Say which stage of the computation; never how far it is.
    """
    who = f" {case.patient.name}" if names and case.patient.name else ""
    state = str(case.state)
    if case.state is State.SENDING:
        state += _arrived(case)
    elif (case.state is State.RECEIVING and case.stage) or (
        case.state is State.RUNNING and stages and case.stage
    ):
        state += f": {case.stage}"
    parts = [f"{case.case_id}{who} {state}", result_of(case), note_of(case)]
    return plain("; ".join(part for part in parts if part))


def plain(text: str) -> str:
    """Without control characters: names and reasons come from the network, and a terminal obeys some."""
    return "".join(letter if letter.isprintable() else "·" for letter in text)


def table(cases: Iterable[Case], now: float, *, names: bool) -> list[str]:
    """The worklist, a line a case."""
    head = ["case", *(["patient"] if names else []), "arrived", "images", "series", "state", "result", "note"]
    rows = [
        [
            case.case_id,
            *([case.patient.name] if names else []),
            moment(case.arrived, now),
            str(case.instances),
            str(case.series_count),
            state_of(case, now) + (f", priority {case.priority}" if case.priority else ""),
            result_of(case),
            note_of(case),
        ]
        for case in cases
    ]
    return _aligned([head, *rows])


def facts(case: Case, now: float, *, names: bool) -> list[str]:
    """Everything about one case, a line a fact."""
    rows = [
        ["case", case.case_id],
        *([["patient", f"{case.patient.name} ({case.patient.patient_id})"]] if names else []),
        ["from", case.calling],
        ["arrived", f"{moment(case.arrived, now)}, last image {moment(case.last_received, now)}"],
        ["images", f"{case.instances} in {case.series_count} series"],
        ["job", f"{case.job}, priority {case.priority}, {case.attempts} tries"],
        ["state", state_of(case, now)],
        ["bundle", case.bundle or "the configured one"],
        *([["series", ", ".join(f"{k} {v}" for k, v in case.series.items())]] if case.series else []),
        *([["result", result_of(case)], ["folder", case.result or ""]] if case.status else []),
        *([["verdict", f"{case.verdict} by {case.verdict_by}"]] if case.verdict else []),
        *([["note", note_of(case)]] if note_of(case) else []),
    ]
    return _aligned(rows)


def jobs_table(jobs: Iterable[Case], now: float) -> list[str]:
    """Every job of a case, latest first."""
    rows = [
        [str(job.job), state_of(job, now), moment(job.finished, now), job.bundle or "", result_of(job)]
        for job in jobs
    ]
    return _aligned([["job", "state", "finished", "bundle", "result"], *rows])


def items_table(items: Iterable[Item]) -> list[str]:
    """Objects on their way."""
    rows = [
        [item.destination, item.kind, str(item.state), str(item.attempts), item.reason or ""]
        for item in items
    ]
    return _aligned([["destination", "object", "state", "failed", "reason"], *rows])


def history(entries: Iterable[Entry], now: float) -> list[str]:
    """Entries of the audit log."""
    rows = [[moment(entry.at, now), entry.actor, entry.action, _told(entry.detail)] for entry in entries]
    return _aligned([["when", "who", "what", "details"], *rows])


def document(case: Case, *, names: bool) -> dict[str, Any]:
    """A case as JSON. The patient is in it only where names may be shown."""
    fields: dict[str, Any] = {name: getattr(case, name) for name in Case.__dataclass_fields__}
    del fields["patient"], fields["study_uid"]
    fields["series"] = dict(case.series)
    if case.warnings is not None:
        fields["warnings"] = [{"code": one.code, "sentence": one.sentence} for one in case.warnings]
    fields["sending"] = {str(state): n for state, n in case.sending.items()}
    if names:
        fields["patient"] = {"name": case.patient.name, "id": case.patient.patient_id}
    return fields


def _told(detail: str) -> str:
    found: Mapping[str, Any] = json.loads(detail)
    words = {"from", "to"}
    way = f"{found['from']} to {found['to']}" if words <= found.keys() else ""
    rest = ", ".join(f"{name} {value}" for name, value in found.items() if name not in words and value)
    return "; ".join(part for part in (way, rest) if part)


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest word; the last one as long as it is."""
    rows = [[plain(word) for word in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [word.ljust(width + _AFTER) for word, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join([*cells, row[-1]]).rstrip())
    return lines
