"""Faults of a machine, and of what is saved of it: each is found by the name of its check."""

import hashlib
import os
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from scanside.runtime.acceptance import machine, saved
from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import intake
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance, Patient
from tests.runtime.acceptance.faults import failed


def test_the_clock(site: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = replace(machine.look_at_clock(site), synchronised=True)
    assert failed(machine.clock(sound)) == set()
    monkeypatch.setattr(time, "time", lambda: datetime(2020, 1, 1).timestamp())
    stale = machine.look_at_clock(site)
    assert failed(machine.clock(stale)) == {"machine: clock is not behind"}
    ahead = replace(sound, peers={"pacs": 90.0})
    assert failed(machine.clock(ahead)) == {"machine: clock is synchronised"}
    unknown = machine.clock(replace(sound, synchronised=False))
    assert [one.result.outcome for one in unknown] == ["passed", "not done"]


def test_a_slow_disk(tmp_path: Path, site: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed([machine.disk_speed((0.001,) * 20)]) == set()
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (time.sleep(0.05), flush(number))[1])
    monkeypatch.setattr(machine, "FLUSH_SECONDS", 0.04)
    assert failed(machine.disk(site)) == {"machine: disk is fast enough"}
    assert list(site.service.data.glob(".flush-*")) == []


def test_a_full_disk() -> None:
    assert failed([machine.disk_room(11e9, 5)]) == set()
    assert failed([machine.disk_room(9e9, 5)]) == {"machine: disk has room"}


def test_a_backup_that_lacks_an_image(tmp_path: Path, site: Config) -> None:
    with Database(site.database, create=True) as db:
        content = b"an image"
        (site.spool / "x").write_bytes(content)
        one = Instance("1.2.9", "1.2", "1.2.3", "x", hashlib.sha256(content).hexdigest(), len(content))
        intake.add_instance(db, one, association="a", calling="MR1", patient=Patient("1", "A"), most=9)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    assert failed([saved.backed_up(site.service.data, tmp_path / "first")]) == set()
    (site.spool / "x").write_bytes(b"another one")
    assert failed([saved.backed_up(site.service.data, tmp_path / "second")]) == {
        "machine: a backup is restored and verified"
    }
    site.database.write_bytes(b"no store" * 999)
    assert failed([saved.backed_up(site.service.data, tmp_path / "third")]) == {
        "machine: a backup is restored and verified"
    }
