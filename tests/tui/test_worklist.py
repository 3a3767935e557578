"""The worklist: what it shows, and that it leaves its user alone."""

import re
from pathlib import Path

import pytest

from scanside.runtime.appliance.store.records import Warned
from scanside.runtime.appliance.store.states import State
from scanside.tui.app import ScansideApp
from scanside.tui.worklist.screen import WorklistScreen
from scanside.tui.worklist.table import CaseTable
from tests.tui.desk import Desk, loaded, seen, terminal, text_of, until

pytestmark = pytest.mark.asyncio


async def test_every_state_is_told_in_words_with_a_symbol(desk: Desk) -> None:
    cases = desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        lines = {line.strip(" ▌")[:11]: line for line in text_of(app).splitlines()}
        expected = {
            "done": ("✓ done", "● PDAC 0.71 (0.58–0.82)", "✓ 2/2"),
            "indeterminate": ("✓ done", "◇ indeterminate"),
            "no lesion segmented": ("✓ done", "○ no lesion segmented"),
            "unsuitable input": ("✓ done", "! unsuitable input"),
            "rejected": ("⊘ rejected", "⊘ rejected"),
            "cancelled": ("– cancelled",),
            "quarantined": ("✗ failed",),
            "tried again": ("↻ try 2 after memory",),
            "stuck": ("↑ sending", "✗ 0/2"),
            "review": ("◆ review", "● PDAC 0.64 (0.51–0.75)", "◆ waits"),
            "paused": ("‖ paused",),
            "queued": ("◌ queued",),
            "running": ("▶  32 %",),
            "receiving": ("↓ receiving",),
        }
        assert set(expected) == set(cases)
        for name, words in expected.items():
            for word in words:
                assert word in lines[cases[name]], f"{name}: {lines[cases[name]]}"
        assert "0.50" not in text_of(app), "an indeterminate result shows no number"
        assert "RESEARCH USE ONLY" in text_of(app)


async def test_a_running_case_tells_how_long_it_still_takes_from_todays_times(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.finish(number, 3600 * number)
    case_id = desk.run(9, 20)
    desk.progress(case_id, "t2w: network", 15, 30)
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        # Half of 24 s of the network, then 1 s, 9 s and 0.02 s.
        assert "22 s" in next(line for line in text_of(app).splitlines() if "▶" in line)
        await seen(pilot, app, "about 22 s left")


async def test_new_arrivals_do_not_steal_the_cursor(desk: Desk) -> None:
    for number in range(60):
        desk.receive(number, 10_000 - number)
    app = terminal(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, app)
        table = app.screen.query_one(CaseTable)
        await pilot.press("pagedown", "pagedown", "down")
        cursor, line = table.cursor, _line_of_cursor(app.screen.query_one(CaseTable))
        for number in range(100, 105):
            desk.receive(number, 100)
        await until(pilot, lambda: len(table.shown) == 65, "the new cases")
        await pilot.pause()
        assert table.cursor == cursor and _line_of_cursor(table) == line
        await pilot.press("down")
        assert table.shown.index(table.cursor or "") == table.shown.index(cursor or "") + 1


async def test_at_the_top_new_arrivals_are_seen_and_the_cursor_stays_with_its_case(desk: Desk) -> None:
    first = desk.receive(1)
    app = terminal(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, app)
        table = app.screen.query_one(CaseTable)
        new = desk.receive(2, 5)
        await until(pilot, lambda: list(table.shown) == [new, first], "the new case")
        assert table.cursor == first and table.scroll_offset.y == 0


def _line_of_cursor(table: CaseTable) -> int:
    return table.shown.index(table.cursor or "") - table.scroll_offset.y


async def test_when_nobody_works_a_running_case_is_stalled_and_in_trouble(desk: Desk) -> None:
    case_id = desk.run(1, 20)
    desk.progress(case_id, "t2w: network", 26, 30)
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await seen(pilot, app, "▶")
        desk.die()
        await seen(pilot, app, "stalled")
        text = text_of(app)
        assert "left" not in text and "▶" not in text and "trouble 1" in text
        assert "service not running" in text and "1 stalled" in text


async def test_enter_opens_the_case(desk: Desk) -> None:
    case_id = desk.one_of_each()["review"]
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        assert app.screen.query_one(CaseTable).move_to(case_id)
        await pilot.press("enter")
        await until(pilot, lambda: getattr(app.screen, "case_id", None) == case_id, "the case screen")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, WorklistScreen), "the worklist")
        assert app.screen.query_one(CaseTable).cursor == case_id


async def test_the_line_below_says_what_the_table_has_no_room_for(desk: Desk) -> None:
    cases = desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, app)
        table = app.screen.query_one(CaseTable)
        for name, words in {
            "quarantined": "The network ran out of memory; free some.",
            "rejected": "rejected by user Bob · outline outside the pancreas",
            "stuck": "PACS: The connection was refused.",
        }.items():
            table.move_to(cases[name])
            await pilot.pause()
            assert words in text_of(app), name


async def test_alarms_say_what_needs_a_person_and_the_key_goes_there(desk: Desk) -> None:
    cases = desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await seen(pilot, app, "✗ 1 failed")
        await seen(pilot, app, "✗ 2 not delivered to PACS (tried 1 min ago)")
        await pilot.press("f", "f", "exclamation_mark")
        assert app.screen.query_one(CaseTable).cursor == cases["quarantined"]
        await pilot.press("exclamation_mark")
        assert app.screen.query_one(CaseTable).cursor == cases["stuck"]


async def test_a_case_is_followed_from_arrival_to_delivery(desk: Desk) -> None:
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await seen(pilot, app, "Nothing was received yet")
        case_id = desk.finish(1, 60)
        await seen(pilot, app, "↑ sending")
        desk.deliver(case_id)
        await seen(pilot, app, "✓ done")
        assert desk.case(case_id).state is State.DONE


async def test_what_nobody_sees_draws_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worklist below an open case, while another case computes."""
    case_id = desk.finish(1, hold=True)
    running = desk.run(9, 20)
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        worklist = app.screen
        app.screen.query_one(CaseTable).move_to(case_id)
        await pilot.press("enter")
        await until(pilot, lambda: getattr(app.screen, "data", None) is not None, "the open case")
        await pilot.pause(0.5)
        drawn: list[object] = []
        monkeypatch.setattr(type(app), "_display", lambda self, screen, what: drawn.append(screen))
        for done in range(5):
            desk.progress(running, "t2w: network", done, 30)
            await until(pilot, lambda done=done: app.work.feed.cases[running].done == done, "the progress")
            await pilot.pause(0.1)
        assert not drawn and app.screen is not worklist
        monkeypatch.undo()
        await pilot.press("escape")
        await seen(pilot, app, "▶")
        assert app.screen is worklist


async def test_ids_and_results_go_to_the_clipboard_without_names(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "named", names=True)
    case_id = desk.finish(1, hold=True)
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await pilot.press("y")
        assert app.clipboard == case_id
        await pilot.press("Y")
        assert "PDAC with probability 0.71" in app.clipboard and "RESEARCH USE ONLY" in app.clipboard
        assert "Doe" not in app.clipboard


async def test_an_empty_list_says_what_is_coming(desk: Desk) -> None:
    """The demonstration's first minute: the list was empty, and said that no case fits a filter."""
    app = ScansideApp(
        desk.config, coming=lambda: "The first synthetic patient is being made: about 9 s left.",
        keys=desk.config.service.data / "keys.toml",
    )  # fmt: skip
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await seen(
            pilot, app, "Nothing was received yet. The first synthetic patient is being made: about 9 s left."
        )
        desk.receive(1)
        await until(pilot, lambda: "is being made" not in text_of(app), "the first case")
        await pilot.press("f", "f")
        await seen(pilot, app, "No study fits the filter")


async def test_no_internal_name_reaches_a_screen(desk: Desk) -> None:
    """Names of the store, of stages and of sequences are for programs: a technologist reads other words."""
    desk.one_of_each()
    warned = desk.finish(
        20, 5, hold=True, warnings=(Warned("other", "t2w covers little; dwi and b0 differ."),)
    )
    app = terminal(desk)
    internal = re.compile(r"\b(t2w|dwi|adc|b0|quarantined|claim|held|hold|slide|abandoned|unsent)\b")
    async with app.run_test(size=(200, 60)) as pilot:
        await loaded(pilot, app)
        table = app.screen.query_one(CaseTable)
        for case_id in list(table.shown):
            table.move_to(case_id)
            await pilot.pause()
            assert not internal.findall(text_of(app)), text_of(app)
        table.move_to(warned)
        await pilot.press("a")
        await seen(pilot, app, "! T2WI covers little; DWI and low-b image differ.")
        assert not internal.findall(text_of(app))


async def test_what_a_key_costs_does_not_grow_with_the_list(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards ask for the studies at every key; a look-up of the table for each row took 0.2 s with 5,000 studies."""
    asked: list[object] = []
    look_up = WorklistScreen.query_one

    def counted(self: WorklistScreen, *arguments: object) -> object:
        asked.append(arguments)
        return look_up(self, *arguments)  # type: ignore[call-overload]

    for number in range(1, 9):
        desk.finish(number)
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        screen = app.screen
        assert isinstance(screen, WorklistScreen) and len(screen.table.shown) == 8
        monkeypatch.setattr(WorklistScreen, "query_one", counted)
        assert len(screen.subjects("accept")) == 1 and len(asked) < 8
