"""What was measured → a Comprehensive 3D SR by template TID 1500, Measurement Report (PS3.16).

A group TID 1501 holds what concerns the whole study: status, reason, probability. A group TID 1411 a lesion holds its
segment and measurements. What is absent is a text with its reason; a number stands only for something measured.
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import highdicom.sr as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ComprehensiveSRStorage

from scanside.runtime.dicom.codes import ABNORMAL, SCHEME, Code
from scanside.runtime.dicom.header import attribute, quiet
from scanside.runtime.dicom.object_header import MAKER, Stamp, plain, short_text, source_header
from scanside.runtime.dicom.references import references
from scanside.runtime.dicom.uids import derived_uid
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write

Text = tuple[Code, str]
Evaluation = tuple[Code, Code]

_MRI: Code = ("113091000", "SCT", "Magnetic resonance imaging")
_SOURCE: Code = ("260753009", "SCT", "Source")
_LESION: Code = ("52988006", "SCT", "Lesion")


@dataclass(frozen=True)
class Number:
    """One measured value.

    Attributes:
        concept: What it is.
        value: Finite.
        unit: UCUM.
        modifiers: What makes the concept precise: filter, image, the feature's full name.
    """

    concept: Code
    value: float
    unit: Code
    modifiers: tuple[tuple[Code, Code | str], ...] = ()


@dataclass(frozen=True, eq=False)
class LesionGroup:
    """A lesion and what was measured in it.

    Attributes:
        tracking: Identifier for a person, and UID; the same as of its segment.
        numbers, texts: In order.
        segment: SOP class, SOP instance and number of its segment; None where there is no Segmentation of it.
        series_uid: Series Instance UID of the images it was segmented on; empty where they are not DICOM.
        time_point: Date of the study and its place in time, from 1, where the report has more than one; else None.
    """

    tracking: tuple[str, str]
    numbers: tuple[Number, ...]
    texts: tuple[Text, ...] = ()
    segment: tuple[str, str, int] | None = None
    series_uid: str = ""
    time_point: tuple[date, int] | None = None


@dataclass(frozen=True, eq=False)
class Report:
    """What a report says.

    Attributes:
        evaluations, numbers, texts: Of the whole study, in order.
        lesions: A group each.
        site: The organ that is looked at, where it is known.
        parameters: Of the algorithm, `name=value`.
    """

    evaluations: tuple[Evaluation, ...]
    numbers: tuple[Number, ...]
    texts: tuple[Text, ...]
    lesions: tuple[LesionGroup, ...] = ()
    site: Code | None = None
    parameters: tuple[str, ...] = ()


def write_sr(
    report: Report,
    sources: Sequence[Sequence[Dataset]],
    evidence: Sequence[Dataset],
    stamp: Stamp,
    path: Path,
) -> Dataset:
    """Write a report: partial, preliminary and unverified, as nobody has looked at it.

    Args:
        sources: Headers of the source images, by series: the report's image library, and whose patient it is.
        evidence: The Segmentations that lesions refer to.
        stamp: Whose images, which bundle, when.

    Raises:
        OutputError: If the headers lack what a report needs, or the file cannot be written.
    """
    with quiet(), atomic_write(path) as temporary:
        try:
            made = _document(report, sources, evidence, stamp)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # highdicom's, on odd headers
            reason = " ".join(str(error).split()).rstrip(".")
            raise OutputError(f"No DICOM SR can be made ({reason}); read result.json instead.") from error
        made.save_as(temporary)
    return made


def _document(
    report: Report, sources: Sequence[Sequence[Dataset]], evidence: Sequence[Dataset], stamp: Stamp
) -> Any:
    first, *others = (header for series in sources for header in series)
    patient = source_header(first)
    algorithm = hd.AlgorithmIdentification(
        name=short_text(stamp.algorithm.name),
        version=short_text(stamp.algorithm.version),
        parameters=list(report.parameters),
    )
    content = hd.MeasurementReport(
        observation_context=hd.ObservationContext(observer_device_context=device_observer(stamp)),
        procedure_reported=_concept(_MRI),
        imaging_measurements=[
            _study_group(report, algorithm, stamp),
            *(_lesion_group(lesion, report.site, algorithm) for lesion in report.lesions),
        ],
    )
    digest = hashlib.sha256(repr((_plain_data(report), [str(e.SOPInstanceUID) for e in evidence])).encode())
    # Of the content highdicom gets the root alone: it would copy and check again what it has just made. Images and
    # segments are referred to from `sources` and `evidence`, so that no reference lacks its evidence.
    (root,) = content
    items, root.ContentSequence = root.ContentSequence, hd.ContentSequence()
    made = hd.Comprehensive3DSR(
        evidence=[patient, *others, *evidence],
        content=root,
        series_instance_uid=stamp.uid("sr series", digest.hexdigest()),
        sop_instance_uid=stamp.uid("sr", digest.hexdigest()),
        is_complete=False,
        is_final=False,
        is_verified=False,
        coding_schemes=[private_scheme()],
        **stamp.series("sr", patient, f"{stamp.algorithm.name} report"),
    )
    _name_predecessors(made, stamp)
    items.insert(len(items) - 1, _image_library(sources))
    made.ContentSequence = items
    stamp.finish(made, patient)
    return made


def write_comprehensive(report: Dataset, stamp: Stamp, path: Path) -> Dataset:
    """Write a report once more, as Comprehensive SR: it holds nothing that needs the 3-D class (PS3.3 A.35.3).

    Raises:
        OutputError: If the file cannot be written.
    """
    made = copy.copy(report)
    made.file_meta = copy.copy(report.file_meta)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    made.SOPInstanceUID = UID(stamp.uid("sr 88.33", report.SOPInstanceUID))
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.SeriesInstanceUID = stamp.uid("sr 88.33 series", report.SeriesInstanceUID)
    _name_predecessors(made, stamp)
    with quiet(), atomic_write(path) as temporary:
        made.save_as(temporary)
    return made


def _name_predecessors(made: Dataset, stamp: Stamp) -> None:
    """The reports that this one takes the place of; of two classes the one of its own, which its peers have."""
    older = [one for one in stamp.revision.replaces if one.kind == "sr"]
    own = [one for one in older if one.sop_class_uid == made.SOPClassUID] or older
    if own:
        made.PredecessorDocumentsSequence = references(made.StudyInstanceUID, own)


def device_observer(stamp: Stamp) -> Any:
    """Who observed: a device, this bundle in Scanside (TID 1002 and 1004)."""
    return hd.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", stamp.algorithm.bundle_sha256),
            name=MAKER,
            manufacturer_name=MAKER,
            model_name=short_text(f"{stamp.algorithm.name} {stamp.algorithm.version}"),
            serial_number=stamp.algorithm.bundle_sha256[:16],
        ),
    )


def private_scheme() -> Any:
    """Names the private coding scheme in an object that uses it."""
    return CodingSchemeIdentificationItem(
        designator=SCHEME,
        name="Scanside private codes",
        uid=derived_uid("coding scheme", SCHEME),
        responsible_organization=MAKER,
    )


def _study_group(report: Report, algorithm: Any, stamp: Stamp) -> Any:
    group = hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(stamp.uid("result"), "Result of the study"),
        algorithm_id=algorithm,
        finding_sites=_sites(report.site),
        measurements=[_measurement(number) for number in report.numbers],
        qualitative_evaluations=[
            hd.QualitativeEvaluation(_concept(name), _concept(value)) for name, value in report.evaluations
        ],
    )
    _add_texts(group, report.texts)
    return group


def _lesion_group(lesion: LesionGroup, site: Code | None, algorithm: Any) -> Any:
    common: dict[str, Any] = {
        "tracking_identifier": hd.TrackingIdentifier(lesion.tracking[1], lesion.tracking[0]),
        "finding_category": _concept(ABNORMAL),
        "finding_type": _concept(_LESION),
        "finding_sites": _sites(site),
        "algorithm_id": algorithm,
        "measurements": [_measurement(number) for number in lesion.numbers],
    }
    if lesion.time_point is not None:  # TID 1502
        day, order = lesion.time_point
        common["time_point_context"] = hd.TimePointContext(day.isoformat(), time_point_order=order)
    if lesion.segment is None:
        group = hd.MeasurementsAndQualitativeEvaluations(**common)
    else:
        sop_class, sop_instance, number = lesion.segment
        segment = hd.ReferencedSegment(
            sop_class_uid=sop_class,
            sop_instance_uid=sop_instance,
            segment_number=number,
            source_series=hd.SourceSeriesForSegmentation(lesion.series_uid),
        )
        group = hd.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **common)
    _add_texts(group, lesion.texts)
    return group


def _measurement(number: Number) -> Any:
    made = hd.Measurement(_concept(number.concept), number.value, _concept(number.unit))
    item = made[0]
    for name, value in number.modifiers:
        kind: Any = hd.TextContentItem if isinstance(value, str) else hd.CodeContentItem
        said = value if isinstance(value, str) else _concept(value)
        if "ContentSequence" not in item:
            item.ContentSequence = hd.ContentSequence()
        item.ContentSequence.append(
            kind(_concept(name), said, relationship_type=hd.RelationshipTypeValues.HAS_CONCEPT_MOD)
        )
    return made


def _add_texts(group: Any, texts: Sequence[Text]) -> None:
    for name, words in texts:
        item = hd.TextContentItem(
            _concept(name), plain(words), relationship_type=hd.RelationshipTypeValues.CONTAINS
        )
        group[0].ContentSequence.append(item)


def _image_library(sources: Sequence[Sequence[Dataset]]) -> Any:
    """TID 1600: a group a series, with what its images share, and every image."""
    library = hd.ContainerContentItem(
        codes.DCM.ImageLibrary, relationship_type=hd.RelationshipTypeValues.CONTAINS
    )
    library.ContentSequence = hd.ContentSequence()
    for series in sources:
        group = hd.ContainerContentItem(
            codes.DCM.ImageLibraryGroup, relationship_type=hd.RelationshipTypeValues.CONTAINS
        )
        group.ContentSequence = hd.ContentSequence(_shared_descriptors(series[0]))
        for header in series:
            group.ContentSequence.append(
                hd.ImageContentItem(
                    _concept(_SOURCE),
                    referenced_sop_class_uid=header.SOPClassUID,
                    referenced_sop_instance_uid=header.SOPInstanceUID,
                    relationship_type=hd.RelationshipTypeValues.CONTAINS,
                )
            )
        library.ContentSequence.append(group)
    return library


def _shared_descriptors(header: Dataset) -> list[Any]:
    """TID 1602, of what every source has: modality, series, frame of reference."""
    context = hd.RelationshipTypeValues.HAS_ACQ_CONTEXT
    found: list[Any] = [
        hd.CodeContentItem(codes.DCM.Modality, codes.DCM.MagneticResonance, relationship_type=context)
    ]
    if frame := attribute(header, "FrameOfReferenceUID"):
        found.append(hd.UIDRefContentItem(codes.DCM.FrameOfReferenceUID, frame, relationship_type=context))
    return found


def _sites(site: Code | None) -> list[Any] | None:
    return None if site is None else [hd.FindingSite(_concept(site))]


def _concept(code: Code) -> Any:
    return hd.CodedConcept(*code)


def _plain_data(report: Report) -> Any:
    """The report as nested tuples, whose repr depends on nothing but the content."""
    lesions = tuple(
        (lesion.tracking, lesion.numbers, lesion.texts, lesion.segment, lesion.series_uid)
        + ((lesion.time_point,) if lesion.time_point else ())
        for lesion in report.lesions
    )
    return (report.evaluations, report.numbers, report.texts, lesions, report.site, report.parameters)
