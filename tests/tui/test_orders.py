"""What a person orders: run again, sooner or later, pauses, and deliveries."""

import pytest

from scanside.runtime.appliance.store import jobs, orders, outbox
from scanside.runtime.appliance.store.states import Sending, State
from scanside.tui import asking
from scanside.tui.actions import BIG_STEP, Subject
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.worklist.table import CaseTable
from tests.tui.desk import Desk, confirmed, loaded, prepared, seen, terminal, told, until

pytestmark = pytest.mark.asyncio


async def test_a_case_is_run_again(desk: Desk) -> None:
    case_id = prepared(desk, "done")
    job = desk.case(case_id).job
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await confirmed(pilot, app, "n")
        now = desk.case(case_id)
        assert now.job > job and now.state is State.QUEUED
        await until(pilot, lambda: app.work.feed.cases[case_id].job == now.job, "the new job")
        await pilot.press("n")
        await told(pilot, app, "wait for it, or cancel it")
        assert desk.case(case_id).job == now.job


async def test_a_case_is_run_again_with_chosen_series_and_another_bundle(desk: Desk) -> None:
    case_id = prepared(desk, "done")
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        worker = asking.do(
            app, "rerun", [Subject(desk.case(case_id), bundle="/b/other.bundle", series={"t2w": "1.2.3"})]
        )
        assert worker is not None
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await seen(pilot, app, "1 chosen series and bundle")
        await pilot.press("enter")
        assert await worker.wait() == "done"
        case = desk.case(case_id)
        assert (case.bundle, dict(case.series)) == ("/b/other.bundle", {"t2w": "1.2.3"})


async def test_priorities_decide_what_is_next(desk: Desk) -> None:
    first, second = desk.receive(1, 600), desk.receive(2, 500)
    app = terminal(desk)
    async with app.run_test(size=(160, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        app.screen.query_one(CaseTable).move_to(second)
        await confirmed(pilot, app, "greater_than_sign")
        assert desk.case(second).priority == BIG_STEP
        await seen(pilot, app, "queued (priority +10)")
        claimed = jobs.claim(desk.database, "w")
        assert claimed is not None and claimed.case_id == second
        app.screen.query_one(CaseTable).move_to(first)
        await confirmed(pilot, app, "less_than_sign")
        assert desk.case(first).priority == -BIG_STEP


async def test_the_whole_queue_is_paused_and_resumed(desk: Desk) -> None:
    desk.receive(1)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await confirmed(pilot, app, "P")
        assert orders.is_paused(desk.database) and jobs.claim(desk.database, "w") is None
        await until(
            pilot, lambda: any("queue paused" in alarm.words for alarm in app.work.alarms), "the alarm"
        )
        await confirmed(pilot, app, "P")
        assert not orders.is_paused(desk.database)
        await until(pilot, lambda: not any("queue" in alarm.words for alarm in app.work.alarms), "no alarm")


async def test_delivery_is_given_up_and_taken_up_again(desk: Desk) -> None:
    case_id = desk.finish(1)
    desk.stick(case_id)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        worker = asking.abandon(app, desk.case(case_id), "PACS")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await pilot.press("enter")
        assert await worker.wait() == "done"
        states = {item.state for item in outbox.of_job(desk.database, desk.case(case_id).job)}
        assert states == {Sending.ABANDONED} and desk.case(case_id).state is State.DONE
        await until(pilot, lambda: app.work.feed.cases[case_id].state is State.DONE, "done on the screen")
        await confirmed(pilot, app, "w")
        assert desk.case(case_id).state is State.SENDING
