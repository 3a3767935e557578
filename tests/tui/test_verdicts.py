"""What a person decides of a result: accepted once it was seen, rejected, marked, and taken back."""

from pathlib import Path

import pytest

from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.records import Warned
from scanside.runtime.appliance.store.states import Action, Sending, State
from scanside.tui.format import FALSE_LESION
from scanside.tui.widgets.confirm import ConfirmScreen
from tests.tui.desk import OPERATOR, Desk, confirmed, loaded, prepared, seen, terminal, text_of, told, until

pytestmark = pytest.mark.asyncio


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
