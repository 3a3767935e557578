"""How the case looks: SVG snapshots of fixed data at three sizes and in three themes.

What the shell around it shows (banner, alarms, keys) is left out: it has snapshots of its own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from textual.pilot import Pilot

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.study.pipeline import StudyRunner
from scanside.tui.app import ScansideApp
from scanside.tui.case.choose import SeriesScreen
from scanside.tui.case.screen import CaseScreen
from tests.tui.case.driving import ACTOR, NOW, Driver
from tests.tui.case.made import compute, configuration, copied, fixed, receive
from tests.tui.case.test_images import data_of

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}
Compare = Callable[..., bool]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, dicom_study: Path, runner: StudyRunner) -> Config:
    """A reviewed case whose images have no noise, which would make the snapshots large."""
    folder = tmp_path_factory.mktemp("plain")
    for number, file in enumerate(sorted(dicom_study.rglob("*.dcm"))):
        one = pydicom.dcmread(file)
        one.PixelData = (np.rint(one.pixel_array / 100) * 100).astype(np.uint16).tobytes()
        one.save_as(folder / f"{number:04d}.dcm")
    config = configuration(folder / "data")
    receive(config, folder)
    compute(config, runner, hold=True, to=["PACS"], change=fixed)
    return config


def terminal(config: Config, theme: str = "dark") -> ScansideApp:
    return ScansideApp(
        config, actor=ACTOR, theme=theme, clock=lambda: NOW, keys=config.service.data / "no keys"
    )


def opening(config: Config, *keys: str) -> Callable[[Pilot[Any]], Any]:
    """Open the case and press keys."""

    async def run(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, ScansideApp)
        case = CaseScreen(data_of(config).case.case_id)
        await app.push_screen(case)
        driver = Driver(app, pilot, case)
        await driver.ready()
        await case.query("Banner, AlarmLine, KeyLine").remove()
        await pilot.pause()
        await driver.ready()
        await driver.press(*keys)
        if isinstance(app.screen, SeriesScreen):
            screen = app.screen
            await driver.until(lambda: screen.rows)
        await driver.until(
            lambda: len({pane.surface.size for pane in case.query("Pane") if pane.display}) > 0
        )
        await pilot.pause(0.05)

    return run


@pytest.mark.parametrize("theme", ["dark", "light", "high-contrast"])
@pytest.mark.parametrize("size", list(SIZES))
def test_a_case_under_review(plain: Config, snap_compare: Compare, size: str, theme: str) -> None:
    assert snap_compare(terminal(plain, theme), terminal_size=SIZES[size], run_before=opening(plain))


@pytest.mark.parametrize("size", list(SIZES))
def test_a_case_without_colours(
    plain: Config, snap_compare: Compare, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(terminal(plain), terminal_size=SIZES[size], run_before=opening(plain))


def test_choosing_series(plain: Config, snap_compare: Compare) -> None:
    run = opening(plain, "N", "down", "space")
    assert snap_compare(terminal(plain), terminal_size=(120, 40), run_before=run)


def test_a_case_without_result(plain: Config, tmp_path: Path, snap_compare: Compare) -> None:
    config = configuration(tmp_path / "data")
    receive(config, plain.spool)
    assert snap_compare(terminal(config), terminal_size=(80, 24), run_before=opening(config))


def test_an_image_and_a_report_that_are_damaged(plain: Config, tmp_path: Path, snap_compare: Compare) -> None:
    config = copied(plain, tmp_path / "data")
    data = data_of(config)
    with Database(config.database) as database, database.transaction() as write:
        write.execute("UPDATE jobs SET verdict = 'false lesion', verdict_by = 'user bob'")
    (config.results / str(data.case.result) / "result.json").write_text("{}")
    for file in data.wanted[0].files:
        file.unlink()
    assert snap_compare(terminal(config), terminal_size=(80, 24), run_before=opening(config))
