"""How the screens look, in every theme and size. After an intended change: `pytest tests/tui --snapshot-update`."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from scanside.runtime.appliance.store import jobs, orders, verdicts
from scanside.tui.app import ScansideApp
from scanside.tui.format import Tone
from scanside.tui.system.machine import Gauge
from scanside.tui.system.screen import SystemScreen
from scanside.tui.system.survey import BundleState, Echo, Surveyor
from scanside.tui.widgets.confirm import ConfirmScreen
from scanside.tui.widgets.help import HelpScreen
from scanside.tui.worklist.table import CaseTable
from tests.tui.desk import NOW, Desk, loaded, terminal, until

SIZES = [(80, 24), (120, 40), (200, 60)]
THEMES = ["dark", "light", "high-contrast"]
MACHINE = (
    Gauge("processor", "38 %", 0.38),
    Gauge("memory", "7.6 GB of 32.8 GB", 0.23),
    Gauge("cpu-thermal", "93 °C", 0.93, Tone.BAD),
    Gauge("VDD_GPU_SOC", "10.4 W"),
    Gauge("throttled by heat", "never since the start"),
)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    """A desk at a moment that does not pass, on a machine that does not change."""
    monkeypatch.chdir(tmp_path)
    for module in (jobs, orders, verdicts):
        monkeypatch.setattr(module, "clock", lambda now: NOW if now is None else now)
    monkeypatch.setattr("scanside.tui.feed.free_bytes", lambda folder: 8_000_000_000)
    monkeypatch.setattr(
        "scanside.tui.feed.beats", lambda config: dict.fromkeys(("receive", "work", "deliver"), 0.0)
    )
    monkeypatch.setattr(
        Surveyor, "_machine", lambda self: (MACHINE, ("no GPU readings: nvidia-ml-py is not installed",))
    )
    sound = BundleState("pancreas 3", "0123456789abcdef" * 4, True)
    monkeypatch.setattr("scanside.tui.system.screen.look_at_bundle", lambda path: sound)
    monkeypatch.setattr("scanside.tui.system.screen.verify_bundle", lambda path: sound)
    fault = "PACS cannot be reached at 127.0.0.1:1 (connection refused); check that it runs."
    monkeypatch.setattr(
        "scanside.tui.system.screen.ask_peers", lambda config: {"PACS": Echo(NOW - 60, fault, 0.1)}
    )
    monkeypatch.setattr("scanside.tui.bench.runner.importlib.util.find_spec", lambda name: None)
    return Desk(Path("data"))


async def on_review(pilot: Pilot[None], desk: Desk, case_id: str) -> ScansideApp:
    app = pilot.app
    assert isinstance(app, ScansideApp)
    await loaded(pilot, app)
    assert app.screen.query_one(CaseTable).move_to(case_id)
    await pilot.pause()
    return app


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_worklist(snap_compare: Any, still: Desk, theme: str, size: tuple[int, int]) -> None:
    cases = still.one_of_each()

    async def before(pilot: Pilot[None]) -> None:
        await on_review(pilot, still, cases["review"])

    assert snap_compare(terminal(still, theme=theme), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_worklist_without_colours(
    snap_compare: Any, still: Desk, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    cases = still.one_of_each()

    async def before(pilot: Pilot[None]) -> None:
        await on_review(pilot, still, cases["review"])

    assert snap_compare(terminal(still), terminal_size=size, run_before=before)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_system(snap_compare: Any, still: Desk, theme: str, size: tuple[int, int]) -> None:
    still.one_of_each()

    async def before(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, ScansideApp)
        await loaded(pilot, app)
        await pilot.press("2")
        screen = app.screen
        assert isinstance(screen, SystemScreen)
        await until(pilot, lambda: screen.survey.at and screen.echoes and screen.bundle.sound, "the survey")

    assert snap_compare(terminal(still, theme=theme), terminal_size=size, run_before=before)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bench(snap_compare: Any, still: Desk, theme: str, size: tuple[int, int]) -> None:
    async def before(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, ScansideApp)
        await loaded(pilot, app)
        await pilot.press("3")

    assert snap_compare(terminal(still, theme=theme), terminal_size=size, run_before=before)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_help(snap_compare: Any, still: Desk, theme: str, size: tuple[int, int]) -> None:
    cases = still.one_of_each()

    async def before(pilot: Pilot[None]) -> None:
        app = await on_review(pilot, still, cases["review"])
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen), "the help")

    assert snap_compare(terminal(still, theme=theme), terminal_size=size, run_before=before)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_question(snap_compare: Any, still: Desk, theme: str, size: tuple[int, int]) -> None:
    cases = still.one_of_each()

    async def before(pilot: Pilot[None]) -> None:
        app = await on_review(pilot, still, cases["queued"])
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")

    assert snap_compare(terminal(still, theme=theme), terminal_size=size, run_before=before)


def test_lost(snap_compare: Any, still: Desk) -> None:
    cases = still.one_of_each()

    async def before(pilot: Pilot[None]) -> None:
        app = await on_review(pilot, still, cases["review"])
        still.config.database.rename("away.db")
        await until(pilot, lambda: app.screen.has_class("lost"), "the alarm")

    assert snap_compare(terminal(still), terminal_size=(120, 40), run_before=before)
