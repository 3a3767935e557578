"""Carrying out what a person wants: the guard says no in a sentence; else it is asked, written, and told."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

from textual.app import App
from textual.worker import Worker

from scanside.runtime.appliance.store import orders, outbox
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.errors import ScansideError
from scanside.tui.actions import Subject, carried_out, question, why_not
from scanside.tui.question import Answer, Question
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.workplace import Workplace, workplace

Outcome = Literal["done", "refused", "dismissed"]
"""How it ended: carried out; refused by the guard or the store; not confirmed by the operator."""


def do(app: App[Any], act: str, subjects: Sequence[Subject]) -> Worker[Outcome] | None:
    """Do something to one study or to several, of which those are left out that do not allow it.

    Returns:
        The worker that asks; None when nothing may be done, which was told.
    """
    work = workplace(app)
    answers = [(one, why_not(act, one, work)) for one in subjects]
    able = [one for one, refusal in answers if refusal is None]
    if refusals := [refusal for _, refusal in answers if refusal is not None]:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        no_further(app, f"{refusals[0]}{more}")
    if not able:
        return None

    def write(database: Database, answer: Answer) -> str:
        return "\n".join(carried_out(act, database, one, answer, work.actor) for one in able)

    return ask(app, question(act, able, work), write)


def abandon(app: App[Any], case: Case, destination: str) -> Worker[Outcome]:
    """Give up delivering a study to one destination."""
    actor = workplace(app).actor

    def write(database: Database, answer: Answer) -> str:
        count = outbox.abandon(database, case.job, destination, actor)
        return f"Case {case.case_id}: {count} object(s) are no longer sent to {destination}."

    text = f"What has not arrived at {destination} is not tried any more. 'Send again' takes it up anew."
    return ask(app, Question(f"Give up sending {case.case_id}?", (text,), (), "Give up"), write)


def pause_queue(app: App[Any]) -> Worker[Outcome]:
    """Keep the service from taking new studies, or let it again."""
    work = workplace(app)
    paused = not work.feed.health.paused

    def write(database: Database, answer: Answer) -> str:
        orders.pause_queue(database, paused, work.actor)
        return (
            "The queue is paused: what runs goes on, nothing new begins." if paused else "The queue goes on."
        )

    text = (
        "No new study begins until somebody resumes the queue; images are still received."
        if paused
        else "The next study begins as soon as the service is free."
    )
    title = "Pause the whole queue?" if paused else "Resume the queue?"
    return ask(app, Question(title, (text,), (), "Pause" if paused else "Resume"), write)


def ask(app: App[Any], asked: Question, write: Callable[[Database, Answer], str]) -> Worker[Outcome]:
    """Ask, then write in a thread of its own."""
    work = workplace(app)

    async def go() -> Outcome:
        answer = await app.push_screen_wait(ConfirmScreen(asked))
        if answer is None:
            return "dismissed"
        try:
            sentence = await asyncio.to_thread(_written, work, write, answer)
        except ScansideError as error:
            app.notify(str(error), title="Not done", severity="error", timeout=12, markup=False)
            return "refused"
        work.feed.hurry()
        app.notify(sentence, timeout=6, markup=False)
        return "done"

    return app.run_worker(go(), group="actions", exit_on_error=True)


def _written(work: Workplace, write: Callable[[Database, Answer], str], answer: Answer) -> str:
    with Database(work.config.database) as database:
        return write(database, answer)


def no_further(app: App[Any], words: str) -> None:
    """Say why nothing is done."""
    app.notify(words, title="Not done", severity="warning", timeout=8, markup=False)
