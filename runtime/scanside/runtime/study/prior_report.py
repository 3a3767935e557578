"""A report that Scanside wrote, as an archive gives it back → what it states.

Its coded content alone is read: what it does not say is absent.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from scanside.runtime.dicom.codes import Code
from scanside.runtime.dicom.header import attribute, quiet, whole
from scanside.runtime.dicom.object_header import MAKER
from scanside.runtime.dicom.patient import day_of, person_of
from scanside.runtime.dicom.report_codes import (
    ABSENT,
    COMMENT,
    DIAMETER,
    FEATURE,
    MM,
    MM3,
    STATUS,
    STATUSES,
    VOLUME,
    no_lesion,
)
from scanside.runtime.dicom.uids import derived_uid
from scanside.runtime.study.names import TITLES
from scanside.runtime.study.prior import Size

_GROUPS: Code = ("126010", "DCM", "Imaging Measurements")
_DEVICE: Code = ("121012", "DCM", "Device Observer UID")
_NAME: Code = ("111001", "DCM", "Algorithm Name")
_VERSION: Code = ("111003", "DCM", "Algorithm Version")
_PARAMETERS: Code = ("111002", "DCM", "Algorithm Parameters")
_FINDING: Code = ("121071", "DCM", "Finding")
_TRACKING: Code = ("112039", "DCM", "Tracking Identifier")
_POINT: Code = ("C2348792", "UMLS", "Time Point")
_TEMPLATE = "1500"
_LESION = re.compile(r"(\S+) .*?(\d+)")
"""A tracking identifier: the segmenter, what it found, its number by size."""
_NONE = re.compile(re.escape(no_lesion("ROLE")).replace("ROLE", "(.+)"))
_ROLES = {title: role for role, title in TITLES.items()}
_HEAD = 4096
"""Bytes in which a file names its transfer syntax."""


class NotUsedError(ValueError):
    """Why a report is not used: words without identity that follow `it`."""


@dataclass(frozen=True)
class Whose:
    """Which report was asked for, of whom.

    Attributes:
        patient_id: As the study here has it; padding does not count.
        person: What `dicom.patient.person_of` says of the study here.
    """

    study_uid: str
    sop_uid: str
    patient_id: str
    person: str


@dataclass(frozen=True)
class Stated:
    """What a report states.

    Attributes:
        day: Of its study.
        order: Of reports of one study the largest is the latest: content date and time, and its number.
        algorithm, bundle_sha256: Name and version of the bundle; its hash.
        sizes: As `Prior.sizes`; none of a segmenter of which it does not say which lesion was measured.
    """

    day: date
    order: tuple[str, str, int]
    algorithm: str
    bundle_sha256: str
    sizes: tuple[Size, ...]


def read_prior_report(file: bytes, whose: Whose) -> Stated | None:
    """Read a report.

    Args:
        file: DICOM file (PS3.10) from a source that is not trusted.

    Returns:
        None where Scanside did not write it.

    Raises:
        NotUsedError: If it cannot be read, is not what was asked for, states another patient, or does not hold what a
            report of Scanside holds.
    """
    if DeflatedExplicitVRLittleEndian.encode() in file[:_HEAD]:  # may unpack to any size
        raise NotUsedError("is compressed")
    with quiet():
        try:
            report = pydicom.dcmread(BytesIO(file))
            uids = (attribute(report, "StudyInstanceUID"), attribute(report, "SOPInstanceUID"))
        except Exception as error:  # pydicom raises almost anything on damaged bytes
            raise NotUsedError("cannot be read") from error
        if uids != (whose.study_uid, whose.sop_uid):
            raise NotUsedError("is another object than was asked for")
        made_by = (attribute(report, "Manufacturer"), attribute(report, "ManufacturerModelName"))
        if made_by != (MAKER, MAKER):
            return None
        patient = str(attribute(report, "PatientID") or "").strip()
        if patient != whose.patient_id.strip() or person_of([report]) != whose.person:
            raise NotUsedError("states another patient")
        try:
            return _stated(report)
        except NotUsedError:
            raise
        except Exception as error:  # whatever a damaged tree does to who walks it
            raise NotUsedError("does not hold what a report of Scanside holds") from error


def _stated(report: Dataset) -> Stated:
    template = attribute(report, "ContentTemplateSequence") or [Dataset()]
    day = day_of([report])
    if attribute(report, "Modality") != "SR" or attribute(template[0], "TemplateIdentifier") != _TEMPLATE:
        raise NotUsedError("is no report of template 1500")
    if day is None:
        raise NotUsedError("states no date of its study")
    groups = [group for part in _named(report, _GROUPS) for group in _items(part)]
    (study,) = [group for group in groups if any(_named(group, STATUS))]
    algorithm, digest = _bundle(study)
    if [str(item.UID) for item in _named(report, _DEVICE)] != [derived_uid("device", digest)]:
        raise NotUsedError("states a device that is not the one of its bundle")
    (status,) = [_code(item.ConceptCodeSequence[0]) for item in _named(study, STATUS)]
    if status not in {code[:2] for code in STATUSES.values()}:
        raise NotUsedError("states no status that is known")
    sizes = () if status == STATUSES["unsuitable input"][:2] else _sizes(study, groups, day)
    order = (str(report.ContentDate), str(report.ContentTime), whole(report, "InstanceNumber") or 0)
    return Stated(day, order, algorithm, digest, sizes)


def _bundle(study: Dataset) -> tuple[str, str]:
    """Name with version, and hash."""
    (name,), (version,) = _texts(study, _NAME), _texts(study, _VERSION)
    parameters = dict(words.partition("=")[::2] for words in _texts(study, _PARAMETERS))
    digest = parameters["bundle_sha256"]
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise NotUsedError("states no hash of a bundle")
    return f"{name} {version}", digest


def _sizes(study: Dataset, groups: list[Dataset], day: date) -> tuple[Size, ...]:
    """Of each segmenter the lesion that was measured; where only one was segmented, that one."""
    lesions: dict[str, dict[int, tuple[Size, bool]]] = {}
    for group in groups:
        points = _texts(group, _POINT)
        if group is study or not any(_named(group, _FINDING)) or (points and points != [day.isoformat()]):
            continue  # of an earlier study, which is not this report's
        (tracking,) = _texts(group, _TRACKING)
        found = _LESION.fullmatch(tracking)
        if found is None or int(found[2]) in lesions.setdefault(found[1], {}):
            raise NotUsedError("names its lesions otherwise")
        volume, diameter = _amount(group, VOLUME, MM3) / 1000, _amount(group, DIAMETER, MM)
        lesions[found[1]][int(found[2])] = (Size(found[1], volume, diameter), _is_measured(group))
    none = [found[1] for words in _texts(study, COMMENT) if (found := _NONE.fullmatch(words))]
    sizes = {role: Size(role, None, None) for role in (_ROLES.get(title, title) for title in none)}
    if sizes.keys() & lesions.keys():
        raise NotUsedError("contradicts itself")
    for role, found_there in lesions.items():
        chosen = [size for size, measured in found_there.values() if measured or len(found_there) == 1]
        if len(chosen) == 1:
            sizes[role] = chosen[0]
    return tuple(size for _, size in sorted(sizes.items()))


def _is_measured(group: Dataset) -> bool:
    """Whether features of the signature, or that they are absent, stand in a lesion's group."""
    return any(_named(group, ABSENT)) or any(any(_named(item, FEATURE)) for item in _items(group))


def _amount(group: Dataset, concept: Code, unit: Code) -> float:
    """A size; not that of a feature of the signature, which may have the same code."""
    (item,) = [item for item in _named(group, concept) if not any(_named(item, FEATURE))]
    (measured,) = item.MeasuredValueSequence
    value = float(measured.NumericValue)
    if _code(measured.MeasurementUnitsCodeSequence[0]) != unit[:2] or not (0 < value < math.inf):
        raise NotUsedError("states a size that is none")
    return value


def _items(item: Dataset) -> list[Dataset]:
    return list(attribute(item, "ContentSequence") or ())


def _named(item: Dataset, concept: Code) -> Iterator[Dataset]:
    """The items below one that state a concept."""
    for below in _items(item):
        name = attribute(below, "ConceptNameCodeSequence")
        if name and _code(name[0]) == concept[:2]:
            yield below


def _texts(item: Dataset, concept: Code) -> list[str]:
    return [str(below.TextValue) for below in _named(item, concept)]


def _code(item: Dataset) -> tuple[str, str]:
    return str(attribute(item, "CodeValue")), str(attribute(item, "CodingSchemeDesignator"))
