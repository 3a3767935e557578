"""Procedure steps (MPPS): what completes a study, what holds it open, and what is refused; the priority of a study."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom.association import Association

from scanside.runtime.appliance.conformance import conformance_statement
from scanside.runtime.appliance.receive.classes import PROCEDURE_STEP
from scanside.runtime.appliance.receive.incoming import LONGEST_ATTRIBUTES
from scanside.runtime.appliance.receive.mpps import STATUSES
from scanside.runtime.appliance.store.states import State
from tests.runtime.appliance.receive.receiving import MR, Desk, associate, child, mr_slice, receiver
from tests.support.appliance import until
from tests.support.dicom_factory import ROOT

STUDY = f"{ROOT}.1"
LONG = 600.0


def created(state: str = "IN PROGRESS", study: str = STUDY) -> Dataset:
    """As a scanner sends it (PS3.4 table F.7.2-1), as far as it matters here."""
    step, scheduled = Dataset(), Dataset()
    scheduled.StudyInstanceUID, scheduled.AccessionNumber = study, "A1"
    step.ScheduledStepAttributesSequence = [scheduled]
    step.PatientName, step.PatientID = "Test^Phantom", "P1"
    step.PerformedProcedureStepID, step.PerformedStationAETitle = "1", "MR1"
    step.PerformedProcedureStepStatus, step.Modality = state, "MR"
    step.PerformedSeriesSequence = []
    return step


def ended(state: str, images: Sequence[str] = (), sop_class: str = MR) -> Dataset:
    step, series = Dataset(), Dataset()
    step.PerformedProcedureStepStatus = state
    series.SeriesInstanceUID, series.ReferencedImageSequence = f"{STUDY}.2", []
    for uid in images:
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = sop_class, uid
        series.ReferencedImageSequence.append(image)
    step.PerformedSeriesSequence = [series]
    if state == "DISCONTINUED":
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "110513", "DCM", "Doe^Ann felt unwell"
        step.PerformedProcedureStepDiscontinuationReasonCodeSequence = [code]
    return step


class Scanner:
    """Tells of steps and sends images over associations of their own, as scanners do."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def _with(self, work: Callable[[Association], int], classes: tuple[str, ...], **more: Any) -> int:
        association = associate(self._desk.port, classes=classes, **more)
        assert association.is_established
        status = work(association)
        association.release()
        return status

    def create(self, step: Dataset, uid: str | None = "1.2.9") -> int:
        return self._with(
            lambda one: int(one.send_n_create(step, PROCEDURE_STEP, uid)[0].get("Status", -1)),
            (PROCEDURE_STEP,),
        )

    def set(self, step: Dataset, uid: str = "1.2.9") -> int:
        return self._with(
            lambda one: int(one.send_n_set(step, PROCEDURE_STEP, uid)[0].get("Status", -1)), (PROCEDURE_STEP,)
        )

    def images(self, *numbers: int, priority: int = 2, calling: str = "MR1") -> list[str]:
        slices = [mr_slice(number) for number in numbers]

        def work(association: Association) -> int:
            for one in slices:
                assert association.send_c_store(one, priority=priority).Status == 0
            return 0

        self._with(work, (MR,), calling=calling)
        return [str(one.SOPInstanceUID) for one in slices]


def waits(desk: Desk, seconds: float = 0.5) -> bool:
    """Whether the study is still being received after a moment in which many looks happen."""
    until(lambda: desk.open_associations == 0, 20, "the end of the associations")
    time.sleep(seconds)
    return [case.state for case in desk.cases] == [State.RECEIVING]


def test_a_completed_step_completes_its_study_at_once(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", quiet_seconds=LONG) as desk:
        scanner = Scanner(desk)
        assert scanner.create(created()) == 0
        uids = scanner.images(1, 2)
        assert waits(desk)
        assert scanner.set(ended("COMPLETED", uids)) == 0
        case = desk.wait_for(State.QUEUED)
        assert case.instances == 2
        assert [one.detail for one in desk.audited("procedure step completed")] == ['{"images": 2}']
        assert [one.case_id for one in desk.audited("procedure step in progress")] == [case.case_id]


def test_a_message_that_overtakes_images_waits_for_them(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", quiet_seconds=LONG) as desk:
        scanner = Scanner(desk)
        assert scanner.create(created()) == 0
        uids = [*scanner.images(1), str(mr_slice(2).SOPInstanceUID)]
        assert scanner.set(ended("COMPLETED", uids)) == 0
        assert waits(desk), "image 2 is not here"
        scanner.images(2)
        desk.wait_for(State.QUEUED)


def test_images_of_kinds_that_are_not_taken_are_not_waited_for(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", quiet_seconds=LONG) as desk:
        scanner = Scanner(desk)
        scanner.create(created())
        scanner.images(1)
        assert scanner.set(ended("COMPLETED", ["1.2.3.4"], sop_class="1.2.840.10008.5.1.4.1.1.2")) == 0
        desk.wait_for(State.QUEUED)


def test_a_step_in_progress_keeps_its_study_open_for_a_time(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", quiet_seconds=0, step_seconds=3) as desk:
        scanner = Scanner(desk)
        scanner.create(created())
        scanner.images(1)
        assert waits(desk, 1.0), "silence alone would have completed it"
        desk.wait_for(State.QUEUED)


def test_two_steps_of_a_study_both_have_to_end(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", quiet_seconds=LONG) as desk:
        scanner = Scanner(desk)
        scanner.create(created(), "1.2.9")
        scanner.create(created(), "1.2.10")
        uids = scanner.images(1)
        scanner.set(ended("COMPLETED", uids), "1.2.9")
        assert waits(desk)
        scanner.set(ended("DISCONTINUED"), "1.2.10")
        desk.wait_for(State.QUEUED)


def test_a_discontinued_step_is_recorded_and_silence_completes_its_study(tmp_path: Path) -> None:
    with receiver(tmp_path / "data", quiet_seconds=1.5) as desk:
        scanner = Scanner(desk)
        scanner.create(created())
        scanner.images(1)
        assert scanner.set(ended("DISCONTINUED")) == 0
        desk.wait_for(State.QUEUED)
        (entry,) = desk.audited("procedure step discontinued")
        assert "110513" in entry.detail and "Doe" not in entry.detail


def test_what_comes_after_a_step_is_waited_for_in_silence(tmp_path: Path) -> None:
    """A correction over two associations must not be computed after the first."""
    with receiver(tmp_path / "data", quiet_seconds=LONG) as desk:
        scanner = Scanner(desk)
        scanner.create(created())
        scanner.set(ended("COMPLETED", scanner.images(1)))
        desk.wait_for(State.QUEUED)
        scanner.images(2)
        assert waits(desk)


@pytest.mark.parametrize("by", ["create", "set"])
def test_faults_are_answered_with_their_status(tmp_path: Path, by: str) -> None:
    with receiver(tmp_path / "data") as desk:
        scanner = Scanner(desk)
        stated = {code for code, _ in STATUSES}
        if by == "create":
            nowhere = created()
            del nowhere.ScheduledStepAttributesSequence
            seen = [scanner.create(nowhere), scanner.create(created("RUNNING")), scanner.create(created())]
            seen += [scanner.create(created())]
            assert seen == [0x0120, 0x0106, 0x0000, 0x0111]
        else:
            scanner.create(created())
            seen = [scanner.set(ended("COMPLETED"), "1.2.77"), scanner.set(ended("DONE"))]
            seen += [scanner.set(ended("COMPLETED")), scanner.set(ended("COMPLETED"))]
            assert seen == [0x0112, 0x0106, 0x0000, 0x0110]
        assert set(seen) <= stated and all(f"| {code:04X} |" in conformance_statement() for code in stated)


def test_a_step_that_is_no_step_ends_its_association_and_no_other(tmp_path: Path) -> None:
    endless = created()
    endless.add_new(0x00420011, "OB", bytes(LONGEST_ATTRIBUTES + 2))
    with receiver(tmp_path / "data") as desk:
        for message in ("too long", "in a wrong context"):
            sop_class = PROCEDURE_STEP if message == "too long" else MR
            association = associate(desk.port, classes=(sop_class,))
            step = endless if message == "too long" else created()
            association.send_n_create(step, sop_class, "1.2.9")
            until(lambda one=association: not one.is_established, 20, message)  # type: ignore[misc]
        assert Scanner(desk).create(created()) == 0, "that step was never noted"


def test_a_step_survives_the_kill_of_the_receiver(tmp_path: Path) -> None:
    with child(tmp_path, quiet_seconds=LONG) as desk:
        scanner = Scanner(desk)
        assert scanner.create(created()) == 0
        desk.end(9)
        desk.start()
        assert scanner.create(created()) == 0x0111
        uids = scanner.images(1)
        assert scanner.set(ended("COMPLETED", uids)) == 0
        desk.wait_for(State.QUEUED)


def test_the_priority_of_a_study_is_that_of_its_caller_and_of_its_most_urgent_image(tmp_path: Path) -> None:
    callers = [{"ae_title": "MR1"}, {"ae_title": "MR2", "address": "127.0.0.1", "priority": 5}]
    cases = [("MR1", (2, 0), 0), ("MR1", (2, 1, 2), 10), ("MR2", (2,), 5), ("MR2", (1, 0), 15)]
    with receiver(tmp_path / "data", callers=callers) as desk:
        for study, (calling, priorities, _) in enumerate(cases, 1):
            association = associate(desk.port, calling=calling)
            for number, priority in enumerate(priorities):
                image = mr_slice(number, study=str(study))
                assert association.send_c_store(image, priority=priority).Status == 0
            association.release()
        until(lambda: [case.state for case in desk.cases] == [State.QUEUED] * 4, 20, "four studies")
        found = {case.study_uid: case.priority for case in desk.cases}
    assert found == {f"{ROOT}.{study}": expected for study, (*_, expected) in enumerate(cases, 1)}
