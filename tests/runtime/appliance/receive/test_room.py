"""Instances, studies and disks that are too large or too full: refused with a reason, until there is room."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from scanside.runtime.appliance.receive.main import _Service
from scanside.runtime.appliance.store.states import State
from tests.runtime.appliance.receive.receiving import associate, mr_slice, receiver, send, series_files
from tests.support.appliance import until
from tests.support.peers import storescu


def test_an_instance_that_is_too_large_is_refused_and_the_next_is_taken(tmp_path: Path) -> None:
    def large(dataset: Dataset) -> None:
        dataset.Rows, dataset.Columns = 1000, 1000
        dataset.PixelData = bytes(2_000_000)

    with receiver(tmp_path / "data", max_instance_mb=1) as desk:
        association = associate(desk.port)
        answer = association.send_c_store(mr_slice(1, large))
        assert answer.Status == 0xA700 and answer.ErrorComment == "larger than 1 MB (max_instance_mb)"
        assert desk.incoming() == []
        assert send(association, mr_slice(2)) == 0
        association.release()
        assert len(desk.spooled()) == 1


def test_a_study_with_too_many_instances_is_refused(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", max_study_instances=2) as desk:
        association = associate(desk.port)
        assert [send(association, mr_slice(n)) for n in (1, 2, 3, 2)] == [0, 0, 0xA700, 0]
        assert send(association, mr_slice(3, study="2")) == 0, "another study"
        association.release()
        assert len(desk.spooled()) == 3


def test_with_too_little_room_instances_are_refused_before_they_are_written(tmp_path: Path) -> None:
    files = series_files(tmp_path / "files")
    with receiver(tmp_path / "data", reserve_gb=1e9) as desk:
        sent = storescu(desk.port, files, "-nh")
        assert sent.stdout.count("Refused: OutOfResources") == 5, sent.stdout
        (entry,) = until(lambda: desk.audited("disk low"), 10, "the audit entry")
        assert "A700" in entry.detail
        assert desk.spooled() == [] and desk.incoming() == [] and desk.cases == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("NOT TESTED: a small file system cannot be mounted here; run as root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def enlarge(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=40m", str(disk)], check=True)


def big(dataset: Dataset) -> None:
    dataset.Rows, dataset.Columns = 300, 500
    dataset.PixelData = bytes(300_000)


def test_on_a_disk_that_fills_up_nothing_is_acknowledged_that_is_not_there(small_disk: Path) -> None:
    with receiver(small_disk / "data", quiet_seconds=3600) as desk:
        association = associate(desk.port)
        statuses = [send(association, mr_slice(n, big)) for n in range(12)]
        assert set(statuses) == {0, 0xA700}, [hex(one) for one in statuses]
        assert len(desk.instances()) == len(desk.spooled()) == statuses.count(0)
        assert all(path.stat().st_size > 300_000 for path in desk.spooled())
        enlarge(small_disk)
        (entry,) = until(lambda: desk.audited("disk has room"), 10, "that there is room again")
        assert json.loads(entry.detail)["refused"] == statuses.count(0xA700)
        again = [send(association, mr_slice(n, big)) for n in range(12)]
        assert set(again) == {0}
        association.release()
        assert len(desk.instances()) == len(desk.spooled()) == 12
        assert desk.incoming() == []


@pytest.mark.parametrize("rule", [{}, {"complete_series": 1}], ids=["quiet", "series"])
def test_a_study_is_not_complete_while_its_instances_are_refused(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, rule: dict[str, int]
) -> None:
    """Half a study must not be computed: its sender gets the quiet time from when there is room again."""
    ticks, tick = [0], _Service._tick

    def count(service: _Service) -> None:
        tick(service)
        ticks[0] += 1

    monkeypatch.setattr(_Service, "_tick", count)
    with receiver(small_disk / "data", quiet_seconds=0.3, **rule) as desk:
        association = associate(desk.port)
        statuses = [send(association, mr_slice(n, big)) for n in range(12)]
        association.release()
        assert {*statuses} == {0, 0xA700}
        until(lambda: desk.open_associations == 0, 10, "the association is closed")
        before = ticks[0]
        until(lambda: ticks[0] > before + 8, 20, "a second")  # a tick takes 0.1 s
        assert [case.state for case in desk.cases] == [State.RECEIVING]
        enlarge(small_disk)
        (room,) = until(lambda: desk.audited("disk has room"), 10, "that there is room again")
        association = associate(desk.port)
        assert {send(association, mr_slice(n, big)) for n in range(12)} == {0}
        association.release()
        until(lambda: [one.instances for one in desk.cases if one.state is State.QUEUED] == [12], 20, "all")
        assert desk.audited("complete")[0].at >= room.at + 0.25
