"""Every action of a person, through keys, against the store: confirmed, recorded, refused where it must be."""

import json

import pytest

from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.states import Action, State
from scanside.tui.format import state_name
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.worklist.table import CaseTable
from tests.tui.desk import OPERATOR, Desk, confirmed, loaded, prepared, seen, terminal, text_of, told, until

pytestmark = pytest.mark.asyncio


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
