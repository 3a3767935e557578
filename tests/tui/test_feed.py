"""The feed: only what is new crosses, and it outlives the store and the service."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scanside.runtime.appliance.store.database import Database
from scanside.tui.feed import FIRST_PAGE, Feed, Snapshot
from scanside.tui.worklist.table import CaseTable
from tests.tui.desk import NOW, Desk, loaded, seen, terminal, text_of, until


class Listener:
    """Takes snapshots as the app does."""

    def __init__(self, desk: Desk) -> None:
        self.snapshots: list[Snapshot] = []
        self.feed = Feed(desk.config, self._take, lambda: NOW)
        self._news = threading.Condition()

    def _take(self, snapshot: Snapshot) -> None:
        with self._news:
            self.snapshots.append(snapshot)
            self.feed.take(snapshot)
            self._news.notify_all()

    def wait(self, look: Callable[[], object], what: str) -> None:
        with self._news:
            assert self._news.wait_for(look, timeout=20), what


def test_the_first_page_comes_first_then_all_then_only_what_changes(desk: Desk) -> None:
    for number in range(FIRST_PAGE + 5):
        desk.receive(number, 100_000 - number, images=1)
    listener = Listener(desk)
    listener.feed.start()
    try:
        listener.wait(lambda: listener.feed.loaded, "the worklist")
        first, second = listener.snapshots[:2]
        assert (len(first.changed), first.complete) == (FIRST_PAGE, False)
        assert (len(second.changed), second.complete) == (FIRST_PAGE + 5, True)
        assert first.changed[0].arrived == max(case.arrived for case in second.changed)
        before = len(listener.snapshots)
        case_id = desk.receive(FIRST_PAGE + 50)
        listener.wait(lambda: case_id in listener.feed.cases, "the new case")
        changed = {case.case_id for one in listener.snapshots[before:] for case in one.changed}
        assert changed == {case_id}
        numbers = [one.number for one in listener.snapshots]
        assert numbers == sorted(set(numbers))
    finally:
        listener.feed.stop()


def test_an_idle_store_sends_nothing(desk: Desk) -> None:
    desk.receive(1)
    listener = Listener(desk)
    reader = listener.feed._reader
    found = [len(list(reader.look())) for _ in range(40)]
    assert found[0] == 2 and sum(found[1:]) == 0
    reader.close()


def test_another_store_in_the_same_place_is_read_from_the_start(desk: Desk, tmp_path: Path) -> None:
    desk.receive(1)
    desk.receive(2)
    listener = Listener(desk)
    listener.feed.start()
    try:
        listener.wait(lambda: len(listener.feed.cases) == 2, "two cases")
        other = Desk(tmp_path / "backup")
        case_id = other.receive(7)
        other.database.close()
        for ending in ("", "-wal", "-shm"):
            desk.config.database.with_name(f"scanside.db{ending}").unlink(missing_ok=True)
        os.replace(other.config.database, desk.config.database)  # noqa: PTH105 - as a restore does
        listener.wait(lambda: set(listener.feed.cases) == {case_id}, "the restored store")
    finally:
        listener.feed.stop()


@pytest.mark.asyncio
async def test_a_store_that_vanishes_is_said_and_one_that_returns_is_shown(desk: Desk) -> None:
    case_id = desk.receive(1)
    away = desk.config.service.data.with_name("away")
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await seen(pilot, app, "◌ queued")
        shutil.move(desk.config.service.data, away)
        await seen(pilot, app, "✗ store not readable since 12:00:00, retrying: what you see is old")
        assert app.screen.query_one(CaseTable).cursor == case_id and "◌ queued" in text_of(app)
        assert app.screen.has_class("lost")
        shutil.move(away, desk.config.service.data)
        await until(pilot, lambda: app.work.feed.health.lost_since is None, "the store again")
        another = desk_again(desk).receive(2, 5)
        await until(pilot, lambda: another in app.screen.query_one(CaseTable).shown, "a new case")
        assert not app.screen.has_class("lost") and app.screen.query_one(CaseTable).cursor == case_id


def desk_again(desk: Desk) -> Desk:
    """The same desk with a connection to the file that is there now."""
    desk.database.close()
    desk.database = Database(desk.config.database)
    return desk


@pytest.mark.asyncio
@pytest.mark.parametrize("damage", ["no store yet", "not a store"])
async def test_it_opens_without_a_store_and_waits_for_one(tmp_path: Path, damage: str) -> None:
    desk = Desk(tmp_path / "data")
    desk.database.close()
    for ending in ("", "-wal", "-shm"):
        desk.config.database.with_name(f"scanside.db{ending}").unlink(missing_ok=True)
    if damage == "not a store":
        desk.config.database.write_bytes(b"nothing that SQLite knows" * 100)
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await seen(pilot, app, "store not readable")
        desk.config.database.unlink(missing_ok=True)
        desk.database = Database(desk.config.database, create=True)
        case_id = desk.receive(1)
        await until(pilot, lambda: app.screen.query_one(CaseTable).cursor == case_id, "the first case")
        assert "store not readable" not in text_of(app)


@pytest.mark.asyncio
async def test_a_service_that_stops_is_said_and_one_that_starts_again_too(desk: Desk) -> None:
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        assert not app.work.alarms
        old = time.time() - 2 * 3600
        os.utime(desk.config.service.data / "work.heartbeat", (old, old))
        await seen(pilot, app, "✗ no sign of life of work")
        for name in ("receive", "work", "deliver"):
            os.utime(desk.config.service.data / f"{name}.heartbeat", (old, old))
        await seen(pilot, app, "✗ service not running")
        desk.live()
        await until(pilot, lambda: not app.work.alarms, "no alarm any more")


@pytest.mark.asyncio
async def test_a_disk_that_fills_is_said_before_and_when_images_are_refused(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [11e9]
    monkeypatch.setattr("scanside.tui.feed.free_bytes", lambda folder: int(free[0]))
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        assert not app.work.alarms
        free[0] = 7.5e9
        await seen(pilot, app, "! disk: 7.5 GB free, refused below 5.0 GB")
        free[0] = 4.2e9
        await seen(pilot, app, "✗ disk full: 4.2 GB free, images are refused")


@pytest.mark.asyncio
async def test_fifty_events_a_second_are_all_shown_in_the_end_and_keys_go_on(desk: Desk) -> None:
    for number in range(200):
        desk.receive(number, 10_000 - number, images=1)
    running = desk.run(300)
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        for step in range(1, 101):
            desk.progress(running, "t2w: network", step, 100)
            if step % 10 == 0:
                await pilot.press("down")
        await until(pilot, lambda: app.work.feed.cases[running].done == 100, "the last event")
        table = app.screen.query_one(CaseTable)
        assert table.shown.index(table.cursor or "") == 10


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["with nonsense", "with an older copy"])
async def test_a_store_that_is_overwritten_in_place_is_noticed(desk: Desk, how: str) -> None:
    first = desk.receive(1)
    path = desk.config.database
    desk.database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    older = path.read_bytes()
    second = desk.receive(2)
    desk.database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    newer = path.read_bytes()
    app = terminal(desk)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot, app)
        await seen(pilot, app, second)
        path.write_bytes(b"nonsense" * 1000 if how == "with nonsense" else older)
        if how == "with nonsense":
            await seen(pilot, app, "store not readable since")
            path.write_bytes(newer)
            await until(pilot, lambda: app.work.feed.health.lost_since is None, "the store again")
        else:
            await until(pilot, lambda: set(app.work.feed.cases) == {first}, "the older store")
