"""The bench screen: real child processes, the queue paused as long as they run."""

import json
import os
import shutil
from pathlib import Path

import pytest
from textual.widgets import Input

from scanside.runtime.appliance.store import audit, orders
from scanside.runtime.errors import UsageError
from scanside.tui.bench.results import benchmark_words, stored_results
from scanside.tui.bench.runner import busy_with, parse
from scanside.tui.bench.screen import BenchScreen
from scanside.tui.widgets.confirm import ConfirmScreen
from tests.tui.desk import OPERATOR, Desk, loaded, seen, terminal, text_of, until

RESULTS = Path(__file__).parents[2] / "results" / "benchmarks"


def test_only_benchmarks_can_be_started() -> None:
    assert parse("scanside bench run 'a b' -o x.json") == ["bench", "run", "a b", "-o", "x.json"]
    for text in ("", "serve", "rm -rf /", "bench 'open", "; ls"):
        with pytest.raises(UsageError, match=r"scanside|cannot be read"):
            parse(text)


def test_patients_go_first(desk: Desk) -> None:
    assert busy_with([]) is None
    done, waiting = desk.finish(1), desk.receive(2)
    assert busy_with([desk.case(done)]) is None
    assert "waits to be computed" in (busy_with([desk.case(done), desk.case(waiting)]) or "")


def test_stored_results_are_read_as_what_they_are(tmp_path: Path) -> None:
    for file in RESULTS.glob("p*.json"):
        shutil.copy(file, tmp_path)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"schema": "something.else/1"}')
    (tmp_path / "newer.json").write_text('{"schema": "scanside.bench-run/9", "created": "2027"}')
    peers = {
        "schema": "scanside.bench-peers/3",
        "measured": [
            {
                "facts": {"case": "scan", "peer": peer},
                "quantities": [{"name": "warm", "median": 1000 * samples[0], "samples": samples}],
            }
            for peer, samples in {"nnunetv2": [110.0, 105.0, 115.0], "cpu:fp32": [50.0, 50.0, 50.0]}.items()
        ],
    }
    (tmp_path / "peers.json").write_text(json.dumps(peers))
    found = {one.path.name: one for one in stored_results(tmp_path)}
    assert set(found) == {file.name for file in RESULTS.glob("p*.json")} | {"newer.json", "peers.json"}
    assert found["newer.json"].headline == ("this screen has no reader for it yet",)
    assert found["peers.json"].headline == (
        "scan, warm: cpu:fp32 50.0 s against 110.0 s of nnunetv2, 2.20× (2.10–2.30)",
    )
    assert "none of whole studies" in benchmark_words(tmp_path)


def test_a_result_of_whole_studies_is_what_today_is_held_against(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    results = pytest.importorskip("scanside.benchmarks.results")
    warm = results.quantity("warm", "ms", *[31_000.0, 30_000.0, 32_000.0] * 4, gate=True)
    network = results.quantity("in the network", "ms", 20_000.0)
    document = {
        "schema": "scanside.bench-run/2", "created": "2026-01-02T03:04:05+00:00", "headline": True, "remarks": [],
        "machine": {"processor": "CPU X", "cores": 2},
        "measured": [results.measured("typical", {}, [warm, network]).model_dump()],
    }  # fmt: skip
    (tmp_path / "latency.json").write_text(json.dumps(document))
    assert (
        benchmark_words(tmp_path)
        == "2026-01-02, CPU X, 2 core(s): typical, warm: median 31 s, p90 32 s, max 32 s of 12 runs"
    )
    (tmp_path / "latency.json").write_text(
        json.dumps({**document, "headline": False, "remarks": ["Busy machine."]})
    )
    assert "not to be quoted" in benchmark_words(tmp_path) and "Busy machine." in benchmark_words(tmp_path)


async def _begin(pilot, app, command: str) -> None:  # type: ignore[no-untyped-def]
    await pilot.press("3")
    await until(pilot, lambda: isinstance(app.screen, BenchScreen), "the bench screen")
    app.screen.query_one("#bench-arguments", Input).value = command
    await pilot.press("enter")


@pytest.mark.asyncio
async def test_it_runs_with_the_queue_paused_and_shows_the_output(desk: Desk) -> None:
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await _begin(pilot, app, f"selftest {desk.config.service.bundle}")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await pilot.press("enter")
        await seen(pilot, app, "✗ It has ended with exit code 3.")
        assert "scanside:" in text_of(app), "the sentence of the command"
    actions = [(entry.actor, entry.action) for entry in audit.entries(desk.database)]
    assert actions[-2:] == [(OPERATOR, "queue paused"), (OPERATOR, "queue resumed")]
    assert not orders.is_paused(desk.database)


@pytest.mark.asyncio
async def test_it_does_not_start_while_a_patient_waits(desk: Desk) -> None:
    desk.receive(1)
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await _begin(pilot, app, "selftest x")
        await seen(pilot, app, "patients go first")
        assert not isinstance(app.screen, ConfirmScreen) and not orders.is_paused(desk.database)


@pytest.mark.asyncio
async def test_something_else_is_refused_with_a_sentence(desk: Desk) -> None:
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await _begin(pilot, app, "serve")
        await seen(pilot, app, "are started here; type one of them.")


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["stopped", "terminal closed"])
async def test_stopping_it_lets_the_queue_go_on(desk: Desk, how: str, tmp_path: Path) -> None:
    waits = tmp_path / "fifo.bundle"
    waits.mkdir()
    os.mkfifo(waits / "bundle.json")  # opening it waits for a writer: a benchmark that takes long
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await _begin(pilot, app, f"selftest {waits}")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await pilot.press("enter")
        await seen(pilot, app, "▶ running: scanside selftest")
        assert orders.is_paused(desk.database)
        if how == "stopped":
            await pilot.press("x")
            await seen(pilot, app, "✗ It has ended with exit code -15.")
    assert not orders.is_paused(desk.database)
    with pytest.raises(OSError):  # nobody reads it any more: the child is gone
        os.open(waits / "bundle.json", os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.asyncio
async def test_a_queue_that_was_paused_before_stays_paused(desk: Desk) -> None:
    orders.pause_queue(desk.database, True, "user Bob")
    app = terminal(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await loaded(pilot, app)
        await until(pilot, lambda: app.work.feed.health.paused, "paused")
        await _begin(pilot, app, "selftest /nothing/here")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        await pilot.press("enter")
        await seen(pilot, app, "✗ It has ended with exit code 3.")
    assert orders.is_paused(desk.database)


@pytest.mark.asyncio
async def test_at_80_columns_the_beginning_of_the_command_is_seen(desk: Desk) -> None:
    """It was scrolled out of sight: the cursor stood at its end."""
    app = terminal(desk)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot, app)
        await pilot.press("3")
        await seen(pilot, app, " bench run ")
