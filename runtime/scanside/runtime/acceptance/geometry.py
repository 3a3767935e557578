"""Judging the geometry phantom: what was computed here, and what an archive gives back."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scanside.runtime.acceptance import phantom
from scanside.runtime.acceptance.record import Check, Figure, count, failed, not_done, passed, refused
from scanside.runtime.appliance.store.records import Case, Item
from scanside.runtime.appliance.store.states import Sending
from scanside.runtime.dicom.phantom_study import PATIENT_ID, PATIENT_NAME
from scanside.runtime.dicom.readback import check_seg
from scanside.runtime.dicom.report_codes import VOLUME
from scanside.runtime.errors import ScansideError
from scanside.runtime.study.report import StudyReport
from scanside.runtime.volume import Geometry

GRIDS: Mapping[str, Geometry] = {"t2w": phantom.T2W, "dwi": phantom.DWI}
TAKEN = frozenset(Sending) - {Sending.WAITING, Sending.ABANDONED}
"""States of an object that the archive has."""
_SR_TOLERANCE = 1e-3
"""Relative, of a volume in a report."""


def computed(report: StudyReport) -> tuple[Check, ...]:
    """What the service measured of the phantom, from its result.json."""
    return tuple(_measured(role, grid, report) for role, grid in GRIDS.items())


def _measured(role: str, grid: Geometry, report: StudyReport) -> Check:
    name = f"{role}: volumes and places"
    lesions = [row for row in report.lesions or () if row.role == role]
    if len(lesions) != len(phantom.BODIES):
        what = f"{len(lesions)} bodies were found on {role} instead of {len(phantom.BODIES)}."
        return failed(
            "geometry",
            name,
            what,
            f"{(report.reason or 'The images were changed on the way in').rstrip('.')}.",
        )
    faults, figures = [], []
    mask = phantom.meant(grid)
    for number, (body, row) in enumerate(zip(phantom.BODIES, lesions, strict=True), 1):
        figures += [
            count(f"{body.name}: voxels", row.voxels),
            count(f"{body.name}: volume", row.volume_ml, unit="mL"),
        ]
        faults += _body_faults(body, row.volume_ml, row.centroid_mm)
        expected = int((mask == number).sum())
        if row.voxels != expected:
            faults.append(f"the {body.name} has {row.voxels} voxels instead of {expected}")
    if faults:
        to_do = "Do not use this installation: its images or masks are displaced or scaled. Send this report."
        return failed("geometry", name, f"On {role} {'; '.join(faults)}.", to_do, *figures)
    words = ", ".join(
        f"{body.name} {row.volume_ml:.3f} ml of {body.volume_ml:.3f}"
        for body, row in zip(phantom.BODIES, lesions, strict=True)
    )
    return passed(
        "geometry",
        name,
        f"{words}; every voxel as meant, centroids within {phantom.PLACE_TOLERANCE_MM} mm.",
        *figures,
    )


def _body_faults(body: phantom.Body, volume_ml: float, centroid: Sequence[float]) -> list[str]:
    faults = []
    if abs(volume_ml / body.volume_ml - 1) > phantom.VOLUME_TOLERANCE:
        faults.append(f"the {body.name} has {volume_ml:.3f} ml instead of {body.volume_ml:.3f} ml")
    away = float(np.linalg.norm(np.subtract(centroid, body.centre)))
    if away > phantom.PLACE_TOLERANCE_MM:
        faults.append(f"the {body.name} lies {away:.1f} mm from its place")
    return faults


def held(case: Case, early: Sequence[Item]) -> Check:
    """Nothing may have left before somebody accepted the result.

    Args:
        early: What an archive had before that.
    """
    name = "nothing leaves before it is accepted"
    if early or case.verdict is not None:
        what = f"{_kinds(early) or 'A result'} left before the result was accepted."
        return failed("geometry", name, what, "Report this; set no destination until it is mended.")
    return passed("geometry", name, "The result waited for review, and no archive had anything of it.")


def delivered(destination: str, items: Sequence[Item], commitment: bool) -> tuple[Check, ...]:
    """Whether an archive took everything, and committed it."""
    took = f"{destination}: takes every object"
    committed = f"{destination}: storage commitment"
    own = [item for item in items if item.destination == destination]
    if not own:
        return (not_done("archive", took, "Its rule lets none of the phantom's objects through."),)
    lacking = [item for item in own if item.state not in TAKEN]
    checks = []
    if lacking:
        why = lacking[0].reason or "No answer within the time."
        checks.append(refused("archive", took, f"{destination} did not take {_kinds(lacking)}: {why}"))
    else:
        checks.append(passed("archive", took, f"{destination} took {_kinds(own)}."))
    if not commitment:
        checks.append(not_done("archive", committed, "The configuration asks this destination for none."))
    elif all(item.state is Sending.COMMITTED for item in own):
        checks.append(passed("archive", committed, f"{destination} committed {len(own)} objects."))
    else:
        waiting = [item for item in own if item.state is not Sending.COMMITTED]
        why = next((item.reason for item in waiting if item.reason), "no answer came within the time")
        checks.append(
            failed(
                "archive",
                committed,
                f"{destination} did not commit {_kinds(waiting)}: {str(why).rstrip('.')}.",
                f"Register our AE title, address and send.commitment_port at {destination}, and open the firewall.",
            )
        )
    return tuple(checks)


def _kinds(items: Sequence[Item]) -> str:
    names = [item.kind for item in items]
    return ", ".join(f"{names.count(kind)} {kind.upper()}" for kind in dict.fromkeys(names))


def read_back(
    destination: str, way: str, items: Sequence[Item], found: Mapping[str, Path]
) -> tuple[Check, ...]:
    """Judge the objects that an archive gave back.

    Args:
        way: The service that gave them.
        items: What was sent.
        found: SOP Instance UID → file.
    """
    name = f"{destination}: every object comes back"
    own = [item for item in items if item.destination == destination]
    lacking = [item for item in own if item.sop_uid not in found]
    to_do = f"Look in {destination} whether it keeps, filters or hides these kinds of objects."
    checks = [
        failed("archive", name, f"{destination} does not give back {_kinds(lacking)} over {way}.", to_do)
        if lacking
        else passed("archive", name, f"{len(own)} objects came back over {way}.")
    ]
    there = {item.sop_uid: found[item.sop_uid] for item in own if item.sop_uid in found}
    checks.append(_patient(destination, there))
    kinds = {item.sop_uid: item.kind for item in own}
    segs = [path for uid, path in there.items() if kinds[uid] == "seg"]
    checks.append(_segmentations(destination, segs))
    checks.append(_reports(destination, [path for uid, path in there.items() if kinds[uid] == "sr"]))
    return tuple(checks)


def _patient(destination: str, there: Mapping[str, Path]) -> Check:
    import pydicom

    name = f"{destination}: patient and study unchanged"
    for path in there.values():
        header = pydicom.dcmread(path, stop_before_pixels=True)
        said = (str(header.get("PatientID", "")), str(header.get("PatientName", "")))
        if said != (PATIENT_ID, PATIENT_NAME):
            what = f"{destination} has changed the patient's id or name in an object."
            return failed(
                "archive", name, what, "Switch off coercion and anonymisation for our AE title there."
            )
    if not there:
        return not_done("archive", name, "Nothing came back.")
    return passed("archive", name, "Patient's id and name are those that were sent.")


def _segmentations(destination: str, paths: Sequence[Path]) -> Check:
    """Every voxel of every Segmentation against the phantom's formulas, in the patient's coordinates."""
    name = f"{destination}: Segmentations lie where the bodies are"
    if not paths:
        return not_done("archive", name, "No Segmentation came back.")
    figures: list[Figure] = []
    roles = []
    for path in paths:
        problems = {}
        for role, grid in GRIDS.items():
            try:
                check_seg(path, phantom.meant(grid), grid)
                roles.append(role)
                figures += [
                    count(f"{role} {body.name}: voxels read back", int((phantom.meant(grid) == number).sum()))
                    for number, body in enumerate(phantom.BODIES, 1)
                ]
                break
            except ScansideError as error:
                problems[role] = str(error)
        else:
            role = _role_of(path)
            why = problems[role].partition("is not the mask that was meant: ")[2].partition("; nothing")[0]
            what = f"The Segmentation of {role} from {destination} is displaced or changed: {why}."
            return failed(
                "archive", name, what, "Do not use this installation with this archive. Send this report."
            )
    if sorted(roles) != sorted(GRIDS):
        what = f"{destination} gives back Segmentations of {', '.join(roles)} alone."
        return failed("archive", name, what, f"Look for the others in {destination}.")
    return passed("archive", name, "Every voxel of both lies where the formulas put it.", *figures)


def _role_of(path: Path) -> str:
    """The sequence that a Segmentation is of, by the tracking of its first segment."""
    import pydicom

    try:
        segment = pydicom.dcmread(path, stop_before_pixels=True).SegmentSequence[0]
        word = str(segment.get("TrackingID", "")).split(" ")[0]
    except (AttributeError, IndexError, pydicom.errors.InvalidDicomError):
        word = ""
    return word if word in GRIDS else "t2w"


def _reports(destination: str, paths: Sequence[Path]) -> Check:
    """The volumes that the structured report states."""
    name = f"{destination}: volumes of the report"
    if not paths:
        return not_done("archive", name, "No structured report came back.")
    expected = sorted(
        float((phantom.meant(grid) == number).sum()) * grid.voxel_volume_ml * 1000
        for grid in GRIDS.values()
        for number in range(1, len(phantom.BODIES) + 1)
    )
    for path in paths:
        stated = sorted(volumes_in(path))
        if len(stated) != len(expected) or not np.allclose(stated, expected, rtol=_SR_TOLERANCE, atol=0):
            told = ", ".join(f"{value / 1000:.3f}" for value in stated) or "none"
            what = f"The report from {destination} states the volumes {told} ml."
            return failed(
                "archive", name, what, "Do not use this installation with this archive. Send this report."
            )
    return passed("archive", name, f"{len(expected)} volumes as the phantom has them.")


def volumes_in(path: Path) -> list[float]:
    """Every volume that a structured report states, mm³."""
    import pydicom

    found = []
    waiting = list(pydicom.dcmread(path).get("ContentSequence", ()))
    while waiting:
        item = waiting.pop()
        waiting += list(item.get("ContentSequence", ()))
        name = item.get("ConceptNameCodeSequence") or [None]
        if (
            item.get("ValueType") == "NUM"
            and name[0] is not None
            and str(name[0].get("CodeValue")) == VOLUME[0]
        ):
            found += [float(one.NumericValue) for one in item.MeasuredValueSequence]
    return found
