"""Every action of a person, through keys, against the store: confirmed, recorded, refused where it must be."""

import json
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from scanside.runtime.appliance.store import audit, jobs, outbox
from scanside.runtime.appliance.store.states import Action, Sending, State
from scanside.tui import actions
from scanside.tui.app import ScansideApp
from scanside.tui.format import FALSE_LESION
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.worklist.table import CaseTable
from tests.tui.desk import OPERATOR, Desk, loaded, seen, terminal, text_of, told, until

pytestmark = pytest.mark.asyncio


def prepared(desk: Desk, state: str) -> str:
    """A case that is in a state."""
    make: dict[str, Callable[[], str]] = {
        "review": lambda: desk.finish(1, hold=True),
        "queued": lambda: desk.receive(1),
        "running": lambda: desk.run(1),
        "quarantined": lambda: desk.fail(1),
        "sending": lambda: desk.finish(1),
    }
    if state in make:
        return make[state]()
    case_id = desk.receive(1) if state != "done" else desk.finish(1)
    if state == "done":
        desk.deliver(case_id)
    else:
        desk.act(case_id, {"paused": Action.PAUSE, "cancelled": Action.CANCEL}[state])
    return case_id


async def confirmed(pilot: Pilot[None], app: ScansideApp, key: str, reason: str = "") -> None:
    """Press a key, give a reason, say yes, and wait until it is written."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), f"the question after {key}")
    await pilot.press(*reason, "enter")
    await app.workers.wait_for_complete()
    await pilot.pause()


@pytest.mark.parametrize(
    ("state", "key", "reason", "action", "becomes"),
    [
        ("review", "a", "", "accept", State.SENDING),
        ("review", "r", "outside", "reject", State.REJECTED),
        ("queued", "p", "", "pause", State.PAUSED),
        ("paused", "p", "", "resume", State.QUEUED),
        ("queued", "x", "", "cancel", State.CANCELLED),
        ("running", "x", "moved", "cancel", State.CANCELLED),
        ("quarantined", "t", "", "retry", State.QUEUED),
        ("cancelled", "t", "", "retry", State.QUEUED),
        ("done", "w", "", "send again", State.SENDING),
    ],
)
async def test_an_action_is_confirmed_and_recorded_with_who(
    desk: Desk, state: str, key: str, reason: str, action: str, becomes: State
) -> None:
    case_id = prepared(desk, state)
    app = terminal(desk)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await confirmed(pilot, app, key, reason)
        assert desk.case(case_id).state is becomes
        entry = list(audit.entries(desk.database, case_id=case_id))[-1]
        assert (entry.actor, entry.action) == (OPERATOR, action)
        assert json.loads(entry.detail).get("reason", "") == reason
        await told(pilot, app, f"it is now {becomes}.")
    audit.verify(desk.database)


@pytest.mark.parametrize("key", ["a", "r"])
async def test_nothing_happens_when_the_question_is_answered_with_no(desk: Desk, key: str) -> None:
    case_id = desk.finish(1, hold=True)
    before = audit.head(desk.database)
    app = terminal(desk)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await pilot.press("escape")
        await app.workers.wait_for_complete()
        assert desk.case(case_id).state is State.REVIEW and audit.head(desk.database) == before


async def test_a_rejection_wants_a_reason(desk: Desk) -> None:
    case_id = desk.finish(1, hold=True)
    app = terminal(desk)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await pilot.press("space", "enter")
        await seen(pilot, app, "A reason has to be given.")
        assert desk.case(case_id).state is State.REVIEW
        await pilot.press(*"too large", "enter")
        await app.workers.wait_for_complete()
        case = desk.case(case_id)
        assert (case.state, case.verdict, case.verdict_by, case.reason) == (
            State.REJECTED, "rejected", OPERATOR, "too large",
        )  # fmt: skip


async def test_what_the_state_does_not_allow_cannot_be_asked_for(desk: Desk) -> None:
    desk.receive(1)
    app = terminal(desk)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        for key in ("a", "r", "t", "w"):
            await pilot.press(key)
            assert not isinstance(app.screen, ConfirmScreen), key
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "cancel is allowed")


async def test_a_result_that_changed_since_it_was_seen_is_not_accepted(desk: Desk) -> None:
    case_id = desk.finish(1, hold=True)
    app = terminal(desk)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        desk.receive(1, images=7)  # another image came: it is computed anew
        desk.run(1)
        await pilot.press("enter")
        await app.workers.wait_for_complete()
        await told(pilot, app, "has changed since you looked")
        assert desk.case(case_id).state is State.RUNNING


async def test_a_refusal_of_the_store_is_shown_as_its_sentence(desk: Desk) -> None:
    case_id = desk.receive(1)
    app = terminal(desk)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        desk.act(case_id, Action.CANCEL)  # somebody else was faster
        await pilot.press("enter")
        await app.workers.wait_for_complete()
        await told(pilot, app, "which does not allow 'cancel'.")


async def test_a_lesion_is_marked_as_false_and_its_number_is_gone(desk: Desk) -> None:
    case_id = prepared(desk, "done")
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await confirmed(pilot, app, "m", "vessel")
        case = desk.case(case_id)
        assert (case.verdict, case.verdict_by, case.state) == (FALSE_LESION, OPERATOR, State.DONE)
        await seen(pilot, app, "⊘ marked false lesion")
        assert "0.71" not in text_of(app)


async def test_a_case_is_run_again(desk: Desk) -> None:
    case_id = prepared(desk, "done")
    job = desk.case(case_id).job
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await confirmed(pilot, app, "n")
        now = desk.case(case_id)
        assert now.job > job and now.state is State.QUEUED
        await confirmed(pilot, app, "n")
        await told(pilot, app, "wait for it, or cancel it.")
        assert desk.case(case_id).job == now.job


async def test_a_case_is_run_again_with_chosen_series_and_another_bundle(desk: Desk) -> None:
    case_id = prepared(desk, "done")
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        worker = actions.rerun(app, desk.case(case_id), bundle="/b/other.bundle", series={"t2w": "1.2.3"})
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await seen(pilot, app, "1 chosen series and bundle")
        await pilot.press("enter")
        assert await worker.wait() == "done"
        case = desk.case(case_id)
        assert (case.bundle, dict(case.series)) == ("/b/other.bundle", {"t2w": "1.2.3"})


async def test_priorities_decide_what_is_next(desk: Desk) -> None:
    first, second = desk.receive(1, 600), desk.receive(2, 500)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        app.screen.query_one(CaseTable).move_to(second)
        await confirmed(pilot, app, "plus")
        assert desk.case(second).priority == actions.BIG_STEP
        await seen(pilot, app, "queued, priority 10")
        claimed = jobs.claim(desk.database, "w")
        assert claimed is not None and claimed.case_id == second
        app.screen.query_one(CaseTable).move_to(first)
        await confirmed(pilot, app, "minus")
        assert desk.case(first).priority == -actions.BIG_STEP


async def test_the_whole_queue_is_paused_and_resumed(desk: Desk) -> None:
    desk.receive(1)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await confirmed(pilot, app, "P")
        assert jobs.is_paused(desk.database) and jobs.claim(desk.database, "w") is None
        await until(pilot, lambda: any("queue paused" in alarm.words for alarm in app.alarms), "the alarm")
        await confirmed(pilot, app, "P")
        assert not jobs.is_paused(desk.database)
        await until(pilot, lambda: not any("queue" in alarm.words for alarm in app.alarms), "no alarm")


async def test_delivery_is_given_up_and_taken_up_again(desk: Desk) -> None:
    case_id = desk.finish(1)
    desk.stick(case_id)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        worker = actions.abandon(app, desk.case(case_id), "PACS")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await pilot.press("enter")
        assert await worker.wait() == "done"
        states = {item.state for item in outbox.of_job(desk.database, desk.case(case_id).job)}
        assert states == {Sending.ABANDONED} and desk.case(case_id).state is State.DONE
        await until(pilot, lambda: app.feed.cases[case_id].state is State.DONE, "done on the screen")
        await confirmed(pilot, app, "w")
        assert desk.case(case_id).state is State.SENDING


async def test_a_store_that_is_gone_refuses_with_a_sentence(desk: Desk) -> None:
    desk.receive(1)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        desk.config.database.rename(desk.config.database.with_suffix(".away"))
        await pilot.press("enter")
        await app.workers.wait_for_complete()
        await told(pilot, app, "There is no store")


async def test_two_terminals_show_the_same(desk: Desk) -> None:
    case_id = desk.finish(1, hold=True)
    one, other = terminal(desk), terminal(desk)
    async with (
        one.run_test(size=(100, 24), notifications=True) as here,
        other.run_test(size=(100, 24), notifications=True) as there,
    ):
        await loaded(here, one)
        await loaded(there, other)
        await confirmed(here, one, "a")
        await seen(there, other, "↑ sending")
        assert desk.case(case_id).verdict_by == OPERATOR
