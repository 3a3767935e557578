"""A DICOM series as a scanner's reconstruction would send it: MRD images with the header of their measurement.

For `scanside mrd send`, and for tests: on a scanner, images pass by before they are DICOM.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from scanside.runtime.dicom.header import attribute
from scanside.runtime.dicom.series import DicomSeries
from scanside.runtime.mrd.header import with_fields
from scanside.runtime.mrd.meta import Meta, write_meta
from scanside.runtime.mrd.series import slices_of
from scanside.runtime.mrd.wire import Image
from scanside.runtime.volume import Volume

_HEADER = (
    ("subjectInformation", "patientName", "PatientName"),
    ("subjectInformation", "patientID", "PatientID"),
    ("subjectInformation", "patientBirthdate", "PatientBirthDate"),
    ("subjectInformation", "patientGender", "PatientSex"),
    ("studyInformation", "studyDate", "StudyDate"),
    ("studyInformation", "studyTime", "StudyTime"),
    ("studyInformation", "studyDescription", "StudyDescription"),
    ("studyInformation", "studyInstanceUID", "StudyInstanceUID"),
    ("studyInformation", "bodyPartExamined", "BodyPartExamined"),
    ("measurementInformation", "measurementID", "SeriesInstanceUID"),
    ("measurementInformation", "patientPosition", "PatientPosition"),
    ("measurementInformation", "protocolName", "ProtocolName"),
    ("measurementInformation", "seriesDescription", "SeriesDescription"),
    ("measurementInformation", "frameOfReferenceUID", "FrameOfReferenceUID"),
    ("acquisitionSystemInformation", "systemVendor", "Manufacturer"),
    ("acquisitionSystemInformation", "systemModel", "ManufacturerModelName"),
    ("acquisitionSystemInformation", "systemFieldStrength_T", "MagneticFieldStrength"),
)
_ATTRIBUTES = (
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "ScanningSequence",
    "EchoTime",
    "EchoTrainLength",
)


def header_of(series: DicomSeries) -> str:
    """The XML header of the measurement; what DICOM does not say stays out."""
    first, root = series.frames[0].header, ElementTree.Element("ismrmrdHeader", xmlns=_XMLNS)
    groups: dict[str, ElementTree.Element] = {}
    for group, name, keyword in _HEADER:
        value = _words(attribute(first, keyword))
        if value:
            parent = groups.setdefault(group, ElementTree.Element(group))
            ElementTree.SubElement(parent, name).text = _marked(keyword, value)
    root.extend(groups.values())
    conditions = ElementTree.SubElement(root, "experimentalConditions")
    ElementTree.SubElement(conditions, "H1resonanceFrequency_Hz").text = "0"
    return '<?xml version="1.0"?>\n' + ElementTree.tostring(root, encoding="unicode")


_XMLNS = "http://www.ismrm.org/ISMRMRD"


def images_of(volume: Volume, series: DicomSeries, b: float | None = None, *, index: int = 1) -> list[Image]:
    """The slices, with what tells them apart as attributes.

    Args:
        volume: (1, Z, Y, X), read from `series`.
        b: b-value, s/mm².
        index: image_series_index.
    """
    classic = not any(frame.groups for frame in series.frames)
    made = []
    for image, frame in zip(slices_of(volume, series=index), series.frames, strict=True):
        meta: Meta = {keyword: (value,) for keyword in _ATTRIBUTES if (value := _words(frame.get(keyword)))}
        types = frame.get("ImageType") or frame.get("FrameType")
        if types is not None:
            meta["ImageType"] = tuple(str(word) for word in types)
        if classic:
            meta["SOPInstanceUID"] = (_words(frame.get("SOPInstanceUID")),)
        if b is not None:
            meta["DiffusionBValue"] = (f"{b:g}",)
        attributes = write_meta(meta)
        header = with_fields(image.header, attribute_string_len=len(attributes))
        made.append(replace(image, header=header, attributes=attributes))
    return made


def _words(value: Any) -> str:
    several = not isinstance(value, str) and isinstance(value, Iterable) and not hasattr(value, "components")
    return "_".join(str(one) for one in value) if several else str(value if value is not None else "")


def _marked(keyword: str, value: str) -> str:
    """Dates and times as XML schema has them."""
    if keyword.endswith("Date") and len(value) == 8:
        return f"{value[:4]}-{value[4:6]}-{value[6:]}"
    if keyword.endswith("Time") and len(value) >= 6:
        return f"{value[:2]}:{value[2:4]}:{value[4:]}"
    return value
