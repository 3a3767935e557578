"""Every test of the terminal: one time zone, no user's keys."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.desk import Desk


@pytest.fixture(autouse=True)
def _one_time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def _patient_with_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test may take longer than a process may be silent."""
    monkeypatch.setattr("scanside.tui.feed.STALE_SECONDS", 3600.0)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "data")
