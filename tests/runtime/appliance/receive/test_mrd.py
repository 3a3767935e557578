"""A study that comes by MRD, sequence by sequence, is the study that comes by DICOM; its labels go back."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from scanside.runtime.appliance.store import worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance
from scanside.runtime.appliance.store.states import State
from scanside.runtime.mrd import wire
from scanside.runtime.mrd.client import Answer, send
from scanside.runtime.mrd.from_dicom import header_of, images_of
from scanside.runtime.mrd.header import with_fields
from scanside.runtime.mrd.wire import Image
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import SequenceImage
from tests.runtime.appliance.hospital import case_of, items, study_uid, wait_for
from tests.runtime.appliance.hospital import send as send_dicom
from tests.runtime.study.tiny_study import TinyBundle, write_bundle
from tests.support.appliance import Appliance, appliance, free_port, until
from tests.support.small_studies import write_study


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    folder = tmp_path_factory.mktemp("mrd")
    bundle = write_bundle(folder / "tiny.bundle", TinyBundle())
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": free_port()}
    with appliance(
        folder,
        bundle,
        receive={"quiet_seconds": 600, "complete_series": 3},
        mrd={"port": free_port(), "answer_seconds": 90},
        destinations=[pacs],
    ) as made:
        wait_for_mrd(made)
        yield made


def port(of: Appliance) -> tuple[str, int]:
    line = next(line for line in of.path.read_text().split("[mrd]")[1].splitlines() if "port" in line)
    return ("127.0.0.1", int(line.split("=")[1]))


def wait_for_mrd(of: Appliance) -> None:
    def answers() -> bool:
        with suppress(OSError), socket.create_connection(port(of), timeout=1) as probe:
            probe.sendall(wire.close_message())
            return wire.receive(probe.recv) is not None
        return False

    until(answers, 60, "the receiver answers by MRD")


def sessions(folder: Path) -> dict[str, tuple[str, list[Image]]]:
    """Header and images of each measurement, as a scanner would send them."""
    found = read_study(folder, ("t2w", "dwi", "b0", "adc")).images

    def images(name: str, **fields: Any) -> list[Image]:
        one: SequenceImage = found[name]
        assert one.source is not None
        made = images_of(
            one.volume, one.source, None if name in ("t2w", "adc") else {"b0": 50, "dwi": 800}[name]
        )
        return [replace(image, header=with_fields(image.header, **fields)) for image in made]

    def header(name: str) -> str:
        source = found[name].source
        assert source is not None
        return header_of(source)

    diffusion = [*images("b0"), *images("dwi", repetition=1), *images("adc", image_series_index=2)]
    return {"t2w": (header("t2w"), images("t2w")), "dwi": (header("dwi"), diffusion)}


def deliver(to: Appliance, session: tuple[str, list[Image]], parameters: str = "") -> Answer:
    header, images = session
    return send(port(to), images, header=header, parameters=parameters)


def received(of: Appliance, study: str) -> list[Instance]:
    with Database(of.data / "scanside.db") as database:
        return worklist.instances_of(database, study)


def result(of: Appliance, study: str) -> dict[str, Any]:
    case = case_of(of, study)
    assert case is not None and case.result is not None
    return dict(json.loads((of.data / "results" / case.result / "result.json").read_text()))


def mask(of: Appliance, study: str, role: str) -> Any:
    case = case_of(of, study)
    assert case is not None and case.result is not None
    return sitk.GetArrayFromImage(
        sitk.ReadImage(str(of.data / "results" / case.result / f"{role}_mask.nii.gz"))
    )


def test_two_sessions_become_one_study_with_the_result_of_the_same_study_by_dicom(
    running: Appliance, tmp_path: Path
) -> None:
    by_dicom, by_mrd = write_study(1, tmp_path / "dicom"), write_study(2, tmp_path / "mrd")
    send_dicom(running, by_dicom)
    measurement = sessions(by_mrd)
    study = study_uid(by_mrd)

    first = deliver(running, measurement["t2w"], '{"sendoriginal": true}')
    sent = measurement["t2w"][1]
    assert [wire.image_message(a) for a in first.images] == [wire.image_message(b) for b in sent]
    assert any("are kept as case" in text for text in first.texts), first.texts
    assert any("computed when all of it has come" in text for text in first.texts), first.texts
    running.kill("receive")  # what was acknowledged is on disk
    assert len(received(running, study)) == len(sent)
    until(lambda: running.pids("receive"), 30, "the receiver runs again")
    wait_for_mrd(running)

    second = deliver(running, measurement["dwi"])
    assert any("The study's result is" in text for text in second.texts), (
        second.texts,
        running.log()[-2000:],
    )
    labels = second.labels(measurement["dwi"][1])
    np.testing.assert_array_equal(labels, mask(running, study, "dwi"))

    wait_for(running, study_uid(by_dicom), State.SENDING)
    mine, other = result(running, study), result(running, study_uid(by_dicom))
    for key in ("status", "reason", "labels", "lesions", "signature", "probability", "distance", "warnings"):
        assert mine[key] == other[key], key
    assert mine["probability"] is not None and mine["labels"]["t2w lesion"] > 0
    assert [one["kind"] for one in mine["objects"]] == [one["kind"] for one in other["objects"]]
    cases = {uid: case_of(running, uid) for uid in (study, study_uid(by_dicom))}
    kinds = [sorted(item.kind for item in items(running, case, "pacs")) for case in cases.values() if case]
    assert kinds[0] == kinds[1] and kinds[0]
    assert cases[study].calling == "MRD" and cases[study].series_count == 3  # type: ignore[union-attr]

    # Retrospective reconstruction: the same images again are the same instances, and their labels come at once.
    before = received(running, study), cases[study].job  # type: ignore[union-attr]
    again = deliver(running, measurement["t2w"], '{"contours": true, "colours": true}')
    np.testing.assert_array_equal(again.labels(sent), mask(running, study, "t2w"))
    assert len(again.images) == 3 * len(sent) and b"ROI_lesion" in b"".join(
        i.attributes for i in again.images
    )
    assert (received(running, study), case_of(running, study).job) == before  # type: ignore[union-attr]


def test_what_is_kept_lies_where_the_same_images_lie_as_dicom(running: Appliance, tmp_path: Path) -> None:
    source = write_study(3, tmp_path / "study")
    deliver(running, sessions(source)["t2w"])
    study = study_uid(source)
    theirs = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, source.rglob("*.dcm"))}
    kept = [pydicom.dcmread(running.data / "spool" / one.path) for one in received(running, study)]
    assert len(kept) == 8
    for one in kept:
        other = theirs[one.SOPInstanceUID]
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            np.testing.assert_allclose(one[keyword].value, other[keyword].value, atol=1e-4)
        np.testing.assert_array_equal(one.pixel_array, other.pixel_array)
        for keyword in (
            "StudyInstanceUID",
            "SeriesInstanceUID",
            "FrameOfReferenceUID",
            "PatientID",
            "EchoTime",
        ):
            assert one[keyword].value == other[keyword].value, keyword


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header: header.replace("studyInstanceUID", "studyID"), "no usable studyInstanceUID"),
        (
            lambda header: header.replace("frameOfReferenceUID", "sequenceName"),
            "no usable frameOfReferenceUID",
        ),
        (lambda header: "Dummy XML header", "not XML"),
    ],
)
def test_images_that_name_no_study_go_back_and_are_not_kept(
    running: Appliance, tmp_path: Path, change: Any, words: str
) -> None:
    source = write_study(4, tmp_path / "study")
    header, images = sessions(source)["t2w"]
    found = deliver(running, (change(header), images))
    assert len(found.images) == len(images)
    assert next(text for text in found.texts if text.startswith("ERROR")).count(words) == 1
    assert not received(running, study_uid(source))


def test_a_table_that_has_moved_and_values_that_dicom_cannot_hold_are_refused(
    running: Appliance, tmp_path: Path
) -> None:
    source = write_study(5, tmp_path / "study")
    measurement = sessions(source)
    deliver(running, measurement["t2w"])
    kept = received(running, study_uid(source))
    header, images = measurement["dwi"]
    moved = [
        replace(i, header=with_fields(i.header, patient_table_position=(0.0, 0.0, 30.0))) for i in images
    ]
    found = deliver(running, (header, moved))
    assert any("table stood elsewhere" in text for text in found.texts), found.texts
    broken = [replace(i, data=i.data + np.float32(0.5)) for i in images]
    found = deliver(running, (header, broken))
    assert any("no whole numbers of 16 bits" in text for text in found.texts), found.texts
    assert received(running, study_uid(source)) == kept


def test_the_log_has_no_patient(running: Appliance) -> None:
    log = running.log()
    assert "Small^Patient" not in log and "P00002" not in log
