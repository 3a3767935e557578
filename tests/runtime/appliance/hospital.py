"""Around a running appliance: what became of a study, and what the PACS says of it, read without Scanside's code."""

import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset

from scanside.runtime.appliance.store import audit, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case, Entry, Item
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import ScansideError
from tests.support import peers
from tests.support.appliance import Appliance, until
from tests.support.small_studies import write_study

Points = npt.NDArray[np.float64]
Code = tuple[str, str]


def send(appliance: Appliance, folder: Path, *options: str, **how: Any) -> None:
    """A study with dcmtk's storescu; every instance of it has to be acknowledged."""
    files = sorted(folder.rglob("*.dcm"))
    done = peers.storescu(appliance.receive_port, files, *options, **how)
    assert done.returncode == 0, done.stdout[-3000:]


def study_uid(folder: Path) -> str:
    return str(pydicom.dcmread(next(folder.rglob("*.dcm")), stop_before_pixels=True).StudyInstanceUID)


def all_cases(appliance: Appliance) -> list[Case]:
    with suppress(ScansideError), Database(appliance.data / "scanside.db") as database:
        return worklist.cases(database)
    return []


def case_of(appliance: Appliance, study: str) -> Case | None:
    """The worklist's line of a study."""
    return next((case for case in all_cases(appliance) if case.study_uid == study), None)


def wait_for(appliance: Appliance, study: str, state: State, seconds: float = 120, job: int = 0) -> Case:
    """Until a study's job, a later one than `job`, is in a state."""

    def look() -> Case | None:
        case = case_of(appliance, study)
        return case if case is not None and case.state is state and case.job > job else None

    try:
        return until(look, seconds, f"the study is {state}")
    except AssertionError as error:
        raise AssertionError(
            f"{error}; it is {case_of(appliance, study)}\n{appliance.log()[-3000:]}"
        ) from None


def items(appliance: Appliance, case: Case, destination: str) -> list[Item]:
    """What goes to a destination of the case's latest job."""
    with Database(appliance.data / "scanside.db") as database:
        return [item for item in outbox.of_job(database, case.job) if item.destination == destination]


@dataclass(frozen=True)
class Back:
    """An object read from the PACS, as file and as data set."""

    kind: str
    path: Path
    dataset: Any


def fetch(pacs: peers.Orthanc, sent: Iterable[Item], folder: Path) -> list[Back]:
    """The stored files of objects."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for item in sent:
        path = folder / f"{item.kind}-{len(found)}.dcm"
        path.write_bytes(pacs.file(item.sop_uid))
        found.append(Back(item.kind, path, pydicom.dcmread(path)))
    return found


def stored(pacs: peers.Orthanc, study: str) -> list[str]:
    """SOP Instance UIDs that the PACS holds of a study, sorted."""
    found = pacs.post(
        "/tools/find", {"Level": "Instance", "Expand": True, "Query": {"StudyInstanceUID": study}}
    )
    return sorted(one["MainDicomTags"]["SOPInstanceUID"] for one in found)


def as_bytes(dataset: Dataset) -> bytes:
    """A data set, without its file meta."""
    with io.BytesIO() as buffer:
        dataset.save_as(buffer, implicit_vr=False, little_endian=True)
        return buffer.getvalue()


def seg_points(dataset: Any, source: Path) -> Points:
    """Patient coordinates (n, 3), mm, of every voxel that a BINARY Segmentation sets (PS3.3 C.7.6.2.1.1).

    Frames have to lie where the images lie that they refer to.
    """
    images = {
        str(one.SOPInstanceUID): one
        for file in source.rglob("*.dcm")
        for one in [pydicom.dcmread(file, stop_before_pixels=True)]
    }
    assert dataset.SegmentationType == "BINARY"
    shared = dataset.SharedFunctionalGroupsSequence[0]
    rows, columns = (float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing)
    found = [np.empty((0, 3))]
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        turned = (shared if "PlaneOrientationSequence" in shared else groups).PlaneOrientationSequence[0]
        axes = np.array(turned.ImageOrientationPatient, float).reshape(2, 3)
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        image = images[str(groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)]
        assert np.abs(corner - np.array(image.ImagePositionPatient, float)).max() < 0.01
        assert np.abs(axes.ravel() - np.array(image.ImageOrientationPatient, float)).max() < 1e-4
        assert dataset.FrameOfReferenceUID == image.FrameOfReferenceUID
        row, column = np.nonzero(frame)
        found.append(corner + column[:, None] * columns * axes[0] + row[:, None] * rows * axes[1])
    return np.concatenate(found)


def nifti_points(path: Path) -> Points:
    """Patient coordinates (n, 3), mm, LPS, of every voxel of a mask, by ITK."""
    image = sitk.ReadImage(str(path))
    where = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1]
    direction = np.array(image.GetDirection()).reshape(3, 3)
    found: Points = np.array(image.GetOrigin()) + (where * np.array(image.GetSpacing())) @ direction.T
    if len(where):  # ITK's own word for one of them
        one = image.TransformIndexToPhysicalPoint([int(i) for i in where[-1]])
        assert np.allclose(found[-1], one, atol=1e-6)
    return found


def farthest(one: Points, other: Points) -> float:
    """Hausdorff distance of two sets of points, mm."""
    from scipy.spatial import cKDTree

    return float(max(cKDTree(one).query(other)[0].max(), cKDTree(other).query(one)[0].max()))


@dataclass(frozen=True)
class Group:
    """A measurement group of a report.

    Attributes:
        numbers: Concept, and full name of the feature if it is one → value, unit.
        codes: Concept → value.
        texts: Concept, words.
        segments: (SOP Instance UID, segment number) that it refers to.
    """

    numbers: dict[tuple[Code, str], tuple[float, str]] = field(default_factory=dict)
    codes: dict[Code, Code] = field(default_factory=dict)
    texts: list[tuple[Code, str]] = field(default_factory=list)
    segments: list[tuple[str, int]] = field(default_factory=list)

    def text(self, concept: Code) -> list[str]:
        return [words for found, words in self.texts if found == concept]


def groups_of(report: Any) -> dict[str, Group]:
    """Tracking identifier → group, of a report by TID 1500."""
    (measurements,) = [item for item in report.ContentSequence if _concept(item) == ("126010", "DCM")]
    found = {}
    for item in measurements.ContentSequence:
        assert _concept(item) == ("125007", "DCM")
        (name,) = [one.TextValue for one in item.ContentSequence if _concept(one) == ("112039", "DCM")]
        found[str(name)] = _group(item.ContentSequence)
    return found


def _group(children: Iterable[Any]) -> Group:
    made = Group()
    for item in children:
        concept = _concept(item)
        if item.ValueType == "NUM":
            value = item.MeasuredValueSequence[0]
            unit = value.MeasurementUnitsCodeSequence[0].CodeValue
            made.numbers[concept, _feature(item)] = (float(value.NumericValue), str(unit))
        elif item.ValueType == "CODE":
            made.codes[concept] = _code(item.ConceptCodeSequence)
        elif item.ValueType == "TEXT":
            made.texts.append((concept, str(item.TextValue)))
        elif item.ValueType == "IMAGE" and "ReferencedSegmentNumber" in item.ReferencedSOPSequence[0]:
            reference = item.ReferencedSOPSequence[0]
            made.segments.append(
                (str(reference.ReferencedSOPInstanceUID), int(reference.ReferencedSegmentNumber))
            )
    return made


def _feature(item: Any) -> str:
    names = [
        str(one.TextValue)
        for one in item.get("ContentSequence", [])
        if _concept(one) == ("FEATURE", "99SCANSIDE")
    ]
    return "".join(names)


def _concept(item: Any) -> Code:
    return _code(item.ConceptNameCodeSequence)


def _code(sequence: Any) -> Code:
    return (str(sequence[0].CodeValue), str(sequence[0].CodingSchemeDesignator))


def log_lines(appliance: Appliance) -> Iterator[dict[str, Any]]:
    """Its log, every line of which is JSON."""
    import json

    return map(json.loads, appliance.log().splitlines())


def compute(where: Appliance, number: int, folder: Path, state: State = State.DONE) -> Case:
    """Send a small study, and wait for it."""
    study = write_study(number, folder / f"study-{number}")
    send(where, study)
    return wait_for(where, study_uid(study), state)


def entries(where: Appliance, action: str, case_id: str | None = None) -> list[Entry]:
    with Database(where.data / "scanside.db") as store:
        return [one for one in audit.entries(store, case_id=case_id) if one.action == action]
