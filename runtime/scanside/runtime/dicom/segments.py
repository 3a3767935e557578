"""The parts of a Segmentation object that highdicom wants as its own types."""

from pathlib import Path
from typing import Any

import highdicom
from highdicom.color import CIELabColor
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import DSfloat

from scanside.runtime.dicom.codes import ABNORMAL, Code, anatomic_region, segment_codes
from scanside.runtime.dicom.header import attribute
from scanside.runtime.dicom.object_header import Algorithm, short_text, source_header
from scanside.runtime.dicom.series import DicomSeries
from scanside.runtime.errors import OutputError
from scanside.runtime.labels import segment_color

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")


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
    number: int, label: str, algorithm: Algorithm, tracking: tuple[str, str], region: Code | None
) -> highdicom.seg.SegmentDescription:
    """One segment: its number, what it shows, where, and the bundle that drew it.

    Args:
        tracking: Identifier for a person, and UID.
        region: The organ that lesions lie in; the label's own words go before it.
    """
    found = segment_codes(label)
    organ = (anatomic_region([label]) or region) if found.category == ABNORMAL else None
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
        tracking_id=short_text(tracking[0]),
        tracking_uid=tracking[1],
        display_color=CIELabColor.from_rgb(*segment_color(number)),
        anatomic_regions=None if organ is None else [CodedConcept(*organ)],
    )


def reference_headers(series: DicomSeries) -> list[Dataset]:
    """Copies of the headers, in the form and with the geometry that highdicom takes over from its sources.

    highdicom wants cosines that are equal to the last digit, and orientation and pixel measures in the shared
    groups; GE and Siemens XA deliver neither. Distance between slices is the gate's, not the header's. A multi-frame
    object is shown as if it held the series' frames alone, in z order (it may hold several b-values): see
    `fix_frame_numbers`.
    """
    first, step = series.frames[0], series.geometry.spacing[0]
    common = {
        "ImageOrientationPatient": [_decimal(one) for one in first.numbers("ImageOrientationPatient", 6)],
        "PixelSpacing": [_decimal(one) for one in first.numbers("PixelSpacing", 2)],
        "SliceThickness": _decimal(first.number("SliceThickness", step) or step),
        "SpacingBetweenSlices": _decimal(step),
    }
    if not first.groups:
        return [source_header(header, **common) for header in series.headers]
    plane, measures = Dataset(), Dataset()
    plane.ImageOrientationPatient = common.pop("ImageOrientationPatient")
    for keyword, value in common.items():
        setattr(measures, keyword, value)
    shared = next(iter(attribute(series.headers[0], "SharedFunctionalGroupsSequence") or ()), Dataset())
    shared = source_header(shared, PlaneOrientationSequence=[plane], PixelMeasuresSequence=[measures])
    return [
        source_header(
            series.headers[0],
            NumberOfFrames=len(series.frames),
            SharedFunctionalGroupsSequence=[shared],
            PerFrameFunctionalGroupsSequence=[frame.groups[0] for frame in series.frames],
        )
    ]


def _decimal(value: float) -> DSfloat:
    """In the 16 characters that DS has; a distance that was computed has more digits."""
    return DSfloat(value, auto_format=True)


def fix_frame_numbers(segmentation: Any, series: DicomSeries) -> None:
    """Name source frames by their number in the source object, not in the one that highdicom was shown."""
    if not series.frames[0].groups:
        return
    sources = {  # by identity: highdicom gives frames of several segments one item
        id(source): source
        for group in segmentation.PerFrameFunctionalGroupsSequence
        for derivation in group.get("DerivationImageSequence") or ()
        for source in derivation.SourceImageSequence
    }
    for source in sources.values():
        source.ReferencedFrameNumber = series.frames[int(source.ReferencedFrameNumber) - 1].index + 1


def fix_dimension_uid(segmentation: Any, uid: str) -> None:
    """Replace the dimension organisation's UID, which highdicom draws at random."""
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for item in segmentation.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid
