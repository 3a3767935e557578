"""The bottom line: which keys it shows, and that a mouse can press them."""

import pytest
from textual.pilot import Pilot

from scanside.tui.app import ScansideApp
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.widgets.keyline import KeyLine
from tests.tui.desk import Desk, loaded, terminal, until

pytestmark = pytest.mark.asyncio


async def press(pilot: Pilot[None], app: ScansideApp, words: str) -> None:
    lines = str(app.screen.query_one(KeyLine).content).splitlines()
    row, line = next(pair for pair in enumerate(lines) if words in pair[1])
    await pilot.click(KeyLine, offset=(line.index(words), row))
    await pilot.pause()


async def test_a_click_does_what_the_key_does(desk: Desk) -> None:
    desk.finish(1, hold=True)
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await press(pilot, app, "a Accept")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")


async def test_what_the_state_does_not_allow_cannot_be_clicked(desk: Desk) -> None:
    desk.receive(1)
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await press(pilot, app, "a Accept")
        assert not isinstance(app.screen, ConfirmScreen)
        await press(pilot, app, "2 System")
        await until(pilot, lambda: app.current_mode == "system", "the system screen")


@pytest.mark.parametrize(("key", "most"), [("", 2), ("2", 2), ("3", 2)])
async def test_at_80_columns_every_screen_names_the_others_the_palette_and_the_theme(
    desk: Desk, key: str, most: int
) -> None:
    """One line had no room for screens 1 and 3, for sort, filter and theme."""
    desk.finish(1, hold=True)
    app = terminal(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, app)
        if key:
            await pilot.press(key)
            await pilot.pause()
        line = app.screen.query_one(KeyLine)
        await until(pilot, lambda: "q Quit" in str(line.content), "the keys")
        words = str(line.content)
        assert all(len(part) <= 80 for part in words.splitlines()) and len(words.splitlines()) <= most
        named = {"1 List", "2 System", "3 Bench", "^p Commands", "T Theme", "? Help", "q Quit"}
        assert named <= {part for row in words.splitlines() for part in row.split("  ")}, words
        if not key:
            assert "/ Search  f Filter  s Sort" in words
        await press(pilot, app, "2 System")
        await until(pilot, lambda: app.current_mode == "system", "the system screen")
