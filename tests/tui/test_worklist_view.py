"""The worklist's view: groups, search, order and size of the window, kept for the next time."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from scanside.tui.app import ScansideApp
from scanside.tui.widgets.banner import AlarmLine
from scanside.tui.worklist.screen import WorklistScreen
from scanside.tui.worklist.table import CaseTable
from tests.tui.desk import NOW, Desk, loaded, seen, terminal, text_of, until

pytestmark = pytest.mark.asyncio


async def test_filters_take_a_key_each_and_tell_how_many(desk: Desk) -> None:
    cases = desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        table = app.screen.query_one(CaseTable)
        groups = [
            ("at work", {"receiving", "queued", "paused", "running", "stuck", "tried again"}),
            ("review", {"review"}),
            ("trouble", {"quarantined", "tried again", "stuck"}),
            ("done", {"done", "indeterminate", "no lesion segmented", "unsuitable input"}),
            ("set aside", {"rejected", "cancelled"}),
        ]
        for group, names in groups:
            await pilot.press("f")
            assert {cases[name] for name in names} == set(table.shown), group
            await seen(pilot, app, f"{group} {len(names)}")
        await pilot.press("f")
        assert len(table.shown) == len(cases)
        await pilot.press("F")
        assert set(table.shown) == {cases["rejected"], cases["cancelled"]}


async def test_search_finds_words_in_all_that_is_shown(desk: Desk) -> None:
    cases = desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        table = app.screen.query_one(CaseTable)
        await pilot.press("slash", *"memory", "enter")
        assert set(table.shown) == {cases["quarantined"], cases["tried again"]}
        assert app.focused is table
        await pilot.press("escape")
        assert len(table.shown) == len(cases)
        await pilot.press("slash", *cases["review"][:5].lower(), "enter")
        assert cases["review"] in table.shown
        assert "Doe" not in text_of(app), "names are shown only where that is configured"


async def test_names_are_shown_and_found_only_when_configured(tmp_path: object, desk: Desk) -> None:
    desk.receive(1)
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await pilot.press("slash", *"doe")
        assert not app.screen.query_one(CaseTable).shown
    named = Desk(desk.config.service.data / "named", names=True)
    case_id = named.receive(1)
    app = terminal(named)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await seen(pilot, app, "Doe Ann1")
        await pilot.press("slash", *"doe")
        assert list(app.screen.query_one(CaseTable).shown) == [case_id]


async def test_sorting_by_every_column_and_back(desk: Desk) -> None:
    desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(200, 40)) as pilot:
        await loaded(pilot, app)
        screen = app.screen
        assert isinstance(screen, WorklistScreen)
        table = screen.table
        everything = set(table.shown)
        sorted_by = []
        for number, _ in enumerate(table.columns):
            await pilot.press("s")
            if number < 2:
                await seen_arrow(pilot, app, screen.view.sort)
            order = list(table.shown)
            assert set(order) == everything
            sorted_by.append(screen.view.sort)
            await pilot.press("S")
            if screen.view.sort == "case":
                assert list(table.shown) == sorted(everything, reverse=True)
            await pilot.press("S")
            assert list(table.shown) == order
        assert sorted(sorted_by) == sorted(column.key for column in table.columns)
        while screen.view.sort != "result":
            await pilot.press("s")
        chances = [desk.case(case_id) for case_id in table.shown]
        ok = [case.probability or 0 for case in chances if case.status == "ok"]
        assert ok == sorted(ok, reverse=True) and chances[0].status == "ok"


async def seen_arrow(pilot: Pilot[None], app: ScansideApp, key: str) -> None:
    """The heading of the column carries the arrow."""
    title = next(column.title for column in app.screen.query_one(CaseTable).columns if column.key == key)
    await pilot.pause()
    heading = next(line for line in text_of(app).splitlines() if "Case" in line and "State" in line)
    assert f"{title}▲" in heading or f"{title}▼" in heading, heading


async def test_at_80_columns_only_what_is_shown_is_sorted_by(desk: Desk) -> None:
    desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, app)
        screen = app.screen
        assert isinstance(screen, WorklistScreen)
        for _ in range(7):
            await pilot.press("s")
            await seen_arrow(pilot, app, screen.view.sort)


async def test_at_80_columns_the_row_has_name_and_id_and_the_reason_is_read_below(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "named", names=True)
    case_id = desk.fail(1)
    app = terminal(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, app)
        lines = text_of(app).splitlines()
        assert any("Doe Ann1" in line and case_id in line for line in lines)
        assert "The network ran out of memory; free some." in text_of(app)
        bottom = " ".join(lines[-2:])
        assert "? Help" in bottom and "q Quit" in bottom and "Commands" in bottom


async def test_a_click_on_a_heading_sorts_and_a_click_on_a_line_moves_then_opens(desk: Desk) -> None:
    desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        screen = app.screen
        assert isinstance(screen, WorklistScreen)
        await pilot.click(CaseTable, offset=(3, 0))
        assert screen.view.sort == "case" and list(screen.table.shown) == sorted(screen.table.shown)
        await pilot.click(CaseTable, offset=(3, 4))
        assert screen.table.cursor == screen.table.shown[3]
        await pilot.click(CaseTable, offset=(3, 4))
        case_id = screen.table.cursor
        await until(pilot, lambda: getattr(app.screen, "case_id", None) == case_id, "the case screen")


async def test_resizing_keeps_the_cursor_in_view_and_the_banner_whole(desk: Desk) -> None:
    for number in range(100):
        desk.receive(number, 10_000 - number)
    app = terminal(desk)
    async with app.run_test(size=(200, 60)) as pilot:
        await loaded(pilot, app)
        table = app.screen.query_one(CaseTable)
        await pilot.press("end")
        last = table.cursor
        for size in ((80, 24), (30, 8), (120, 40), (20, 5), (400, 120), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert table.cursor == last
            if size[1] >= 8:
                assert "RESEARCH USE ONLY" in text_of(app), size
                assert (last or "")[:8] in text_of(app), size


async def test_filter_order_and_theme_are_kept_for_the_next_time(desk: Desk) -> None:
    cases = desk.one_of_each()
    app = terminal(desk, theme="light")
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await pilot.press("f", "f", "s", "S")
        chosen = app.screen.view  # type: ignore[attr-defined]
    again = ScansideApp(desk.config, clock=lambda: NOW, keys=desk.config.service.data / "keys.toml")
    async with again.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, again)
        assert (
            isinstance(again.screen, WorklistScreen)
            and again.screen.view == chosen
            and chosen.group == "review"
        )
        assert again.theme == "light" and list(again.screen.table.shown) == [cases["review"]]


async def test_a_click_on_a_group_filters_and_one_on_the_alarm_goes_there(desk: Desk) -> None:
    cases = desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        line = next(line for line in text_of(app).splitlines() if "set aside" in line)
        await pilot.click("#groups", offset=(line.index("done") + 1, 0))
        assert isinstance(app.screen, WorklistScreen) and app.screen.view.group == "done"
        await pilot.press("escape")
        await pilot.click(AlarmLine)
        await until(
            pilot, lambda: app.screen.query_one(CaseTable).cursor == cases["quarantined"], "the alarm's case"
        )
