"""The parts of a Segmentation object that highdicom wants as its own types."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
from highdicom.sr import CodedConcept
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.sr.codedict import codes

from scanside.runtime.dicom.codes import segment_codes
from scanside.runtime.dicom.header import attribute
from scanside.runtime.dicom.series import DicomSeries
from scanside.runtime.errors import OutputError

_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Attributes that every object must carry, if only empty; anonymised sources may lack them."""

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class Algorithm:
    """The bundle that drew the mask: its name, version and identity."""

    name: str
    version: str
    bundle_sha256: str


def refuse_unfit(series: DicomSeries) -> None:
    """Refuse a series that a SEG cannot refer to.

    Raises:
        OutputError: If it lacks a UID, or is one volume in several multi-frame files.
    """
    if len(series.instances) > 1 and any(frame.groups for frame in series.frames):
        raise unfit(series.path, "the volume is split over several multi-frame files")
    for keyword in _NEEDED:
        if not all(attribute(header, keyword) for header in series.headers):
            raise unfit(series.path, f"its images have no {keyword}")


def unfit(path: Path, reason: str) -> OutputError:
    """The sentence for a series without a SEG."""
    return OutputError(f"No DICOM SEG can be made for {path} ({reason}); choose .nii.gz.")


def segment_description(
    number: int, label: str, algorithm: Algorithm, tracking_uid: str
) -> highdicom.seg.SegmentDescription:
    """One segment: its number, what it shows, and the bundle that drew it."""
    found = segment_codes(label)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=short_text(label),
        segmented_property_category=CodedConcept(*found.category),
        segmented_property_type=CodedConcept(*found.type),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=short_text(algorithm.name),
            family=codes.cid7162.ArtificialIntelligence,
            version=short_text(algorithm.version),
            parameters={"bundle_sha256": algorithm.bundle_sha256},
        ),
        tracking_uid=tracking_uid,
        tracking_id=short_text(label),
    )


def reference_headers(series: DicomSeries) -> list[Dataset]:
    """Copies of the headers, in the form and with the geometry that highdicom takes over from its sources.

    highdicom wants cosines that are equal to the last digit, and orientation and pixel measures in the shared
    groups; GE and Siemens XA deliver neither. Distance between slices is the gate's, not the header's.
    """
    first, step = series.frames[0], series.geometry.spacing[0]
    common = {
        "ImageOrientationPatient": list(first.numbers("ImageOrientationPatient", 6)),
        "PixelSpacing": list(first.numbers("PixelSpacing", 2)),
        "SliceThickness": first.number("SliceThickness", step) or step,
        "SpacingBetweenSlices": step,
    }
    if not first.groups:
        return [_changed(header, **common) for header in series.headers]
    plane, measures = Dataset(), Dataset()
    plane.ImageOrientationPatient = common.pop("ImageOrientationPatient")
    for keyword, value in common.items():
        setattr(measures, keyword, value)
    shared = next(iter(attribute(series.headers[0], "SharedFunctionalGroupsSequence") or ()), Dataset())
    shared = _changed(shared, PlaneOrientationSequence=[plane], PixelMeasuresSequence=[measures])
    return [_changed(header, SharedFunctionalGroupsSequence=[shared]) for header in series.headers]


def _changed(dataset: Dataset, **changes: Any) -> Dataset:
    """A shallow copy with some attributes replaced; type 2 attributes of a whole object are completed."""
    copy = Dataset()
    copy.update(dataset)
    if isinstance(dataset, FileDataset):
        copy.file_meta = dataset.file_meta
        changes |= dict.fromkeys((keyword for keyword in _TYPE_2 if keyword not in dataset), "")
    for keyword, value in changes.items():
        copy.pop(
            tag_for_keyword(keyword) or 0, None
        )  # assigning to a present attribute would change the original
        setattr(copy, keyword, value)
    return copy


def fix_dimension_uid(segmentation: Any, uid: str) -> None:
    """Replace the dimension organisation's UID, which highdicom draws at random."""
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for item in segmentation.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid


def short_text(words: str) -> str:
    """What fits the value representation LO: 64 characters, no backslash."""
    return words.replace("\\", "/")[:64]
