"""A study's result → DICOM objects of its source study: SEG, structured report, secondary capture, key objects.

Every Segmentation is read again and compared with the mask in patient space before anything is returned.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import LabelMask
from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import InputError, OutputError
from scanside.runtime.study.names import TITLES
from scanside.runtime.study.overlay import draw_overlay
from scanside.runtime.study.prior import Prior
from scanside.runtime.study.records import RoleResult, SequenceImage, StudyResult
from scanside.runtime.study.segments import MOST_LESIONS, numbered

if TYPE_CHECKING:
    from PIL.Image import Image
    from pydicom.dataset import Dataset

    from scanside.runtime.dicom.object_header import Revision, Stamp
    from scanside.runtime.dicom.seg import Encoding
    from scanside.runtime.study.findings import Beside

SEG_ENDING = "_mask.dcm"
REPORT, CAPTURE, KEY_IMAGES = "report_sr.dcm", "capture_sc.dcm", "key_images.dcm"
OUTLINES = "_outlines"
REPORT_33, REJECTION = "report_comprehensive_sr.dcm", "rejection.dcm"


ObjectKind = Literal["seg", "sr", "sc", "key", "reject", "gsps"]


@dataclass(frozen=True)
class ResultObject:
    """A DICOM object that was written.

    Attributes:
        kind: Segmentation, structured report, secondary capture, key object selection, note that rejects older ones,
            presentation state with outlines.
        path: The file.
    """

    kind: ObjectKind
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True)
class ObjectOptions:
    """How objects are made.

    Attributes:
        moment: When the job was made, recorded once, as the content date and time of all objects. None stands for the
            latest date and time that the sources state: a second run then gives the same bytes.
        series_offset: Added to the source's series number.
        encoding: Of Segmentations: LABELMAP only for a peer that negotiated it.
        revision: Which of the study's results, and what the one before had sent; None for the first and only one.
        reject: Write a note that rejects what is replaced.
        comprehensive: Write the report as Comprehensive SR too, for peers that take no Comprehensive 3D SR.
        prior: An earlier result of the patient, which the report states beside its own.
        outlines: Write a presentation state with the outlines of the lesions for each segmenter.
    """

    moment: datetime | None = None
    series_offset: int = 9000
    encoding: "Encoding" = "BINARY"
    revision: "Revision | None" = None
    reject: bool = False
    outlines: bool = False
    comprehensive: bool = False
    prior: Prior | None = None


@dataclass(eq=False)
class _Written:
    """What has been written so far."""

    objects: list[ResultObject] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    evidence: list["Dataset"] = field(default_factory=list)
    segments: dict[tuple[str, int], Any] = field(default_factory=dict)
    trackings: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)


def write_objects(
    result: StudyResult,
    bundle: Bundle,
    channels: Mapping[str, tuple[str, ...]],
    folder: Path,
    evidence: Sequence["Dataset"] = (),
    options: ObjectOptions | None = None,
    pictures: "Mapping[str, Image] | None" = None,
) -> tuple[tuple[ResultObject, ...], tuple[str, ...]]:
    """Write the objects of a result, and read every Segmentation again.

    A study that was refused gets a report alone. Images that are not DICOM get no objects.

    Args:
        channels: Segmenter → its sequences; its mask lies on the grid of the first.
        folder: Gets `<segmenter>_mask.dcm`, `report_sr.dcm`, `capture_sc.dcm`, `key_images.dcm` and `rejection.dcm`.
        evidence: Headers of the study's images, for a study that was refused before its images were known.
        options: Default: as a second run would make them again.
        pictures: What `draw_pictures` drew, where it has been drawn already.

    Returns:
        The objects, and sentences on those that the source's headers do not allow.

    Raises:
        OutputError: If a Segmentation, read again, is not the mask; or a file cannot be written.
    """
    options = options or ObjectOptions()
    try:
        sources = _sources(result, evidence)
    except InputError as error:
        return (), (str(error),)
    if not sources:
        return (), ()
    from scanside.runtime.dicom.object_header import Algorithm, stamp_of

    manifest = bundle.manifest
    headers = [header for series in sources for header in series]
    algorithm = Algorithm(manifest.name, manifest.version, bundle.sha256)
    stamp = stamp_of(algorithm, headers, options.moment, options.series_offset, options.revision)
    done = _Written()
    for role, found in result.roles.items():
        _write_seg(found, _image(result, channels, role), bundle, folder, options, stamp, done)
    _write_report(result, bundle, sources, folder, stamp, done, options)
    drawn = pictures or draw_pictures(result, bundle, channels)
    _write_pictures(result, drawn, bundle, channels, folder, stamp, done)
    if options.reject and stamp.revision.replaces:
        _write_rejection(headers[0], folder, stamp, done)
    return tuple(done.objects), tuple(done.warnings)


def draw_pictures(
    result: StudyResult, bundle: Bundle, channels: Mapping[str, tuple[str, ...]]
) -> "dict[str, Image]":
    """Segmenter → the picture of its lesion."""
    synthetic = bundle.manifest.synthetic
    return {
        role: draw_overlay(
            _image(result, channels, role).volume, found.main, picture_title(found, bundle), synthetic
        )
        for role, found in result.roles.items()
    }


def picture_title(found: RoleResult, bundle: Bundle) -> str:
    """The line above a segmenter's picture."""
    title = f"{bundle.manifest.name} {bundle.manifest.version} - {TITLES.get(found.role, found.role)}: "
    if not found.lesions:
        return title + "no lesion segmented (not a negative finding)"
    main = found.lesions[(found.measured or 1) - 1]
    return title + f"lesion {main.volume_ml:.2f} ml, {main.longest_diameter_mm:.0f} mm"


def _sources(result: StudyResult, evidence: Sequence["Dataset"]) -> list[list["Dataset"]]:
    """Headers of the source images by series, in the order of the sequences; nothing of another patient or study.

    Raises:
        InputError: If they are of different patients or studies.
    """
    from scanside.runtime.dicom.header import attribute, has_pixels, quiet

    images = [] if result.study is None else list(result.study.images.values())
    headers = [header for image in images if image.source is not None for header in image.source.headers]
    series: dict[str, dict[str, Dataset]] = {}
    identities = set()
    with quiet():
        for header in headers or [header for header in evidence if has_pixels(header)]:
            words = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
            patient, study, one, uid = (str(attribute(header, word) or "") for word in words)
            identities.add((patient, study))
            series.setdefault(one, {}).setdefault(uid, header)
    if len(identities) > 1:
        raise InputError(
            "No DICOM objects are made, since the images are of different patients or studies; give images of one."
        )
    return [list(found.values()) for found in series.values()]


def _image(result: StudyResult, channels: Mapping[str, tuple[str, ...]], role: str) -> SequenceImage:
    assert result.study is not None  # there are roles
    return result.study.images[channels[role][0]]


def _write_seg(
    found: RoleResult,
    image: SequenceImage,
    bundle: Bundle,
    folder: Path,
    options: ObjectOptions,
    stamp: "Stamp",
    done: _Written,
) -> None:
    """The Segmentation of one segmenter, read again; a source whose headers forbid it is a warning."""
    from scanside.runtime.dicom.readback import check_seg
    from scanside.runtime.dicom.seg import SegOptions, numbered_segments, write_seg
    from scanside.runtime.study.findings import region_of
    from scanside.runtime.study.pipeline import lesion_label

    role, plan = found.role, bundle.manifest.segmenters[found.role].plan
    names = {value: name for name, value in plan.labels.names.items() if isinstance(value, int) and value}
    mask, labels = numbered(found, image, lesion_label(plan, role), names)
    own = [lesion.number for lesion in found.lesions if lesion.number <= MOST_LESIONS]
    for number in own:
        done.trackings[role, number] = (
            f"{role} {list(labels)[number - 1]}",
            stamp.uid("lesion", role, str(number)),
        )
    if image.source is None:
        return
    how = SegOptions(
        options.encoding, stamp.moment, options.series_offset, region_of(bundle), role, stamp.revision
    )
    path, series = folder / f"{role}{SEG_ENDING}", image.source
    manifest = bundle.manifest
    with _allowed(f"{role}: ", done):
        written = write_seg(
            mask, labels, series, path, algorithm_name=manifest.name, algorithm_version=manifest.version,
            bundle_sha256=bundle.sha256, options=how,
        )  # fmt: skip
        done.evidence.append(written)
        _add("seg", written, path, done)
        segments = {int(segment.SegmentNumber): segment for segment in written.SegmentSequence}
        for number in own:
            segment = segments[number]
            tracking = (str(segment.TrackingID), str(segment.TrackingUID))
            reference = (str(written.SOPClassUID), str(written.SOPInstanceUID), number)
            done.trackings[role, number] = tracking
            done.segments[role, number] = (tracking, reference, series.series_instance_uid)
    if any(made.path == path for made in done.objects):
        slices = np.array([frame.numbers("ImagePositionPatient", 3) for frame in series.frames])
        check_seg(path, numbered_segments(mask, labels), series.geometry, slices)
        if options.outlines:
            _write_outlines(found, mask, labels, image, bundle, folder, stamp, done)


def _write_outlines(
    found: RoleResult,
    mask: LabelMask,
    labels: Mapping[str, int],
    image: SequenceImage,
    bundle: Bundle,
    folder: Path,
    stamp: "Stamp",
    done: _Written,
) -> None:
    """Beside a Segmentation, the outlines of its lesions."""
    from scanside.runtime.dicom.presentation import Lesion, write_outlines

    assert image.source is not None  # it has a Segmentation
    most = min(len(found.lesions), MOST_LESIONS + 1)
    lesions = [
        Lesion(number, label, done.trackings.get((found.role, number)))
        for label, number in labels.items()
        if number <= most
    ]
    with _allowed(f"{found.role}: ", done):
        stem = folder / f"{found.role}{OUTLINES}"
        for path, made in write_outlines(mask, lesions, image.source, bundle.manifest.synthetic, stamp, stem):
            _add("gsps", made, path, done)


def _write_report(
    result: StudyResult,
    bundle: Bundle,
    sources: list[list["Dataset"]],
    folder: Path,
    stamp: "Stamp",
    done: _Written,
    options: ObjectOptions,
) -> None:
    from scanside.runtime.dicom.sr import write_comprehensive, write_sr
    from scanside.runtime.study.findings import report_of

    beside = _beside(options.prior, sources, stamp)
    report = report_of(result, bundle, done.segments, done.trackings, beside)
    with _allowed("", done):
        evidence = done.evidence if report.lesions else ()
        written = write_sr(report, sources, evidence, stamp, folder / REPORT)
        _add("sr", written, folder / REPORT, done)
        if options.comprehensive:
            _add("sr", write_comprehensive(written, stamp, folder / REPORT_33), folder / REPORT_33, done)


def _beside(prior: Prior | None, sources: list[list["Dataset"]], stamp: "Stamp") -> "Beside | None":
    from scanside.runtime.dicom.patient import day_of
    from scanside.runtime.study.findings import Beside

    day = day_of(header for series in sources for header in series)
    if prior is None or day is None:
        return None
    uids = {one.role: stamp.uid("prior lesion", prior.day.isoformat(), one.role) for one in prior.sizes}
    return Beside(prior, day, uids)


def _write_pictures(
    result: StudyResult,
    drawn: "Mapping[str, Image]",
    bundle: Bundle,
    channels: Mapping[str, tuple[str, ...]],
    folder: Path,
    stamp: "Stamp",
    done: _Written,
) -> None:
    """Secondary capture of the segmenters' pictures; key objects where there is a lesion."""
    from scanside.runtime.dicom.key_object import write_key_objects
    from scanside.runtime.dicom.secondary_capture import write_capture

    pictures: dict[str, npt.NDArray[np.uint8]] = {}
    slices = []
    first = None
    for role, found in result.roles.items():
        image = _image(result, channels, role)
        if image.source is None:
            continue
        first = first or image.source.headers[0]
        pictures[role] = np.asarray(drawn[role])
        through = np.flatnonzero(found.main.any(axis=(1, 2)))
        slices += [image.source.frames[z] for z in through]
    if first is None:
        return
    shown = list({id(frame.instance): frame.instance.header for frame in slices}.values())
    captures = []
    with _allowed("", done):
        captures.append(write_capture(pictures, first, shown, stamp, folder / CAPTURE))
        _add("sc", captures[0], folder / CAPTURE, done)
    if slices:
        with _allowed("", done):
            made = write_key_objects(captures, slices, bundle.manifest.synthetic, stamp, folder / KEY_IMAGES)
            _add("key", made, folder / KEY_IMAGES, done)


def _write_rejection(source: "Dataset", folder: Path, stamp: "Stamp", done: _Written) -> None:
    from scanside.runtime.dicom.rejection import write_rejection

    with _allowed("", done):
        made = write_rejection(source, stamp.revision.replaces, stamp, folder / REJECTION)
        _add("reject", made, folder / REJECTION, done)


@contextmanager
def _allowed(before: str, done: _Written) -> Iterator[None]:
    """An object that odd headers forbid is a warning: the other files are there. A disk that is full is an error."""
    try:
        yield
    except OutputError as error:
        if isinstance(error.__cause__, OSError):
            raise
        done.warnings.append(f"{before}{error}")


def _add(kind: ObjectKind, made: "Dataset", path: Path, done: _Written) -> None:
    uids = (str(made.SOPClassUID), str(made.SOPInstanceUID), str(made.SeriesInstanceUID))
    done.objects.append(ResultObject(kind, path, *uids))
