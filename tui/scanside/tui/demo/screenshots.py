"""The pictures of docs/terminal.md, from the demonstration: `python -m scanside.tui.demo.screenshots docs/terminal`."""

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
from scanside.tui.demo.service import demonstration
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.worklist.table import CaseTable

SIZE = (120, 34)
RESULTS = 3
"""Results to wait for before the pictures are taken; others are still being computed then."""
_MOST_SECONDS = 1800.0


async def take(app: ScansideApp, out: Path) -> None:
    """Drive the app as an operator would, and keep what is on the screen."""
    async with app.run_test(size=SIZE) as pilot:
        await _until(pilot, lambda: _in_review(app) is not None and len(_results(app)) >= RESULTS)
        case_id = _in_review(app)
        assert case_id is not None
        app.screen.query_one(CaseTable).move_to(case_id)
        await _keep(pilot, out / "worklist.svg")
        await pilot.press("enter")
        await _until(pilot, lambda: getattr(app.screen, "data", None) is not None)
        await _until(pilot, lambda: app.work.was_opened(app.work.feed.cases[case_id]))  # the images were read
        await _keep(pilot, out / "case.svg")
        await pilot.press("a")
        await _until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await _keep(pilot, out / "question.svg")
        await pilot.press("enter")
        await app.workers.wait_for_complete([worker for worker in app.workers if worker.group == "actions"])
        await pilot.press("escape", "2")
        await pilot.pause(5)  # peers are asked, the bundle is hashed
        await _keep(pilot, out / "system.svg")


def _results(app: ScansideApp) -> list[str]:
    return [case.case_id for case in app.work.feed.cases.values() if case.status is not None]


def _in_review(app: ScansideApp) -> str | None:
    """A case to look at: one with a number, where there is one."""
    waiting = [case for case in app.work.feed.cases.values() if case.state is State.REVIEW]
    waiting.sort(key=lambda case: (case.status != "ok", case.arrived))
    return waiting[0].case_id if waiting else None


async def _until(pilot: Pilot[None], look: Callable[[], object]) -> None:
    deadline = time.monotonic() + _MOST_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise CaseError(f"The demonstration did not get so far within {_MOST_SECONDS:g} s; see its logs.")
        await asyncio.sleep(0.1)
        await pilot.pause()


async def _keep(pilot: Pilot[None], path: Path) -> None:
    await pilot.pause(0.5)
    path.write_text(pilot.app.export_screenshot(), encoding="utf-8")
    print(path, file=sys.stderr)


def main(out: Path) -> None:
    """Run the demonstration and write four pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with demonstration() as demo:
        config = load_config(demo.config)
        demo.wait_until_ready(config)
        app = ScansideApp(config, place="DEMO, synthetic patients", keys=demo.folder / "no.toml")
        asyncio.run(take(app, out))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
