"""The XML header of a session: which examination its images belong to, and what a DICOM header says of it.

Source: ISMRMRD, schema/ismrmrd.xsd, and doc/mrd_header.md.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from scanside.runtime.errors import InputError

_SPACE = "{http://www.ismrm.org/ISMRMRD}"
_KEYWORDS = {
    "subjectInformation/patientName": "PatientName",
    "subjectInformation/patientID": "PatientID",
    "subjectInformation/patientBirthdate": "PatientBirthDate",
    "subjectInformation/patientGender": "PatientSex",
    "subjectInformation/patientWeight_kg": "PatientWeight",
    "studyInformation/studyDate": "StudyDate",
    "studyInformation/studyTime": "StudyTime",
    "studyInformation/studyID": "StudyID",
    "studyInformation/accessionNumber": "AccessionNumber",
    "studyInformation/referringPhysicianName": "ReferringPhysicianName",
    "studyInformation/studyDescription": "StudyDescription",
    "studyInformation/bodyPartExamined": "BodyPartExamined",
    "measurementInformation/seriesDate": "SeriesDate",
    "measurementInformation/seriesTime": "SeriesTime",
    "measurementInformation/patientPosition": "PatientPosition",
    "measurementInformation/protocolName": "ProtocolName",
    "measurementInformation/sequenceName": "SequenceName",
    "measurementInformation/seriesDescription": "SeriesDescription",
    "acquisitionSystemInformation/systemVendor": "Manufacturer",
    "acquisitionSystemInformation/systemModel": "ManufacturerModelName",
    "acquisitionSystemInformation/systemFieldStrength_T": "MagneticFieldStrength",
    "acquisitionSystemInformation/institutionName": "InstitutionName",
    "acquisitionSystemInformation/stationName": "StationName",
    "acquisitionSystemInformation/deviceSerialNumber": "DeviceSerialNumber",
    "sequenceParameters/TR": "RepetitionTime",
    "sequenceParameters/TI": "InversionTime",
    "sequenceParameters/flipAngle_deg": "FlipAngle",
    "encoding/echoTrainLength": "EchoTrainLength",
}
"""Path in the header → keyword of DICOM."""
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")


@dataclass(frozen=True)
class Examination:
    """What a header says.

    Attributes:
        study_uid, frame_uid: Study Instance UID, Frame of Reference UID.
        measurement: What tells this measurement from others of the study; empty where nothing is said.
        said: Keyword of DICOM → its value as text; only what is said.
        echo_times: ms, by the number of the contrast.
        diffusion: Counter of the image header that numbers the b-values; empty where nothing is said.
        b_values: s/mm², by that number.
    """

    study_uid: str
    frame_uid: str
    measurement: str
    said: Mapping[str, str]
    echo_times: tuple[float, ...] = ()
    diffusion: str = ""
    b_values: tuple[float, ...] = ()


def read_examination(header: str) -> Examination:
    """Read the header of a session.

    Raises:
        InputError: If it is no such header, or lacks the UID of the study or of the frame of reference.
    """
    if "<!DOCTYPE" in header or "<!ENTITY" in header:
        raise InputError("The MRD header holds a document type, which MRD does not use; send a plain header.")
    try:
        root = ElementTree.fromstring(header)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"The MRD header is not XML ({error}); send one that names the study.") from error
    texts = {path: text for path in _KEYWORDS if (text := _text(root, path))}
    diffusion = [_number(one) for one in root.iterfind(_path("sequenceParameters/diffusion/bvalue"))]
    echo_times = [_number(one) for one in root.iterfind(_path("sequenceParameters/TE"))]
    return Examination(
        study_uid=_uid(root, "studyInformation/studyInstanceUID"),
        frame_uid=_uid(root, "measurementInformation/frameOfReferenceUID"),
        measurement=_text(root, "measurementInformation/measurementID")
        or _text(root, "measurementInformation/seriesInstanceUIDRoot"),
        said={_KEYWORDS[path]: _plain(_KEYWORDS[path], text) for path, text in texts.items()},
        echo_times=_all_known(echo_times),
        diffusion=_text(root, "sequenceParameters/diffusionDimension"),
        b_values=_all_known(diffusion),
    )


def is_uid(text: str) -> bool:
    """Whether a text is a UID of DICOM (PS3.5 9)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _uid(root: ElementTree.Element, path: str) -> str:
    found = _text(root, path)
    if not is_uid(found):
        name = path.rsplit("/", 1)[1]
        raise InputError(
            f"The MRD header has no usable {name}, so that its images cannot be joined to their study; "
            "send it, or send the study by DICOM."
        )
    return found


def _plain(keyword: str, text: str) -> str:
    """Dates and times without the marks between their parts; `2026-01-31` becomes `20260131`."""
    if keyword.endswith("Date"):
        return text[:10].replace("-", "")
    return (
        text.split("+")[0].rstrip("Z").replace(":", "") if keyword.endswith("Time") and ":" in text else text
    )


def _path(path: str) -> str:
    return "/".join(_SPACE + part for part in path.split("/"))


def _text(root: ElementTree.Element, path: str) -> str:
    return (root.findtext(_path(path)) or "").strip()


def _number(element: ElementTree.Element) -> float | None:
    try:
        value = float(element.text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _all_known(values: list[float | None]) -> tuple[float, ...]:
    """Numbers in their places; none at all where one of them is no number."""
    return tuple(value for value in values if value is not None) if None not in values else ()
