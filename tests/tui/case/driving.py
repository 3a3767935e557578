"""Driving the case screen in tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Static

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.watch.heartbeat import beat
from scanside.tui.app import ScansideApp
from scanside.tui.case.draw import CHOSEN, Rgb
from scanside.tui.case.glance import Glance
from scanside.tui.case.layout import PanelView
from scanside.tui.case.pane import Pane
from scanside.tui.case.screen import CaseScreen
from tests.tui.case.made import ARRIVED

ACTOR = "user ann"
LARGE = (200, 60)
"""All panels are shown."""
NOW = ARRIVED + 100


@dataclass
class Driver:
    """The terminal with a case open, and a hand on its keys."""

    app: ScansideApp
    pilot: Pilot[None]
    case: CaseScreen

    async def until(self, look: Callable[[], object], what: str = "") -> None:
        """Let the terminal work until something is so."""
        deadline = monotonic() + 60
        while not look():
            assert monotonic() < deadline, what or "what was waited for did not happen"
            await self.pilot.pause(0.01)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def opens(self, kind: type[Screen]) -> Screen:
        """Wait for a screen on top."""
        await self.until(lambda: isinstance(self.app.screen, kind), f"{kind.__name__} does not open")
        return self.app.screen

    async def ready(self) -> None:
        """Wait until the case and its images are on the screen."""
        viewer = self.case.viewer
        await self.until(lambda: self.case.data is not None and not viewer.reading, "the case is not read")
        if viewer.shown:
            shown = [pane for pane in self.case.query(Pane) if pane.display]
            await self.until(
                lambda: all(p.words or p.surface.picture is not None for p in shown), "no picture"
            )
        await self.pilot.pause()

    def pane(self, name: str = "first") -> Pane:
        return self.case.query_one(f"#{name}", Pane)

    def picture(self, name: str = "first") -> Rgb:
        picture = self.pane(name).surface.picture
        assert picture is not None, self.pane(name).words
        return picture

    def outlined(self, name: str = "first") -> int:
        """Number of pixels of the outline of the lesion that is looked at."""
        return int((self.picture(name) == CHOSEN).all(axis=2).sum())

    def text(self, selector: str) -> str:
        """What a line of words says."""
        return str(self.case.query_one(selector, Static).content)

    def panel(self, name: str) -> str:
        """What a panel says, or would say if it were on top, in one line."""
        view = self.case.query_one(f"#panel-{name}", PanelView)
        assert self.case.data is not None
        if not view.display:
            return one_line(view.panel.build(Glance(self.case.data, self.case._spot, 60)))
        return one_line(self.text(f"#panel-{name} .text"))

    def rows(self, name: str) -> list[str]:
        """The lines of a panel that is on the screen."""
        return self.text(f"#panel-{name} .text").splitlines()


def one_line(words: object) -> str:
    return " ".join(str(words).split())


@asynccontextmanager
async def opened(config: Config, case_id: str, size: tuple[int, int] = (100, 34)) -> AsyncIterator[Driver]:
    """The terminal, with a case on it."""
    for name in NAMES:
        beat(config, name)
    app = ScansideApp(config, actor=ACTOR, clock=lambda: NOW, keys=config.service.data / "no keys")
    async with app.run_test(size=size, notifications=True) as pilot:
        case = CaseScreen(case_id)
        await app.push_screen(case)
        driver = Driver(app, pilot, case)
        await driver.ready()
        yield driver
