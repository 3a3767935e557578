"""What a person does about a result: asked first, in the store, in the audit log with who and when, on the screen."""

import json

import pytest
from textual.widgets import Input, OptionList, Static

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import jobs, orders
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Entry
from scanside.runtime.appliance.store.states import Action, State
from scanside.runtime.study.pipeline import StudyRunner
from scanside.tui.case.choose import JobsScreen, SeriesScreen
from scanside.tui.widgets.confirm import ConfirmScreen
from tests.tui.case.driving import ACTOR, Driver, opened
from tests.tui.case.made import compute, deliver, fixed, history, latest
from tests.tui.case.test_images import data_of

pytestmark = pytest.mark.asyncio


def by_person(config: Config, case_id: str) -> list[Entry]:
    return [entry for entry in history(config, case_id) if entry.actor == ACTOR]


def notes(driver: Driver) -> str:
    """What the terminal has told."""
    return "\n".join(note.message for note in driver.app._notifications)


async def confirm(driver: Driver, reason: str | None = None) -> str:
    """Say yes; returns what was asked."""
    screen = await driver.opens(ConfirmScreen)
    words = " ".join(str(static.content) for static in screen.query(Static))
    if reason is not None:
        screen.query_one(Input).value = reason
    await driver.press("enter")
    await driver.until(lambda: driver.app.screen is not screen, "the question stays")
    return words


async def shows(driver: Driver, words: str) -> None:
    await driver.until(lambda: words in driver.text("#caseline"), f"the screen does not say {words!r}")


@pytest.mark.requirement("review")
async def test_accepting_sends_and_the_screen_says_so(own: Config) -> None:
    case_id = data_of(own).case.case_id
    async with opened(own, case_id) as driver:
        assert "◆ review" in driver.text("#caseline") and "waits until accepted" in driver.panel("delivery")
        assert "nothing has been sent" in driver.panel("result")
        await driver.press("a")
        asked = await confirm(driver)
        assert case_id in asked
        await shows(driver, "↑ sending")
        assert latest(own, case_id).state is State.SENDING
        (entry,) = by_person(own, case_id)
        assert (entry.action, entry.actor, json.loads(entry.detail)["to"]) == ("accept", ACTOR, "sending")
        await driver.until(lambda: "user ann: accept → sending" in driver.panel("history"))
        assert f"accepted by {ACTOR}" in driver.panel("result")
        assert "◌ waits" in driver.panel("delivery")
        deliver(own)
        await shows(driver, "✓ done")
        await driver.until(lambda: driver.panel("delivery").count("✓ delivered") == 2)


async def test_no_means_no(own: Config) -> None:
    case_id = data_of(own).case.case_id
    before = latest(own, case_id)
    async with opened(own, case_id) as driver:
        for key in ("a", "r", "m", "x"):
            await driver.press(key)
            await driver.opens(ConfirmScreen)
            await driver.press("escape")
            await driver.until(lambda: driver.app.screen is driver.case)
        assert latest(own, case_id) == before and not by_person(own, case_id)


async def test_a_rejection_needs_a_reason_and_keeps_the_result_here(own: Config) -> None:
    case_id = data_of(own).case.case_id
    async with opened(own, case_id) as driver:
        await driver.press("r")
        screen = await driver.opens(ConfirmScreen)
        await driver.press("enter")
        assert driver.app.screen is screen, "without a reason it is still asked"
        screen.query_one(Input).value = "motion"
        await driver.press("enter")
        await shows(driver, "rejected")
        (entry,) = by_person(own, case_id)
        assert entry.action == "reject" and json.loads(entry.detail)["reason"] == "motion"
        await driver.until(lambda: "“motion”" in driver.panel("history"))
        assert "given up" in driver.panel("delivery") and f"rejected by {ACTOR}" in driver.panel("result")


async def test_a_lesion_is_marked_as_false_by_name(own: Config) -> None:
    case_id = data_of(own).case.case_id
    async with opened(own, case_id) as driver:
        await driver.press("g")
        spot = driver.case.viewer.looking.spot if driver.case.viewer.looking else None
        assert spot is not None and spot.role == "dwi"
        await driver.press("m")
        asked = await confirm(driver, "a vessel")
        assert "DWI lesion 1" in asked and "R12 P8 S6" in asked
        await driver.until(lambda: latest(own, case_id).verdict == "false lesion")
        (entry,) = by_person(own, case_id)
        assert entry.action == "marked false lesion"
        assert json.loads(entry.detail)["reason"] == "DWI lesion 1: a vessel"
        await driver.until(lambda: f"false lesion by {ACTOR}" in driver.panel("result"))
        assert latest(own, case_id).state is State.REVIEW, "it still has to be accepted or rejected"


async def test_sending_again_and_running_again_after_it_is_done(own: Config, runner: StudyRunner) -> None:
    case_id = data_of(own).case.case_id
    with Database(own.database) as database:
        jobs.act(database, 1, Action.ACCEPT, "user bob")
    deliver(own)
    async with opened(own, case_id) as driver:
        assert "✓ done" in driver.text("#caseline")
        await driver.press("a")
        assert "accepted can be what is review" in notes(driver) and driver.app.screen is driver.case
        await driver.press("w")
        await confirm(driver)
        await shows(driver, "↑ sending")
        await driver.until(lambda: driver.panel("delivery").count("◌ waits") == 2)
        assert [entry.action for entry in by_person(own, case_id)] == ["send again"]


async def test_cancel_and_try_again(own: Config) -> None:
    case_id = data_of(own).case.case_id
    async with opened(own, case_id) as driver:
        await driver.press("x")
        await confirm(driver)
        await shows(driver, "cancelled")
        await driver.press("t")
        await confirm(driver)
        await shows(driver, "queued")
        assert [entry.action for entry in by_person(own, case_id)] == ["cancel", "retry"]
        await driver.press("n")
        assert "wait for it" in notes(driver) and driver.app.screen is driver.case


async def test_series_are_chosen_with_the_rules_reasons_and_the_study_runs_again(
    own: Config, runner: StudyRunner
) -> None:
    case_id = data_of(own).case.case_id
    async with opened(own, case_id) as driver:
        await driver.press("N")
        screen = await driver.opens(SeriesScreen)
        assert isinstance(screen, SeriesScreen)
        await driver.until(lambda: screen.rows, "no series are listed")
        names = [row.name for row in screen.rows]
        assert len(names) == 5 and any("localizer" in name for name in names)
        place = next(n for n, row in enumerate(screen.rows) if row.chosen == "t2w")
        why = screen.query_one("#why", Static)
        for _ in range(place):
            await driver.press("down")
        assert f"T2WI   {screen.rows[place].verdicts['t2w'].score:g} points" in str(why.content)
        low = next(n for n, row in enumerate(screen.rows) if row.b == 50)
        await driver.press("space", *["down"] * (low - place), "space", "backspace")
        high = next(n for n, row in enumerate(screen.rows) if row.b == 800)
        await driver.press(*["down"] * (high - low), "space")
        expected = {"t2w": screen.rows[place].key, "dwi": screen.rows[high].key}
        assert screen.chosen == expected, "the T2WI is taken, so the next free one is the DWI"
        await driver.press("space", "backspace", "space")
        assert screen.chosen == expected, "it was the ADC for a moment, then nobody's, then the DWI again"
        await driver.press("enter")
        asked = await confirm(driver)
        assert "2 chosen series" in asked
        await driver.until(lambda: len(driver.case.data.jobs) == 2 if driver.case.data else False)
        now = latest(own, case_id)
        assert (now.job, now.state, dict(now.series)) == (2, State.QUEUED, expected)
        (entry,) = by_person(own, case_id)
        assert entry.action == "run again" and json.loads(entry.detail)["series"] == expected
        await shows(driver, "job 2, latest of 2")
        await driver.until(lambda: "No result yet" in driver.panel("result"))
        assert "chose the series for" in driver.panel("series")


async def test_what_cannot_be_used_cannot_be_chosen(own: Config) -> None:
    """A localiser of three slices is no stack of a b-value; a series with a gap has a problem and says it."""
    data = data_of(own)
    gap = next(one for one in data.wanted if one.sequence == "t2w").files
    headers = sorted(gap)
    headers[5].unlink()
    async with opened(own, data.case.case_id) as driver:
        await driver.press("N")
        screen = await driver.opens(SeriesScreen)
        assert isinstance(screen, SeriesScreen)
        await driver.until(lambda: screen.rows)
        place = next(n for n, row in enumerate(screen.rows) if row.problem)
        await driver.press(*["down"] * place, "space")
        assert screen.chosen == {} and str(screen.rows[place].problem) in notes(driver)
        assert f"✗ {screen.rows[place].problem}" in str(screen.query_one("#why", Static).content)
        await driver.press("escape")
        await driver.until(lambda: driver.app.screen is driver.case)
        assert latest(own, data.case.case_id).job == 1


async def test_earlier_jobs_are_looked_at_and_not_acted_upon(own: Config, runner: StudyRunner) -> None:
    case_id = data_of(own).case.case_id
    with Database(own.database) as database:
        jobs.act(database, 1, Action.REJECT, "user bob", "wrong series")
        assert orders.rerun(database, case_id, "user bob") == 2

    def empty(document: dict[str, object]) -> None:
        fixed(document)
        document.update(status="no lesion segmented", reason="None.", lesions=[], probability=None)

    compute(own, runner, hold=True, change=empty, now=data_of(own).case.arrived + 50)
    async with opened(own, case_id) as driver:
        assert "job 2, latest of 2" in driver.text("#caseline") and "NO LESION" in driver.panel("result")
        await driver.press("h")
        screen = await driver.opens(JobsScreen)
        listed = screen.query_one(OptionList)
        assert listed.option_count == 2 and "rejected" in str(listed.get_option_at_index(1).prompt)
        await driver.press("down", "enter")
        await shows(driver, "job 1, NOT THE LATEST of 2")
        await driver.until(lambda: "P(PDAC)" in driver.panel("result"))
        assert "rejected by user bob" in driver.panel("result")
        await driver.ready()
        assert driver.outlined() > 12
        for key in ("a", "m", "n", "x"):
            await driver.press(key)
            assert driver.app.screen is driver.case
        assert notes(driver).count("earlier computation") >= 1 and not by_person(own, case_id)
        await driver.press("h", "up", "enter")
        await shows(driver, "job 2, latest of 2")


@pytest.mark.requirement("review")
@pytest.mark.parametrize("key", ["a", "m"])
async def test_nobody_judges_a_result_that_they_have_not_seen(own: Config, key: str) -> None:
    """While the question is open the study is computed anew: the answer is refused."""
    case_id = data_of(own).case.case_id
    async with opened(own, case_id) as driver:
        await driver.press(key)
        await driver.opens(ConfirmScreen)
        computed_anew(own)
        await confirm(driver, "seen" if key == "m" else None)
        await driver.until(lambda: "changed since you looked" in notes(driver))
        assert not by_person(own, case_id) and latest(own, case_id).state is State.REVIEW
        assert latest(own, case_id).verdict is None


def computed_anew(config: Config) -> None:
    """Another result of the same job, as after more images have come."""
    with Database(config.database) as database, database.transaction() as write:
        write.execute("UPDATE jobs SET finished = finished + 60, tick = tick + 1000")
