"""The pictures of docs/terminal.md, from the demonstration: `python -m scanside.tui.demo.screenshots docs/terminal`.

The five tasks of that guide are done by keys alone, as an operator does them, and what is on the screen is kept. The
last one ends the demonstration's service, so that nothing moves any more.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from scanside.runtime.appliance.config import load_config
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import CaseError
from scanside.tui.app import ScansideApp
from scanside.tui.demo.service import Demo, demonstration
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.worklist.table import CaseTable

PICTURES = (
    "worklist", "find", "case", "lens", "question", "correct", "system", "hand-over", "why", "why-system",
)  # fmt: skip
"""Names of the pictures, in the order in which they are taken."""
SIZE = (120, 34)
RESULTS = 3
"""Results to wait for before the pictures are taken; others are still being computed then."""
_MOST_SECONDS = 1800.0


class Photographer:
    """Presses keys and keeps what is on the screen."""

    def __init__(self, app: ScansideApp, pilot: Pilot[None], out: Path) -> None:
        self.app, self.pilot, self._out = app, pilot, out

    async def press(self, *keys: str) -> None:
        """Type."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, look: Callable[[], object]) -> None:
        """Let the program work until something is so."""
        deadline = time.monotonic() + _MOST_SECONDS
        while not look():
            if time.monotonic() > deadline:
                raise CaseError(
                    f"The demonstration did not get so far within {_MOST_SECONDS:g} s; see its logs."
                )
            await asyncio.sleep(0.1)
            await self.pilot.pause()

    async def asked(self) -> None:
        """Until a question is on the screen."""
        await self.until(lambda: isinstance(self.app.screen, ConfirmScreen))

    async def yes(self) -> None:
        """Answer the question, and wait until it is done."""
        await self.press("enter")
        await self.app.workers.wait_for_complete([one for one in self.app.workers if one.group == "actions"])
        await self.pilot.pause(1.5)

    async def keep(self, name: str) -> None:
        """A picture."""
        await self.pilot.pause(0.5)
        path = self._out / f"{name}.svg"
        path.write_text(self.app.export_screenshot(), encoding="utf-8")
        print(path, file=sys.stderr)


async def take(app: ScansideApp, demo: Demo, out: Path) -> None:
    """Drive the app as an operator would, and keep what is on the screen."""
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        here = Photographer(app, pilot, out)
        await here.until(lambda: len(_in_review(app)) >= 2 and len(_results(app)) >= RESULTS)
        await _decide(here)
        await _correct(here)
        await here.press("2")
        await pilot.pause(5)  # peers are asked, the bundle is hashed
        await here.keep("system")
        await _hand_over(here)
        await _nothing_moves(here, demo)


async def _decide(here: Photographer) -> None:
    """Find the study that needs a person, look at it, accept it knowing everything."""
    app = here.app
    case_id = _in_review(app)[0]
    app.screen.query_one(CaseTable).move_to(case_id)
    await here.keep("worklist")
    await here.press("f", "f")
    await here.keep("find")
    app.screen.query_one(CaseTable).move_to(case_id)
    await here.press("enter")
    await here.until(lambda: app.work.was_opened(app.work.feed.cases[case_id]))  # the images were read
    await here.keep("case")
    await here.press("z", "Z")
    await here.keep("lens")
    await here.press("a")
    await here.asked()
    await here.keep("question")
    await here.yes()
    await here.press("escape", "escape")


async def _correct(here: Photographer) -> None:
    """Reject a result by mistake, and take that back."""
    case_id = _in_review(here.app)[0]
    here.app.screen.query_one(CaseTable).move_to(case_id)
    await here.press("r")
    await here.asked()
    await here.press(*"wrong study")
    await here.yes()
    await here.press("U")
    await here.asked()
    await here.keep("correct")
    await here.yes()


async def _hand_over(here: Photographer) -> None:
    """What waits for a person goes to the clipboard."""
    await here.press("1", "f", "f", "home")
    for _ in _in_review(here.app):
        await here.press("space")
    await here.press("Y")
    await here.keep("hand-over")
    await here.press("escape", "escape")


async def _nothing_moves(here: Photographer, demo: Demo) -> None:
    """The service ends."""
    demo.stop_service()
    await here.until(lambda: any("service not running" in one.words for one in here.app.work.alarms))
    await here.keep("why")
    await here.press("2")
    await here.pilot.pause(4)
    await here.keep("why-system")


def _results(app: ScansideApp) -> list[str]:
    return [case.case_id for case in app.work.feed.cases.values() if case.status is not None]


def _in_review(app: ScansideApp) -> list[str]:
    """Cases to look at: those with a number first, where there are any."""
    waiting = [case for case in app.work.feed.cases.values() if case.state is State.REVIEW]
    waiting.sort(key=lambda case: (case.status != "ok", case.arrived))
    return [case.case_id for case in waiting]


def main(out: Path) -> None:
    """Run the demonstration and write the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with demonstration() as demo:
        config = load_config(demo.config)
        demo.wait_until_ready(config)
        app = ScansideApp(config, place="DEMO, synthetic patients", keys=demo.folder / "no.toml")
        asyncio.run(take(app, demo, out))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
