"""What an operator does to a case: asked first, written to the store with their name, and told how it went.

Every function here opens a question; nothing happens before it is answered with yes. The store refuses what its table
of transitions does not have, and its sentence is shown.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.worker import Worker

from scanside.runtime.appliance.store import jobs, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.jobs import NotAllowedError
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import BY_PERSON, TRANSITIONS, Action, State
from scanside.runtime.errors import ScansideError
from scanside.tui.format import DONE_WORDS, FALSE_LESION, result_words, state_words
from scanside.tui.widgets.confirm import Answer, ConfirmScreen, Question

if TYPE_CHECKING:
    from scanside.tui.app import ScansideApp

Outcome = Literal["done", "refused", "dismissed"]
"""How an action ended: carried out; refused by the store; not confirmed by the operator."""

BIG_STEP = 10
"""By how much one key press changes a priority."""


@dataclass(frozen=True)
class Deed:
    """Something to be confirmed and done.

    Attributes:
        write: What is done, in a thread of its own; returns the sentence that says it.
    """

    question: Question
    write: Callable[[Database, Answer], str]


def allowed(case: Case) -> frozenset[Action]:
    """What a person may do to the case as it was last seen."""
    return frozenset(action for action in BY_PERSON if (case.state, action) in TRANSITIONS)


def may_mark(case: Case) -> bool:
    """Whether there is a result that a person can call false."""
    return case.status is not None and case.verdict != FALSE_LESION


def may_rerun(case: Case) -> bool:
    """Whether the case can be computed again."""
    waits = (State.RECEIVING, State.QUEUED, State.PAUSED, State.RUNNING)
    return case.deleted is None and case.state not in waits


def act(app: "ScansideApp", case: Case, action: Action) -> "Worker[Outcome]":
    """Accept, reject, pause, resume, cancel, retry or send again."""
    reason: Literal["none", "optional", "required"] = "optional"
    if action is Action.REJECT:
        reason = "required"
    elif action in (Action.PAUSE, Action.RESUME, Action.RETRY):
        reason = "none"

    def write(database: Database, answer: Answer) -> str:
        _unchanged(database, case)
        seen = case.finished if action in (Action.ACCEPT, Action.REJECT) else None
        state = jobs.act(database, case.job, action, app.actor, answer.reason, finished=seen)
        return f"Case {case.case_id}: {DONE_WORDS[action]}; it is now {state}."

    question = Question(
        f"{_TITLES[action]} {case.case_id}?", _ACTION_TEXTS[action](case), _BUTTONS[action], reason
    )
    return _confirm(app, Deed(question, write))


def mark_false(app: "ScansideApp", case: Case, lesion: str = "", where: str = "") -> "Worker[Outcome]":
    """Say that what was segmented is no lesion. A result that has been sent stays where it was sent.

    Args:
        lesion: Which one, such as `T2WI lesion 1`; goes into the audit log. Empty for that of the case.
        where: Its size and place, for the question.
    """

    def write(database: Database, answer: Answer) -> str:
        _unchanged(database, case)
        reason = f"{lesion}: {answer.reason}" if lesion else answer.reason
        jobs.mark(database, case.job, FALSE_LESION, reason, app.actor, finished=case.finished)
        return f"Case {case.case_id}: {lesion or 'the lesion'} is marked as false."

    about = f"{lesion}, {where}. " if lesion else ""
    text = (
        f"{about}{_shown(case)} What was sent is not called back. Reject a result under review to keep it from being "
        "sent."
    )
    question = Question(f"Mark the lesion of {case.case_id} as false?", text, "Mark as false", "required")
    return _confirm(app, Deed(question, write))


def rerun(
    app: "ScansideApp", case: Case, *, bundle: str | None = None, series: Mapping[str, str] | None = None
) -> "Worker[Outcome]":
    """Compute again, with another bundle or with series that a person chose (sequence → series UID)."""

    def write(database: Database, answer: Answer) -> str:
        job = jobs.rerun(database, case.case_id, app.actor, bundle=bundle, series=series)
        return f"Case {case.case_id}: queued again as job {job}."

    how = [f"{len(series)} chosen series" if series else "", f"bundle {bundle}" if bundle else ""]
    with_ = f" with {' and '.join(words for words in how if words)}" if any(how) else ""
    text = f"It is computed anew{with_}; the earlier result stays in the record."
    return _confirm(app, Deed(Question(f"Run {case.case_id} again?", text, "Run again", "none"), write))


def prioritise(app: "ScansideApp", case: Case, by: int) -> "Worker[Outcome]":
    """Let a case go before others, or after them."""
    priority = case.priority + by

    def write(database: Database, answer: Answer) -> str:
        jobs.prioritise(database, case.job, priority, app.actor)
        return f"Case {case.case_id} has priority {priority}."

    text = f"Its priority becomes {priority} (now {case.priority}); the highest goes first, then the oldest."
    title = f"{'Raise' if by > 0 else 'Lower'} the priority of {case.case_id}?"
    return _confirm(app, Deed(Question(title, text, "Change", "none"), write))


def abandon(app: "ScansideApp", case: Case, destination: str) -> "Worker[Outcome]":
    """Give up delivering a case to one destination."""

    def write(database: Database, answer: Answer) -> str:
        count = outbox.abandon(database, case.job, destination, app.actor)
        return f"Case {case.case_id}: {count} object(s) are no longer sent to {destination}."

    text = f"What has not arrived at {destination} is not tried any more. 'Send again' takes it up anew."
    return _confirm(app, Deed(Question(f"Give up sending {case.case_id}?", text, "Give up", "none"), write))


def pause_queue(app: "ScansideApp", paused: bool) -> "Worker[Outcome]":
    """Keep the service from taking new cases, or let it again."""

    def write(database: Database, answer: Answer) -> str:
        jobs.pause_queue(database, paused, app.actor)
        return (
            "The queue is paused: what runs goes on, nothing new begins." if paused else "The queue goes on."
        )

    text = (
        "No new case begins until somebody resumes the queue; images are still received."
        if paused
        else "The next case begins as soon as the service is free."
    )
    title = "Pause the whole queue?" if paused else "Resume the queue?"
    return _confirm(app, Deed(Question(title, text, "Pause" if paused else "Resume", "none"), write))


_TITLES: Mapping[Action, str] = {
    Action.ACCEPT: "Accept the result of",
    Action.REJECT: "Reject the result of",
    Action.PAUSE: "Pause",
    Action.RESUME: "Resume",
    Action.CANCEL: "Cancel",
    Action.RETRY: "Try again",
    Action.SEND_AGAIN: "Send again the objects of",
}
_BUTTONS: Mapping[Action, str] = {
    Action.ACCEPT: "Accept",
    Action.REJECT: "Reject",
    Action.PAUSE: "Pause",
    Action.RESUME: "Resume",
    Action.CANCEL: "Cancel the case",
    Action.RETRY: "Try again",
    Action.SEND_AGAIN: "Send again",
}
_ACTION_TEXTS: Mapping[Action, Callable[[Case], str]] = {
    Action.ACCEPT: lambda case: f"{_shown(case)} It is then sent to the destinations.",
    Action.REJECT: lambda case: f"{_shown(case)} It is not sent. The reason goes into the audit log.",
    Action.PAUSE: lambda case: "It waits until somebody resumes it.",
    Action.RESUME: lambda case: "It goes back into the queue.",
    Action.CANCEL: lambda case: (
        f"It is {state_words(case).text}. Nothing of it is computed or sent any more."
    ),
    Action.RETRY: lambda case: f"{case.reason or 'It has ended.'} It is queued anew, with all its tries.",
    Action.SEND_AGAIN: lambda case: f"{_shown(case)} Every object goes to every destination once more.",
}


def _shown(case: Case) -> str:
    words = result_words(case).text
    return f"Result: {words}." if words else "It has no result."


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


def _confirm(app: "ScansideApp", deed: Deed) -> "Worker[Outcome]":
    async def go() -> Outcome:
        answer = await app.push_screen_wait(ConfirmScreen(deed.question))
        if answer is None:
            return "dismissed"
        try:
            sentence = await asyncio.to_thread(_write, app, deed, answer)
        except ScansideError as error:
            app.notify(str(error), title="Not done", severity="error", timeout=12, markup=False)
            return "refused"
        app.feed.hurry()
        app.notify(sentence, timeout=6, markup=False)
        return "done"

    return app.run_worker(go(), group="actions", exit_on_error=True)


def _write(app: "ScansideApp", deed: Deed, answer: Answer) -> str:
    with Database(app.config.database) as database:
        return deed.write(database, answer)
