"""What a person does to a study: when it is allowed, what is asked, what is then written. Pure functions and a table.

`ACTS` is the other half of `commands.COMMANDS`: the row `study.accept` there is `ACTS["accept"]` here. Whoever carries
one out (`asking`, `plain`) checks its guard, asks its question and runs its deed; the store refuses once more what its
table of transitions does not have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from scanside.runtime.appliance.store import jobs, orders, verdicts, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import TRANSITIONS, Action, NotAllowedError, State
from scanside.tui.format import (
    DONE_WORDS,
    FALSE_LESION,
    patient_name,
    result_sentence,
    spoken,
    state_name,
    state_words,
)
from scanside.tui.question import Answer, Need, Question
from scanside.tui.workplace import Workplace

BIG_STEP = 10
"""By how much one key press changes a priority."""
SEGMENTED = ("ok", "indeterminate")
"""Status of results with a lesion."""
WAITING = (State.RECEIVING, State.QUEUED, State.PAUSED, State.RUNNING)
"""A study in one of these is computed sooner or later without anybody's help."""


@dataclass(frozen=True)
class Subject:
    """A study that something is done to, as it was last seen.

    Attributes:
        latest: Whether that is its latest computation.
        lesion: Which lesion is meant, such as `T2WI lesion 1`; empty for that of the study.
        where: Its size and place.
        series: Sequence → series that a person chose for the next computation.
        bundle: Another bundle for it.
    """

    case: Case
    latest: bool = True
    lesion: str = ""
    where: str = ""
    series: Mapping[str, str] = field(default_factory=dict)
    bundle: str | None = None


@dataclass(frozen=True)
class Act:
    """Something that a person does to a study.

    Attributes:
        why_not: The sentence why it may not be done now; None where it may.
        title: The question, up to the study's name: `Accept the result of`.
        button: The word of consent.
        text: What will happen then.
        need: Whether a reason may or has to be given.
        write: What is done, in a thread of its own; returns the sentence that says it.
    """

    why_not: Callable[[Subject, Workplace], str | None]
    title: Callable[[Subject], str]
    button: str
    text: Callable[[Subject, Workplace], str]
    write: Callable[[Database, Subject, Answer, str], str]
    need: Need = Need.NONE
    judges: bool = False
    """It judges a result: the question shows that result, and its warnings."""


def name_of(case: Case, names: bool) -> str:
    """`Doe Ann · ABCDE-FGHIJ`: a person is known by name where names may be shown, and always by the case id."""
    return f"{patient_name(case)} · {case.case_id}" if names else case.case_id


def why_not(act: str, subject: Subject, work: Workplace) -> str | None:
    """Why something may not be done to a study now, in a sentence; None where it may."""
    if not subject.latest:
        return "This is an earlier computation; choose the latest one (h) to act upon it."
    return ACTS[act].why_not(subject, work)


def question(act: str, subjects: Sequence[Subject], work: Workplace) -> Question:
    """What is asked before it is done, of one study or of several in one question."""
    row, first = ACTS[act], subjects[0]
    if len(subjects) == 1:
        title = f"{row.title(first)} {name_of(first.case, work.names)}?"
        said = [result_sentence(first.case)] if row.judges else []
        warned = _warned(first.case) if row.judges else ()
        return Question(title, (*said, row.text(first, work)), warned, row.button, row.need)
    title = f"{row.button}: {len(subjects)} studies?"
    listed = [f"{name_of(one.case, work.names)}  {_in_a_line(one.case, row)}" for one in subjects]
    warned = tuple(
        f"{one.case.case_id}: {words}"
        for one in subjects
        for words in (_warned(one.case) if row.judges else ())
    )
    return Question(title, (*listed, row.text(first, work)), warned, row.button, row.need)


def _warned(case: Case) -> tuple[str, ...]:
    """The warnings of a result in sentences; one, where the store does not know whether there are any."""
    if case.status is not None and case.warnings is None:
        return (
            "Its warnings are not kept in the list (an earlier version computed it): open it to read them.",
        )
    return tuple(spoken(one.sentence) for one in case.warnings or ())


def _in_a_line(case: Case, row: Act) -> str:
    return result_sentence(case) if row.judges else str(state_words(case))


def carried_out(act: str, database: Database, subject: Subject, answer: Answer, actor: str) -> str:
    """Do it, and say so.

    Raises:
        ScansideError: If the store refuses, or the study has changed since it was looked at.
    """
    _unchanged(database, subject.case)
    return ACTS[act].write(database, subject, answer, actor)


def _unchanged(database: Database, seen: Case) -> None:
    """A person judges what they saw: refuse when the result has become another one since.

    Raises:
        NotAllowedError: If it has.
    """
    now = worklist.case(database, seen.case_id)
    if now is None or (now.job, now.finished, now.status) != (seen.job, seen.finished, seen.status):
        raise NotAllowedError(
            f"Case {seen.case_id} has changed since you looked: look at it again, then decide."
        )


def _by_state(action: Action) -> Callable[[Subject, Workplace], str | None]:
    """The guard that the store's own table of transitions is."""
    states = [state for state, possible in TRANSITIONS if possible is action]

    def guard(subject: Subject, work: Workplace) -> str | None:
        case = subject.case
        if case.deleted is not None and action in (Action.RETRY, Action.SEND_AGAIN):
            return f"The images and results of {case.case_id} were deleted after retention; send the study again."
        if case.state in states:
            return None
        can = " or ".join(sorted({state_name(state).text for state in states}))
        return f"Case {case.case_id} is {state_words(case).text}; {DONE_WORDS[action]} can be what is {can}."

    return guard


def _accept_guard(subject: Subject, work: Workplace) -> str | None:
    refused = _by_state(Action.ACCEPT)(subject, work)
    if refused is None and work.config.service.open_before_accept and not work.was_opened(subject.case):
        case_id = subject.case.case_id
        return (
            f"The images of {case_id} were not opened here: look at them first ({work.opens}), then accept."
        )
    return refused


def _accept_text(subject: Subject, work: Workplace) -> str:
    case = subject.case
    seen = "" if work.was_opened(case) else "You have NOT opened its images. "
    objects = sum(case.sending.values())
    where = ", ".join(destination.name for destination in work.config.destinations)
    sent = f"{objects} objects are then sent to {where}" if objects else "Nothing is sent: it has no objects"
    return f"{seen}{sent}. What was sent cannot be called back."


def _act(action: Action) -> Callable[[Database, Subject, Answer, str], str]:
    def write(database: Database, subject: Subject, answer: Answer, actor: str) -> str:
        case = subject.case
        seen = case.finished if action in (Action.ACCEPT, Action.REJECT) else None
        state = jobs.act(database, case.job, action, actor, answer.reason, finished=seen)
        return f"Case {case.case_id}: {DONE_WORDS[action]}; it is now {state_name(state).text}."

    return write


def _false_guard(subject: Subject, work: Workplace) -> str | None:
    case = subject.case
    if case.status not in SEGMENTED:
        return f"No lesion was segmented in case {case.case_id}, so there is none to mark as false."
    if case.verdict == FALSE_LESION:
        return f"The lesion of case {case.case_id} is marked as false already; U takes the mark back."
    if case.state not in (State.REVIEW, State.SENDING, State.DONE):
        return f"Case {case.case_id} is {state_words(case).text}; its result no longer stands."
    return None


def _mark_false(database: Database, subject: Subject, answer: Answer, actor: str) -> str:
    case = subject.case
    reason = f"{subject.lesion}: {answer.reason}" if subject.lesion else answer.reason
    verdicts.mark(database, case.job, FALSE_LESION, reason, actor, finished=case.finished)
    return f"Case {case.case_id}: {subject.lesion or 'the lesion'} is marked as false."


def _undo_guard(subject: Subject, work: Workplace) -> str | None:
    case = subject.case
    if case.verdict == FALSE_LESION or case.state is State.REJECTED:
        return None
    if case.verdict is not None:
        return f"Case {case.case_id} was accepted and is on its way: that cannot be undone; mark the lesion as false."
    if case.state is State.CANCELLED:
        return f"Case {case.case_id} was cancelled: t computes it again."
    return f"Nothing was decided about case {case.case_id} that could be undone."


def _undo_text(subject: Subject, work: Workplace) -> str:
    if subject.case.verdict == FALSE_LESION:
        return "The mark is taken back; the result stands as before."
    return "The rejection is taken back: the result waits for review again. Nothing of it was sent."


def _undo(database: Database, subject: Subject, answer: Answer, actor: str) -> str:
    case = subject.case
    if case.verdict == FALSE_LESION:
        verdicts.unmark(database, case.job, FALSE_LESION, actor, finished=case.finished)
        return f"Case {case.case_id}: the lesion is no longer marked as false."
    jobs.act(database, case.job, Action.REOPEN, actor, finished=case.finished)
    return f"Case {case.case_id}: the rejection is taken back; it waits for review again."


def _rerun_guard(subject: Subject, work: Workplace) -> str | None:
    case = subject.case
    if case.deleted is not None:
        return f"The images of case {case.case_id} were deleted after retention; send them again."
    if case.state in WAITING:
        return f"Case {case.case_id} is {state_words(case).text}; wait for it, or cancel it (x), then run it again."
    return None


def _rerun_text(subject: Subject, work: Workplace) -> str:
    how = [f"{len(subject.series)} chosen series"] if subject.series else []
    how += [f"bundle {subject.bundle}"] if subject.bundle else []
    chosen = f" with {' and '.join(how)}" if how else ""
    return f"It is computed anew{chosen}; the earlier result stays in the record."


def _rerun(database: Database, subject: Subject, answer: Answer, actor: str) -> str:
    case = subject.case
    job = orders.rerun(database, case.case_id, actor, bundle=subject.bundle, series=subject.series or None)
    return f"Case {case.case_id}: queued again as job {job}."


def _pause_guard(subject: Subject, work: Workplace) -> str | None:
    paused = subject.case.state is State.PAUSED
    return _by_state(Action.RESUME if paused else Action.PAUSE)(subject, work)


def _pause(database: Database, subject: Subject, answer: Answer, actor: str) -> str:
    paused = subject.case.state is State.PAUSED
    return _act(Action.RESUME if paused else Action.PAUSE)(database, subject, answer, actor)


def _turn_guard(subject: Subject, work: Workplace) -> str | None:
    case = subject.case
    if case.state in (State.RECEIVING, State.QUEUED, State.PAUSED):
        return None
    return f"Case {case.case_id} is {state_words(case).text}; only what still waits has a turn to change."


def _turn(by: int) -> tuple[
    Callable[[Subject, Workplace], str], Callable[[Database, Subject, Answer, str], str]
]:  # fmt: skip
    def text(subject: Subject, work: Workplace) -> str:
        now = subject.case.priority
        return f"Its priority becomes {now + by} (now {now}); the highest goes first, then the oldest."

    def write(database: Database, subject: Subject, answer: Answer, actor: str) -> str:
        case = subject.case
        orders.prioritise(database, case.job, case.priority + by, actor)
        return f"Case {case.case_id} has priority {case.priority + by}."

    return text, write


def _cancel_text(subject: Subject, work: Workplace) -> str:
    return f"It is {state_words(subject.case).text}. Nothing of it is computed or sent any more; t takes it up again."


def _title(words: str) -> Callable[[Subject], str]:
    return lambda subject: words


def _false_text(subject: Subject, work: Workplace) -> str:
    about = f"{subject.lesion}, {subject.where}. " if subject.lesion else ""
    return f"{about}What was sent is not called back: to keep a result from being sent, reject it. U undoes this."


_SOONER, _LATER = _turn(BIG_STEP), _turn(-BIG_STEP)

ACTS: Mapping[str, Act] = {
    "accept": Act(
        _accept_guard, _title("Accept the result of"), "Accept", _accept_text, _act(Action.ACCEPT), Need.OPTIONAL,
        judges=True,
    ),
    "reject": Act(
        _by_state(Action.REJECT), _title("Reject the result of"), "Reject",
        lambda subject, work: "It is not sent. The reason goes into the audit log; U takes the rejection back.",
        _act(Action.REJECT), Need.REQUIRED, judges=True,
    ),
    "false": Act(
        _false_guard, _title("Mark as false the lesion of"), "Mark as false", _false_text, _mark_false,
        Need.REQUIRED, judges=True,
    ),
    "undo": Act(
        _undo_guard,
        lambda subject: f"Take back what was decided ({subject.case.verdict}) about", "Take back",
        _undo_text, _undo, judges=True,
    ),
    "rerun": Act(_rerun_guard, _title("Run again"), "Run again", _rerun_text, _rerun),
    "choose": Act(_rerun_guard, _title("Run again"), "Run again", _rerun_text, _rerun),
    "retry": Act(
        _by_state(Action.RETRY), _title("Try again"), "Try again",
        lambda subject, work: f"{subject.case.reason or 'It has ended.'} It is queued anew, with all its tries.",
        _act(Action.RETRY),
    ),
    "send-again": Act(
        _by_state(Action.SEND_AGAIN), _title("Send again the objects of"), "Send again",
        lambda subject, work: "Every object goes to every destination once more.", _act(Action.SEND_AGAIN),
        Need.OPTIONAL, judges=True,
    ),
    "pause": Act(
        _pause_guard, lambda subject: "Resume" if subject.case.state is State.PAUSED else "Pause", "Yes",
        lambda subject, work: "It goes back into the queue." if subject.case.state is State.PAUSED
        else "It waits until somebody resumes it.",
        _pause,
    ),
    "cancel": Act(
        _by_state(Action.CANCEL), _title("Cancel"), "Cancel the study", _cancel_text, _act(Action.CANCEL), Need.OPTIONAL
    ),
    "sooner": Act(_turn_guard, _title("Compute sooner"), "Change", _SOONER[0], _SOONER[1]),
    "later": Act(_turn_guard, _title("Compute later"), "Change", _LATER[0], _LATER[1]),
}  # fmt: skip
"""Name → what it is. Every `study.…` of `commands.COMMANDS` has its row."""
