"""Five things that an operator has to do, done by keys alone; docs/terminal.md shows the same."""

import pytest

from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.records import Warned
from scanside.runtime.appliance.store.states import State
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.worklist.table import CaseTable
from tests.tui.desk import NOW, Desk, loaded, seen, terminal, text_of, until

pytestmark = pytest.mark.asyncio
APART = "The lesions on DWI and T2WI lie 106 mm apart: the signature mixes both."


async def test_find_the_study_that_needs_me(desk: Desk) -> None:
    cases = desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await seen(pilot, app, "! goes there")
        await pilot.press("exclamation_mark")
        assert app.screen.query_one(CaseTable).cursor == cases["quarantined"]
        await seen(pilot, app, "The network ran out of memory; free some.")
        await pilot.press("f", "f")
        assert list(app.screen.query_one(CaseTable).shown) == [cases["review"]]


async def test_decide_it_knowing_everything(desk: Desk) -> None:
    case_id = desk.finish(1, hold=True, chance=0.83, warnings=(Warned("lesions-apart", APART),))
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await pilot.press("enter")
        await until(pilot, lambda: app.work.was_opened(desk.case(case_id)), "the open study")
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        asked = " ".join(text_of(app).split())
        assert (
            "lie 106 mm apart" in asked
            and "PDAC with probability 0.83 (0.70–0.94)" in asked
            and "PACS" in asked
        )
        assert "NOT opened" not in asked
        await pilot.press("enter")
        await app.workers.wait_for_complete()
        assert desk.case(case_id).state is State.SENDING


async def test_find_out_why_nothing_moves(desk: Desk) -> None:
    desk.run(1, 20)
    desk.die()
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await seen(pilot, app, "service not running: start it")
        await seen(pilot, app, "stalled")
        await pilot.press("2")
        await seen(pilot, app, "silent for")


async def test_correct_a_mistake(desk: Desk) -> None:
    case_id = desk.finish(1, hold=True)
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await pilot.press(*"wrong study", "enter")
        await seen(pilot, app, "⊘ rejected")
        await pilot.press("U")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await pilot.press("enter")
        await seen(pilot, app, "◆ review")
        done = [entry.action for entry in audit.entries(desk.database, case_id=case_id)]
        assert done[-2:] == ["reject", "reopen"]


async def test_hand_over_the_shift(desk: Desk) -> None:
    """What still needs a person goes into the message to whoever comes next."""
    ids = {desk.finish(number, 600 + number, hold=True) for number in (1, 2)}
    desk.deliver(desk.finish(3, 5000))
    app = terminal(desk, clock=lambda: NOW)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await pilot.press("f", "f", "space", "space", "Y")
        lines = app.clipboard.splitlines()
        assert {line.split(":")[0].removeprefix("Case ") for line in lines if line.startswith("Case ")} == ids
        assert all("review. Result ok: PDAC" in line for line in lines if line.startswith("Case "))
