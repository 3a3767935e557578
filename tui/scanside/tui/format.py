"""Times, sizes and states as words. Pure functions: what time it is comes in as an argument."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import ARRIVED, Action, Sending, State
from scanside.runtime.study.names import spoken as said_by_result

RESEARCH = "RESEARCH USE ONLY"
FALSE_LESION = "false lesion"
"""The verdict for `verdicts.mark`: a person says that what was segmented is no lesion."""


class Tone(StrEnum):
    """What a colour means here. A symbol and a word always say the same."""

    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"
    QUIET = "quiet"
    PLAIN = "plain"


@dataclass(frozen=True)
class Words:
    """A state as it is shown.

    Attributes:
        symbol: One cell wide.
        text: In words.
    """

    symbol: str
    text: str
    tone: Tone

    def __str__(self) -> str:
        return f"{self.symbol} {self.text}"


_STATES: Mapping[State, Words] = {
    State.RECEIVING: Words("↓", "receiving", Tone.BUSY),
    State.QUEUED: Words("◌", "queued", Tone.PLAIN),
    State.PAUSED: Words("‖", "paused", Tone.WARN),
    State.RUNNING: Words("▶", "running", Tone.BUSY),
    State.REVIEW: Words("◆", "review", Tone.WARN),
    State.SENDING: Words("↑", "sending", Tone.BUSY),
    State.DONE: Words("✓", "done", Tone.GOOD),
    State.QUARANTINED: Words("✗", "failed", Tone.BAD),
    State.REJECTED: Words("⊘", "rejected", Tone.QUIET),
    State.CANCELLED: Words("–", "cancelled", Tone.QUIET),
}

_RESULTS: Mapping[str, Words] = {
    "ok": Words("●", "ok", Tone.PLAIN),
    "indeterminate": Words("◇", "indeterminate", Tone.WARN),
    "no lesion segmented": Words("○", "no lesion segmented", Tone.WARN),
    "unsuitable input": Words("!", "unsuitable input", Tone.WARN),
}

DONE_WORDS: Mapping[Action, str] = {
    Action.ACCEPT: "accepted",
    Action.REJECT: "rejected",
    Action.PAUSE: "paused",
    Action.RESUME: "resumed",
    Action.CANCEL: "cancelled",
    Action.RETRY: "queued again",
    Action.SEND_AGAIN: "to be sent again",
    Action.REOPEN: "back under review",
}
"""What has happened to a case after an action of a person."""


_EVENTS: Mapping[str, str] = {
    Action.COMPLETE: "all images are here",
    Action.MORE: "more images came",
    Action.CLAIM: "computation began",
    Action.HOLD: "result waits for review",
    Action.RELEASE: "result goes out",
    Action.FINISH: "everything was sent",
    Action.TRY_AGAIN: "failed, is tried again",
    Action.QUARANTINE: "failed as often as allowed",
    Action.REOPEN: "rejection taken back",
    "job opened": "waits for its turn",
    "fetch begun": "looking in archives for what is missing",
    "fetch ended": "archives were asked",
    "fetch try failed": "fetching failed, is tried again",
    "fetch failed": "fetching failed",
}
_SENDING_WORDS: Mapping[Sending, str] = {Sending.ABANDONED: "given up", Sending.WAITING: "waits"}


def event_words(action: str) -> str:
    """An entry of the audit log as a person says it: `computation began` for `claim`."""
    return _EVENTS.get(action, action)


def item_words(state: Sending) -> str:
    """Where an object to send is, as a person says it."""
    return _SENDING_WORDS.get(state, str(state))


STALLED = Words("‖", "stalled: nobody works on it", Tone.BAD)
"""A study that was being computed when its worker ended."""


def state_words(case: Case, *, working: bool = True) -> Words:
    """The state of a case: where its latest job is.

    Args:
        working: Whether the service's worker gives a sign of life; without it nothing is being computed.
    """
    words = _STATES[case.state]
    if case.state is State.RUNNING and not working:
        return STALLED
    if case.state is State.RECEIVING and case.stage:
        return Words(words.symbol, case.stage, words.tone)
    if case.state is State.QUEUED and case.failure is not None:
        return Words("↻", f"try {case.attempts + 1} after {case.failure}", Tone.WARN)
    return words


def state_name(state: State) -> Words:
    """A state as such."""
    return _STATES[state]


def result_words(case: Case) -> Words:
    """What came of a case: `PDAC 0.83 (0.75–0.91) !2`; the last is its number of warnings.

    A probability stands here only behind the status `ok` of a result that stands, with its class.
    """
    if case.status is None:
        return Words(" ", "", Tone.QUIET)
    if case.verdict == FALSE_LESION:
        return Words("⊘", "marked false lesion", Tone.QUIET)
    words = _RESULTS.get(case.status, Words("?", case.status, Tone.WARN))
    if case.state in (State.REJECTED, State.CANCELLED, State.QUARANTINED):
        return Words("⊘", state_name(case.state).text, Tone.QUIET)
    text = words.text
    if case.status == "ok" and case.probability is not None:
        text = f"{case.positive or words.text} {probability(case)}"
    warned = f" !{len(case.warnings)}" if case.warnings else ""
    return Words(words.symbol, text + warned, Tone.WARN if warned else words.tone)


def result_sentence(case: Case) -> str:
    """What came of a case, in full: `Result ok: PDAC with probability 0.83 (0.75–0.91); it names PDAC.`"""
    if case.status is None:
        return "It has no result."
    if case.verdict == FALSE_LESION:
        return f"Result {case.status}; its lesion is marked as false."
    if case.probability is None:
        return f"Result {case.status}; no probability is given."
    if case.status != "ok":  # its number stands beside all that explains it, on the page of the case
        return f"Result {case.status}; no class is named."
    of = f"{case.positive} with probability" if case.positive else "probability"
    named = f"; it names {case.named}" if case.named else ""
    return f"Result {case.status}: {of} {probability(case)}{named}."


TITLES = {"t2w": "T2WI", "dwi": "DWI", "adc": "ADC", "b0": "low b"}
"""Sequence → what a person calls it, in the order in which they are looked at."""


def spoken(words: str) -> str:
    """A sentence or a stage with the names that people have for sequences: `T2WI: outlining` for `t2w: slide`."""
    return said_by_result(words).replace(": slide", ": outlining")


def patient_name(case: Case) -> str:
    """A patient's name as a person reads it, without DICOM's carets. Only where names are configured to be shown."""
    return case.patient.name.replace("^", " ").strip() or "(no name)"


def probability(case: Case) -> str:
    """A probability with its band, such as `0.71 (0.58–0.82)`; never to be shown without its status."""
    if case.probability is None:
        return ""
    if case.low is None or case.high is None:
        return f"{case.probability:.2f} (no band)"
    return f"{case.probability:.2f} ({case.low:.2f}–{case.high:.2f})"


def sending_words(case: Case, failing: int = 0) -> Words:
    """How far delivery is.

    Args:
        failing: Number of objects whose last attempt failed.
    """
    total = sum(case.sending.values())
    gone = case.sending.get(Sending.ABANDONED, 0)
    arrived = sum(case.sending.get(state, 0) for state in ARRIVED)
    if case.deleted is not None:
        return Words("–", "deleted", Tone.QUIET)
    if not total:
        return Words(" ", "none" if case.state is State.DONE else "", Tone.QUIET)
    if failing:
        return Words("✗", f"{arrived}/{total}", Tone.BAD)
    if case.state is State.REVIEW:
        return Words("◆", "waits", Tone.WARN)
    if arrived == total:
        return Words("✓", f"{arrived}/{total}", Tone.GOOD)
    if gone and arrived + gone == total:
        return Words("–", f"{arrived}/{total}", Tone.QUIET)
    return Words("↑", f"{arrived}/{total}", Tone.BUSY)


def age(seconds: float) -> str:
    """How long ago, at most 6 cells: `now`, `40 s`, `12 min`, `3 h`, `9 d`, `14 mo`."""
    if seconds < 5:
        return "now"
    for unit, size, most in (
        ("s", 1, 60),
        ("min", 60, 3600),
        ("h", 3600, 86400 * 2),
        ("d", 86400, 86400 * 100),
    ):
        if seconds < most:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // (86400 * 30):.0f} mo"


def ago(seconds: float) -> str:
    """How long ago, in a sentence: `just now`, `12 min ago`."""
    return "just now" if seconds < 5 else f"{age(seconds)} ago"


def moment(at: float, now: float) -> str:
    """When, at most 6 cells: `14:05` today, `Mon` this week, `12 Jan` before."""
    then, today = time.localtime(at), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    if 0 <= now - at < 6 * 86400:
        return time.strftime("%a", then)
    recent = abs(now - at) < 300 * 86400
    return f"{then.tm_mday} {time.strftime('%b', then)}" if recent else str(then.tm_year)


def full_moment(at: float) -> str:
    """When, to the second: `2026-01-12 14:05:09`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def duration(seconds: float) -> str:
    """How long: `0.8 s`, `42 s`, `3:05`, `1:02:09`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Bytes: `512 B`, `3.4 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def bar(fraction: float, width: int) -> str:
    """A progress bar in eighths of a cell."""
    eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
    full, part = divmod(eighths, 8)
    text = "█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")
    return text.ljust(width, "░")
