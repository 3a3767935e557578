"""Marking a lesion as false: asked first, written with who, when, which lesion and why."""

import asyncio
from typing import TYPE_CHECKING

from textual.worker import Worker

from scanside.runtime.appliance.store import jobs, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.jobs import NotAllowedError
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.errors import ScansideError
from scanside.tui.case.images import TITLES
from scanside.tui.case.report import LesionFound
from scanside.tui.case.stack import place_words
from scanside.tui.format import FALSE_LESION
from scanside.tui.widgets.confirm import ConfirmScreen, Question

if TYPE_CHECKING:
    from scanside.tui.app import ScansideApp


def mark_false(app: "ScansideApp", case: Case, lesion: LesionFound) -> "Worker[bool]":
    """Ask, then keep that a person says that this is no lesion. What was sent stays where it was sent."""
    name = f"{TITLES.get(lesion.role, lesion.role)} lesion {lesion.number}"
    text = (
        f"{name}, {lesion.volume_ml:.2f} ml, at {place_words(lesion.centroid_mm)} mm. The result is marked; what was "
        "sent is not called back. Reject a result under review to keep it from being sent."
    )
    question = Question(f"Is the lesion of {case.case_id} a false one?", text, "Mark as false", "required")

    def write(reason: str) -> None:
        with Database(app.config.database) as database:
            now = worklist.case(database, case.case_id)
            if now is None or (now.job, now.finished) != (case.job, case.finished):
                raise NotAllowedError(
                    f"Case {case.case_id} has changed since you looked: look at it again, then decide."
                )
            jobs.mark(database, case.job, FALSE_LESION, f"{name}: {reason}", app.actor)

    async def go() -> bool:
        answer = await app.push_screen_wait(ConfirmScreen(question))
        if answer is None:
            return False
        try:
            await asyncio.to_thread(write, answer.reason or "")
        except ScansideError as error:
            app.notify(str(error), title="Not done", severity="error", timeout=12, markup=False)
            return False
        app.feed.hurry()
        app.notify(f"Case {case.case_id}: {name} is marked as false.", timeout=6, markup=False)
        return True

    return app.run_worker(go(), group="actions", exit_on_error=True)
