"""What a terminal at rest and a key cost, counted: drawings, layouts, questions to the store."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from textual.screen import Screen
from textual.widget import Widget

from scanside.runtime.appliance.store import outbox
from scanside.tui import feed as feeds
from scanside.tui.estimate import Typical
from scanside.tui.feed import Health
from scanside.tui.widgets import banner
from scanside.tui.widgets.banner import Banner
from scanside.tui.worklist.columns import Scene, columns
from scanside.tui.worklist.detail import DetailStrip
from tests.tui.desk import NOW, Desk, loaded, terminal


class Counted:
    """How often a method of any widget is called, by the widget's class."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.calls: list[str] = []
        real = getattr(owner, name)

        def counted(this: object, *args: object, **options: object) -> object:
            self.calls.append(getattr(this, "id", None) or type(this).__name__)
            return real(this, *args, **options)

        monkeypatch.setattr(owner, name, counted)


@pytest.mark.asyncio
async def test_what_is_as_before_is_not_drawn_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await pilot.pause()
        drawn = Counted(monkeypatch, Widget, "refresh")
        for _ in range(3):  # the disk has other room: no line says so
            screen = app.screen
            screen.store_changed(app.work.feed._reader._snapshot(()))  # type: ignore[attr-defined]
            screen._older()  # type: ignore[attr-defined]
            await pilot.pause()
        assert drawn.calls == []


@pytest.mark.asyncio
async def test_the_cursor_moves_without_laying_the_screen_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        desk.receive(number, 600 + number)
    app = terminal(desk)
    async with app.run_test(size=(160, 40)) as pilot:
        await loaded(pilot, app)
        await pilot.pause()
        before = str(app.screen.query_one(DetailStrip)._words)
        laid_out = Counted(monkeypatch, Screen, "_refresh_layout")
        await pilot.press("down", "down", "down")
        await pilot.pause()
        assert str(app.screen.query_one(DetailStrip)._words) != before
        assert laid_out.calls == []


@pytest.mark.asyncio
async def test_the_clock_is_drawn_when_its_minute_begins(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(Banner, "set_timer", lambda self, delay, callback: waits.append(delay))
    monkeypatch.setattr(banner.time, "time", lambda: NOW + 48)
    app = terminal(desk)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert waits == [pytest.approx(12.05)]


def test_ages_change_with_the_clock_alone(desk: Desk) -> None:
    desk.finish(1, 1800)
    (case,) = feeds.worklist.cases(desk.database)
    assert case.finished is not None
    cell = next(column.cell for column in columns(False) if column.key == "age")

    def age(now: float) -> str:
        return cell(case, Scene(now, Typical(), Health(), False, {}), 6).text

    assert case.finished % 60 not in (0, 59)
    seen = [age(NOW + second) for second in range(180)]
    assert [second for second in range(1, 180) if seen[second] != seen[second - 1]] == [60, 120]
    assert [age(case.finished + since) for since in (0, 20, 61)] == ["now", "20 s", "1 min"]


@pytest.fixture
def reader(desk: Desk) -> Iterator[feeds._Reader]:
    made = feeds._Reader(desk.config, lambda: NOW)
    yield made
    made.close()


def test_the_store_is_asked_only_after_somebody_has_written(
    desk: Desk, reader: feeds._Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    case_id = desk.finish(1)
    asked: list[str] = []
    real = outbox.due
    monkeypatch.setattr(
        outbox, "due", lambda database, name, **more: asked.append(name) or real(database, name, **more)
    )
    for _ in range(5):
        reader._health_due = 0.0
        list(reader.look())
    assert asked == ["PACS"]
    desk.stick(case_id)
    asked.clear()
    reader._health_due = 0.0
    (snapshot,) = [one for one in reader.look() if not one.changed]
    assert asked == ["PACS"] and list(snapshot.health.stuck) == [case_id]


def test_opening_loads_no_monitoring_where_nothing_was_commissioned() -> None:
    script = (
        "import sys, scanside.tui.app; print(*(name for name in sys.modules if name.startswith('scanside.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = {name.rpartition(".")[2] for name in done.stdout.split()}
    assert "drift" in names and "monitoring" not in names
