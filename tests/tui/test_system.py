"""The system screen against a real store, a real bundle and real peers."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from textual.widgets import Input

from scanside.runtime.appliance.config import Config, DicomDestination, Service
from scanside.tui.alarms import alarms
from scanside.tui.demo.service import demo_bundle, free_port
from scanside.tui.feed import Health
from scanside.tui.system import panels
from scanside.tui.system.screen import SystemScreen
from scanside.tui.system.survey import BundleState, Surveyor
from tests.support.reports import no_lesion
from tests.tui.desk import NOW, Desk, loaded, seen, terminal, text_of, until

pytestmark = pytest.mark.asyncio


@contextmanager
def archive(port: int) -> Iterator[None]:
    """A storage SCP as a process of its own."""
    child = subprocess.Popen([sys.executable, "-m", "scanside.tui.demo.peer", str(port)])
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield
    finally:
        child.kill()
        child.wait()


def with_peers(desk: Desk, *ports: int) -> Desk:
    peers = tuple(
        DicomDestination(name=f"P{n}", ae_title="DEMO-PACS", host="127.0.0.1", port=port, commitment=False)
        for n, port in enumerate(ports)
    )
    desk.config = desk.config.model_copy(update={"destinations": peers})
    return desk


async def test_it_shows_service_queue_times_and_log(desk: Desk) -> None:
    desk.one_of_each()
    app = terminal(desk)
    async with app.run_test(size=(120, 60)) as pilot:
        await loaded(pilot, app)
        await pilot.press("2")
        await seen(pilot, app, "image to result  7 cases today, the last 37 s")
        for words in ("p50 37 s  p90 37 s  p99 37 s", "receive          ✓ runs", "failed           1"):
            assert words in text_of(app)
        log = str(app.screen.query_one("#log-lines").render())
        assert "receiver: study arrived" in log and "user Bob: reject" in log
        await pilot.press("slash", *"reject bob", "enter")
        await until(
            pilot, lambda: "study arrived" not in str(app.screen.query_one("#log-lines").render()), "filtered"
        )
        assert "outline outside the pancreas" in str(app.screen.query_one("#log-lines").render())
        assert app.focused is not None and not isinstance(app.focused, Input)
        await pilot.press("1")
        await seen(pilot, app, "Result, probability")


async def test_peers_are_asked_and_the_answer_is_shown(desk: Desk) -> None:
    here, nobody = free_port(), free_port()
    with archive(here):
        app = terminal(with_peers(desk, here, nobody), clock=time.time)
        async with app.run_test(size=(120, 60)) as pilot:
            await loaded(pilot, app)
            await pilot.press("2")
            await seen(pilot, app, "P0               ✓ answered in")
            await seen(pilot, app, "P1               ✗")
            assert "cannot be reached" in text_of(app)
            screen = app.screen
            assert isinstance(screen, SystemScreen) and not screen.asking
            before = screen.echoes["P0"].at
            await pilot.press("E")
            await until(pilot, lambda: screen.echoes["P0"].at > before, "another answer")


async def test_a_bundle_is_verified_and_a_changed_byte_is_found(tmp_path: Path) -> None:
    bundle = tmp_path / "b.bundle"
    shutil.copytree(demo_bundle(), bundle)
    app = terminal(Desk(tmp_path / "data", bundle=bundle))
    async with app.run_test(size=(120, 60)) as pilot:
        await loaded(pilot, app)
        await pilot.press("2")
        await seen(pilot, app, "✓ every byte is what was exported")
        network = next(bundle.rglob("*.onnx"))
        network.write_bytes(network.read_bytes()[:-1] + b"?")
        await pilot.press("I")
        await seen(pilot, app, "✗ not usable")
        assert "differs" in text_of(app)


async def test_the_device_asked_for_and_obtained_is_that_of_the_last_results(desk: Desk) -> None:
    for number, obtained in enumerate(("openvino", "cpu"), 1):
        case_id = desk.finish(number, 1000 - number)
        folder = desk.config.results / str(desk.case(case_id).result)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(no_lesion(obtained=obtained).text())
    app = terminal(desk)
    async with app.run_test(size=(120, 60)) as pilot:
        await loaded(pilot, app)
        await pilot.press("2")
        await seen(pilot, app, "asked auto, obtained cpu (case")
        assert "some used" in text_of(app) and "openvino" in text_of(app)
        await seen(pilot, app, "✗ not usable")


async def test_a_lost_store_is_said_here_too(desk: Desk) -> None:
    app = terminal(desk)
    async with app.run_test(size=(120, 60)) as pilot:
        await loaded(pilot, app)
        await pilot.press("2")
        desk.config.database.rename(desk.config.database.with_suffix(".away"))
        await seen(pilot, app, "store not readable")
        await seen(pilot, app, "There is no store")


async def test_what_waits_for_a_decision_is_not_late(desk: Desk) -> None:
    """34 objects of results under review were said to be waiting for the PACS."""
    desk.finish(1, hold=True)
    desk.finish(2)
    survey = Surveyor(desk.config).look(NOW)
    words = " ".join(fact.text for fact in panels.peers_panel(survey, desk.config, {}, False, NOW))
    assert "not there yet: 2 wait until their results are accepted, 2 waiting" in words


async def test_a_data_folder_alone_invents_nothing(desk: Desk) -> None:
    desk.finish(1)
    survey = Surveyor(desk.config).look(NOW)
    bare = Config(service=Service(data=desk.config.service.data, bundle=Path("none"), research_use_only=True))
    health = Health(free=1_000_000)
    told = [
        *panels.service_panel(survey, health, bare, configured=False),
        *panels.bundle_panel(survey, BundleState("", sound=None), configured=False),
        *panels.peers_panel(survey, bare, {}, False, NOW, configured=False),
    ]
    words = " ".join(fact.text for fact in told)
    assert words.count("not told by a data folder alone") == 3
    for invented in ("5.0 GB", "No destination is configured", "being verified", "none"):
        assert invented not in words, invented
    assert not alarms([], Health(free=1_000_000, beats={"work": 0.0}), bare, NOW, configured=False)
