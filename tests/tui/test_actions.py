"""Every action of a person, through keys, against the store: confirmed, recorded, refused where it must be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from scanside.runtime.appliance.store import audit, jobs, orders, outbox
from scanside.runtime.appliance.store.records import Warned
from scanside.runtime.appliance.store.states import Action, Sending, State
from scanside.tui import asking
from scanside.tui.actions import BIG_STEP, Subject
from scanside.tui.app import ScansideApp
from scanside.tui.format import FALSE_LESION, state_name
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
        await told(pilot, app, f"it is now {state_name(becomes).text}.")
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


@pytest.mark.parametrize(
    ("state", "key", "words"),
    [
        ("queued", "a", "is queued; accepted can be what is review"),
        ("queued", "r", "is queued; rejected can be what is review"),
        ("queued", "t", "queued again can be what is cancelled or failed"),
        ("queued", "w", "to be sent again can be what is done or sending"),
        ("done", "p", "is done; paused can be what is queued"),
        ("done", "greater_than_sign", "only what still waits has a turn"),
        ("done", "x", "is done; cancelled can be what is"),
        ("quarantined", "m", "No lesion was segmented"),
        ("queued", "U", "Nothing was decided"),
        ("sending", "n", ""),
    ],
)
async def test_what_the_state_does_not_allow_is_refused_with_the_reason(
    desk: Desk, state: str, key: str, words: str
) -> None:
    prepared(desk, state)
    app = terminal(desk)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await pilot.press(key)
        if words:
            await told(pilot, app, words)
            assert not isinstance(app.screen, ConfirmScreen)
        else:
            await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "run again is allowed")


@pytest.mark.parametrize("status", ["no lesion segmented", "unsuitable input"])
async def test_no_lesion_no_mark(desk: Desk, status: str) -> None:
    case_id = desk.finish(1, status=status, chance=None)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await pilot.press("m")
        await told(pilot, app, "No lesion was segmented")
        assert desk.case(case_id).verdict is None and status in text_of(app)


APART = Warned("lesions-apart", "The lesions on DWI and T2WI lie 106 mm apart: the signature mixes both.")


async def test_warnings_stand_on_the_row_and_in_the_question_with_class_and_name(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "named", names=True)
    case_id = desk.finish(1, hold=True, chance=0.83, warnings=(APART, Warned("other", "Motion.")))
    app = terminal(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, app)
        row = next(line for line in text_of(app).splitlines() if case_id in line)
        assert "Doe Ann1" in row and "● PDAC 0.83 (0.70–0.94) !2" in row
        assert "The lesions on DWI and T2WI lie 106 mm apart" in text_of(app)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        asked = " ".join(text_of(app).split())
        for words in (
            "Doe Ann1",
            case_id,
            "106 mm",
            "Motion.",
            "PDAC with probability 0.83 (0.70–0.94)",
            "PACS",
        ):
            assert words in asked, (words, asked)
        assert (
            "2 objects" in asked
            and "You have NOT opened its images" in asked
            and "cannot be called back" in asked
        )


async def test_a_result_is_accepted_only_after_its_images_were_opened(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "strict", unopened=False)
    case_id = desk.finish(1, hold=True)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await pilot.press("a")
        await told(pilot, app, "were not opened here")
        assert not isinstance(app.screen, ConfirmScreen)
        await pilot.press("enter")
        await until(pilot, lambda: app.work.was_opened(desk.case(case_id)), "the open case")
        await pilot.press("escape")
        await confirmed(pilot, app, "a")
        assert desk.case(case_id).state is State.SENDING


async def test_a_rejection_is_taken_back_and_recorded(desk: Desk) -> None:
    case_id = desk.finish(1, hold=True)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await confirmed(pilot, app, "r", "vessel")
        await until(pilot, lambda: app.work.feed.cases[case_id].state is State.REJECTED, "the rejection")
        await confirmed(pilot, app, "U")
        case = desk.case(case_id)
        assert (case.state, case.verdict, case.sending) == (State.REVIEW, None, {Sending.WAITING: 2})
        assert [entry.action for entry in audit.entries(desk.database, case_id=case_id)][-2:] == [
            "reject",
            "reopen",
        ]
        await until(pilot, lambda: app.work.feed.cases[case_id].state is State.REVIEW, "the review")
        await confirmed(pilot, app, "a")
        await until(pilot, lambda: app.work.feed.cases[case_id].state is State.SENDING, "the acceptance")
        await pilot.press("U")
        await told(pilot, app, "cannot be undone")


async def test_a_mark_is_taken_back_and_the_acceptance_before_it_stands_again(desk: Desk) -> None:
    case_id = desk.finish(1, hold=True)
    desk.act(case_id, Action.ACCEPT)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await confirmed(pilot, app, "m", "vessel")
        await seen(pilot, app, "⊘ marked false lesion")
        await confirmed(pilot, app, "U")
        case = desk.case(case_id)
        assert (case.verdict, case.verdict_by) == ("accepted", "user Bob")
        await seen(pilot, app, "PDAC 0.71")


async def test_several_are_decided_with_one_question_that_lists_them(desk: Desk) -> None:
    ids = [desk.finish(number, hold=True) for number in (1, 2)]
    other = desk.receive(3, 5)
    app = terminal(desk)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        await loaded(pilot, app)
        await pilot.press("space", "space", "space")
        assert app.screen.query_one(CaseTable).marked == {*ids, other}
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        asked = text_of(app)
        assert (
            "2 studies?" in asked
            and all(one in asked for one in ids)
            and other not in asked.split("?")[1][:300]
        )
        await told(pilot, app, "accepted can be what is review")
        await pilot.press("enter")
        await app.workers.wait_for_complete()
        assert {desk.case(one).state for one in ids} == {State.SENDING} and desk.case(
            other
        ).state is State.QUEUED


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
