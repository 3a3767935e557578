"""When a study is complete: not before its associations are closed, nor while its instances are refused."""

import threading
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from scanside.runtime.appliance.store.states import State
from tests.runtime.appliance.receive.receiving import associate, mr_slice, receiver, send, series_files
from tests.support.appliance import until
from tests.support.dicom_factory import ROOT
from tests.support.peers import dcmsend


def test_a_study_is_not_complete_while_its_association_is_open(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", complete_series=1) as desk:
        first, second = associate(desk.port), associate(desk.port)
        assert send(first, mr_slice(1)) == 0 and send(second, mr_slice(2)) == 0
        first.release()
        until(lambda: desk.open_associations == 1, 10, "the first association closed")
        assert desk.cases[0].state is State.RECEIVING
        second.release()
        assert desk.wait_for(State.QUEUED).instances == 2


def test_a_study_is_complete_by_its_number_of_series_before_it_is_quiet(tmp_path: Path) -> None:
    def second_series(dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = f"{ROOT}.77"

    with receiver(tmp_path / "data", quiet_seconds=3600, complete_series=2) as desk:
        association = associate(desk.port)
        assert send(association, mr_slice(1)) == 0
        association.release()
        until(lambda: desk.open_associations == 0, 10, "the association closed")
        assert desk.cases[0].state is State.RECEIVING
        association = associate(desk.port)
        assert send(association, mr_slice(2, second_series)) == 0
        association.release()
        assert desk.wait_for(State.QUEUED).series_count == 2


@pytest.mark.parametrize("how", ["abort", "lost"])
def test_a_study_completes_also_when_its_sender_breaks_off(tmp_path: Path, how: str) -> None:
    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port)
        assert send(association, mr_slice(1)) == 0
        if how == "abort":
            association.abort()
        else:
            association.dul.socket.socket.close()
        assert desk.wait_for(State.QUEUED).instances == 1
        assert desk.open_associations == 0


def test_a_study_sent_by_two_at_once_is_one_study(tmp_path: Path) -> None:
    files = series_files(tmp_path / "files", 20)
    with receiver(tmp_path / "data", quiet_seconds=1) as desk:
        port, codes = desk.port, []

        def one(part: list[Path]) -> None:
            codes.append(dcmsend(port, part).returncode)

        threads = [
            threading.Thread(target=one, args=(part,)) for part in (files[:12], files[8:], files[5:15])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == [0, 0, 0]
        assert desk.wait_for(State.QUEUED).instances == 20
        assert len(desk.spooled()) == 20 and len(desk.cases) == 1
