"""The bottom line: which keys it shows, and that a mouse can press them."""

import pytest
from textual.pilot import Pilot

from scanside.tui.app import ScansideApp
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.widgets.keyline import KeyLine
from tests.tui.desk import Desk, loaded, terminal, until

pytestmark = pytest.mark.asyncio


async def press(pilot: Pilot[None], app: ScansideApp, words: str) -> None:
    line = str(app.screen.query_one(KeyLine).content)
    await pilot.click(KeyLine, offset=(line.index(words), 0))
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
