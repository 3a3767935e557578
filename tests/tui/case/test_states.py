"""What the screen shows of cases in every condition: while they run, of every status, with damaged or missing files."""

import json
from pathlib import Path
from typing import Any

import pytest

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import jobs, verdicts
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.study.pipeline import StudyRunner
from scanside.tui.format import spoken
from tests.runtime.study.tiny_study import CENTRE, TinyStudy, moved, write_dicom
from tests.runtime.study.tiny_study import DWI_GRID as GRID
from tests.tui.case.driving import LARGE, opened
from tests.tui.case.made import ARRIVED, claim, compute, configuration, copied, fixed, receive
from tests.tui.case.test_images import data_of, wanted

pytestmark = pytest.mark.asyncio


async def test_a_running_case_shows_its_stage_and_then_its_result(
    dicom_study: Path, runner: StudyRunner, tmp_path: Path
) -> None:
    config = configuration(tmp_path / "data")
    case_id = receive(config, dicom_study)
    async with opened(config, case_id, LARGE) as driver:
        assert "queued" in driver.text("#caseline") and "No result yet" in driver.panel("result")
        assert driver.outlined() == 0 and "by the rules" in driver.text("#first .foot")
        job = claim(config, ARRIVED + 90)
        with Database(config.database) as database:
            assert jobs.progress(database, job.job, "dwi: slide", 3, 12, 2e9)
        progress = driver.case.query_one("#progress")
        await driver.until(lambda: "DWI: outlining" in driver.text("#progress"))
        assert (
            progress.display
            and "3/12" in driver.text("#progress")
            and "10 s so far" in driver.text("#progress")
        )
        with Database(config.database) as database:
            assert jobs.progress(database, job.job, "t2w: slide", 9, 12, 2e9)
        await driver.until(lambda: "T2WI: outlining █" in driver.text("#progress"))
        assert "9/12" in driver.text("#progress")
        compute(config, runner, job=job, hold=True, change=fixed, now=ARRIVED + 90)
        await driver.until(lambda: "P(PDAC)" in driver.panel("result"), "the result does not appear")
        assert not progress.display and "◆ review" in driver.text("#caseline")
        await driver.ready()
        await driver.until(lambda: driver.outlined() > 10, "the outline does not appear")
        assert "▸*T2WI" in driver.panel("lesions"), "nobody had moved the view: it goes to the lesion"


async def test_a_view_that_was_moved_stays_when_the_result_appears(
    dicom_study: Path, runner: StudyRunner, tmp_path: Path
) -> None:
    config = configuration(tmp_path / "data")
    case_id = receive(config, dicom_study)
    async with opened(config, case_id) as driver:
        await driver.press("home", "j")
        assert driver.pane().number == 14
        compute(config, runner, hold=True)
        await driver.until(lambda: driver.case.data is not None and driver.case.data.report is not None)
        await driver.ready()
        assert driver.pane().number == 14


async def test_a_study_that_is_still_coming(dicom_study: Path, tmp_path: Path) -> None:
    config = configuration(tmp_path / "data")
    case_id = receive(config, dicom_study, complete=False)
    async with opened(config, case_id) as driver:
        assert "receiving" in driver.text("#caseline")
        assert "Images are still coming" in driver.pane().words


async def computed(
    runner: StudyRunner, folder: Path, study: TinyStudy, change: Any = None
) -> tuple[Config, str]:
    config = configuration(folder / "data")
    case_id = receive(config, write_dicom(folder / "study", study))
    compute(config, runner, hold=True, change=change)
    return config, case_id


async def test_no_lesion_is_not_a_negative_finding(runner: StudyRunner, tmp_path: Path) -> None:
    config, case_id = await computed(runner, tmp_path, TinyStudy(t2w=(), dwi=()))
    async with opened(config, case_id, LARGE) as driver:
        words = driver.panel("result")
        assert "NO LESION SEGMENTED (not a negative finding)" in words and "none is given" in words
        assert "P(PDAC)" not in words
        assert driver.outlined() == 0 and driver.pane().number is not None
        await driver.press("g")
        assert any("no lesion" in note.message for note in driver.app._notifications)


async def test_a_lesion_on_one_image_alone_is_indeterminate_without_a_number(
    runner: StudyRunner, tmp_path: Path
) -> None:
    config, case_id = await computed(runner, tmp_path, TinyStudy(dwi=()))
    async with opened(config, case_id, LARGE) as driver:
        words = driver.panel("result")
        assert "◇ INDETERMINATE" in words and "none is given" in words and "(indeterminate)" in words
        assert "none on DWI" in words
        signature = driver.panel("signature")
        assert "absent:" in signature, "features of the DWI have no region"
        assert driver.outlined() > 10 and driver.outlined("second") == 0


async def test_an_unsuitable_study_says_why_and_its_images_can_still_be_seen(
    runner: StudyRunner, tmp_path: Path
) -> None:
    far = moved(GRID, x=150.0)
    centre = (CENTRE[0] + 150.0, *CENTRE[1:])
    config, case_id = await computed(runner, tmp_path, TinyStudy(dwi_grid=far, dwi=((centre, 14.0),)))
    async with opened(config, case_id, LARGE) as driver:
        words = driver.panel("result")
        assert (
            "! UNSUITABLE INPUT" in words and "(unsuitable input)" in words and "refused, see above" in words
        )
        assert driver.case.data is not None and driver.case.data.report is not None
        assert spoken(str(driver.case.data.report.reason))[:40] in words
        assert driver.picture().any(), "the images that were refused"


@pytest.mark.parametrize("status", ["ok", "indeterminate"])
async def test_the_number_has_its_status_beside_it(
    runner: StudyRunner, tmp_path: Path, status: str, reviewed: Config
) -> None:
    config = copied(reviewed, tmp_path / "data")
    data = data_of(config)
    path = config.results / str(data.case.result) / "result.json"
    reason = None if status == "ok" else "Because of that."
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": status, "reason": reason}))
    async with opened(config, data.case.case_id, LARGE) as driver:
        rows = driver.rows("result")
        at = next(n for n, row in enumerate(rows) if "P(PDAC)" in row)
        assert rows[at + 2].startswith(f"{status};"), rows


@pytest.mark.parametrize("sequence", ["t2w", "dwi"])
async def test_a_corrupt_image_is_a_sentence_and_the_rest_works(own: Config, sequence: str) -> None:
    data = data_of(own)
    broken = wanted(data, sequence).files[-1]  # of b = 800 in the DWI
    broken.write_bytes(broken.read_bytes()[:1500])
    async with opened(own, data.case.case_id, LARGE) as driver:
        bad, good = ("first", "second") if sequence == "t2w" else ("second", "first")
        assert "cannot be shown" in driver.pane(bad).words and broken.name in driver.pane(bad).words
        assert driver.picture(good).any() and driver.pane(good).number is not None
        number = driver.pane(good).number
        await driver.press("k")
        assert driver.pane(good).number == (number or 0) + 1
        assert "P(PDAC)" in driver.panel("result") and "T2WI" in driver.panel("lesions")
        await driver.press("v", "i", "plus", "c", "g", "z")
        assert driver.app.screen is driver.case


async def test_all_images_gone(own: Config) -> None:
    data = data_of(own)
    for file in own.spool.rglob("*.dcm"):
        file.unlink()
    async with opened(own, data.case.case_id, LARGE) as driver:
        assert "cannot be shown" in driver.pane("first").words
        assert "cannot be shown" in driver.pane("second").words
        await driver.press("j", "k", "home", "g", "v", "plus", "right", "b", "z", "i")
        assert "P(PDAC)" in driver.panel("result")


async def test_a_missing_result_is_said(own: Config) -> None:
    data = data_of(own)
    (own.results / str(data.case.result) / "result.json").unlink()
    async with opened(own, data.case.case_id, LARGE) as driver:
        words = driver.panel("result")
        assert "cannot be shown" in words and "result.json" in words and "P(PDAC)" not in words
        assert driver.picture().any() and driver.outlined() == 0
        assert "worker: result waits for review" in driver.panel("history")
        assert "waits until accepted" in driver.panel("delivery")


async def test_a_store_that_vanishes_leaves_what_was_seen_and_comes_back(own: Config) -> None:
    data = data_of(own)
    async with opened(own, data.case.case_id) as driver:
        away = own.database.with_name("away.db")
        own.database.rename(away)
        await driver.until(lambda: driver.app.work.feed.health.lost_since is not None)
        await driver.press("j", "tab")
        assert driver.picture().any() and "P(PDAC)" in driver.panel("result")
        away.rename(own.database)
        await driver.until(lambda: driver.app.work.feed.health.lost_since is None)
        with Database(own.database) as database:
            verdicts.mark(database, data.case.job, "false lesion", "seen", "user bob")
        await driver.until(lambda: "user bob: marked false lesion" in driver.panel("history"))


async def test_a_case_that_is_not_in_the_store_is_said(own: Config) -> None:
    async with opened_without(own) as words:
        assert "There is no case AAAAA-AAAAA" in words


def opened_without(config: Config) -> Any:
    """The screen of a case that does not exist."""
    from contextlib import asynccontextmanager

    from scanside.tui.app import ScansideApp
    from scanside.tui.case.screen import CaseScreen
    from tests.tui.case.driving import ACTOR, Driver

    @asynccontextmanager
    async def go() -> Any:
        app = ScansideApp(config, actor=ACTOR, keys=config.service.data / "no keys")
        async with app.run_test(size=(100, 30)) as pilot:
            case = CaseScreen("AAAAA-AAAAA")
            await app.push_screen(case)
            driver = Driver(app, pilot, case)
            await driver.until(lambda: "✗" in driver.text("#caseline"))
            await driver.press("j", "a", "m", "n", "e", "g", "tab")
            yield driver.text("#caseline")

    return go()


async def test_names_are_shown_only_when_the_configuration_says_so(own: Config) -> None:
    data = data_of(own)
    assert data.case.patient.name == "Test^Phantom"
    named = own.model_copy(update={"service": own.service.model_copy(update={"show_names": True})})
    for config, expected in ((own, False), (named, True)):
        async with opened(config, data.case.case_id) as driver:
            assert ("Test Phantom" in driver.text("#caseline")) is expected
            assert ("Phantom" in driver.app.export_screenshot()) is expected
