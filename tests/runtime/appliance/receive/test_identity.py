"""Instances that do not say who they are, or say another than was announced, are refused with a reason."""

import json
import logging
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.runtime.appliance.receive.receiving import (
    MR,
    associate,
    data_set_of,
    mr_slice,
    receiver,
    send,
    send_bytes,
)
from tests.support.appliance import until
from tests.support.dicom_factory import ROOT


def drop(keyword: str) -> "type[Dataset] | object":
    def change(dataset: Dataset) -> None:
        delattr(dataset, keyword)

    return change


def put(keyword: str, value: str) -> object:
    def change(dataset: Dataset) -> None:
        dataset.add_new(keyword, "UI" if keyword.endswith("UID") else "PN", value)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop("StudyInstanceUID"), "the data set has no StudyInstanceUID"),
        (drop("SeriesInstanceUID"), "the data set has no SeriesInstanceUID"),
        (drop("SOPInstanceUID"), "the data set has no SOPInstanceUID"),
        (drop("SOPClassUID"), "the data set has no SOPClassUID"),
        (put("StudyInstanceUID", ""), "StudyInstanceUID is not a UID"),
        (put("SeriesInstanceUID", "../../etc"), "SeriesInstanceUID is not a UID"),
        (put("StudyInstanceUID", "1.2\\1.3"), "StudyInstanceUID is not a UID"),
    ],
)
def test_an_instance_that_does_not_say_who_it_is_is_kept_aside(
    tmp_path: Path, change: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "bad.dcm"
    announced = (MR, f"{ROOT}.1.3.1")
    with pydicom.config.disable_value_validation():
        mr_slice(1, change).save_as(path, enforce_file_format=True)  # type: ignore[arg-type]
    with receiver(tmp_path / "data") as desk, caplog.at_level(logging.DEBUG, "scanside"):
        association = associate(desk.port)
        assert send_bytes(association, data_set_of(path), *announced) == (0xC000, reason)
        assert send(association, mr_slice(2)) == 0, "the association goes on"
        association.release()
        (entry,) = until(lambda: desk.audited("instance refused"), 10, "the audit entry")
        assert json.loads(entry.detail) == {"why": reason, "status": "0xC000", "calling": "MR1"}
    (kept,) = (tmp_path / "data" / "quarantine").rglob("*.dcm")
    assert data_set_of(kept) == data_set_of(path)
    assert json.loads(kept.with_suffix(".reason").read_text())["reason"] == reason
    assert ROOT not in caplog.text and "Phantom" not in caplog.text


@pytest.mark.parametrize(
    ("keyword", "status"), [("SOPInstanceUID", 0xA900), ("SOPClassUID", 0xA900), (None, 0)]
)
def test_an_instance_that_is_another_than_announced_is_refused(
    tmp_path: Path, keyword: str | None, status: int
) -> None:
    dataset = mr_slice(1)
    announced = (dataset.SOPClassUID, dataset.SOPInstanceUID)
    if keyword:
        setattr(dataset, keyword, f"{ROOT}.9.9")
    path = tmp_path / "one.dcm"
    dataset.save_as(path, enforce_file_format=True)
    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port)
        assert send_bytes(association, data_set_of(path), *announced)[0] == status
        other = "1.2.840.10008.5.1.4.1.1.4.1"  # announced in a context of another class
        assert send_bytes(association, data_set_of(path), other, announced[1])[0] == 0xC000
        association.release()
        assert len(desk.spooled()) == (status == 0) and desk.incoming() == []
