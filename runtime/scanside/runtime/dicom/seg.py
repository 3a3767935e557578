"""A mask → DICOM Segmentation (BINARY, or LABELMAP where a peer asks for it) on the frames of its source series."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import highdicom
import numpy as np

from scanside.runtime.arrays import LabelMask
from scanside.runtime.dicom.codes import Code
from scanside.runtime.dicom.header import quiet
from scanside.runtime.dicom.object_header import (
    NOTICE,
    SERIES_NUMBER_OFFSET,
    Algorithm,
    Revision,
    Stamp,
    stamp_of,
)
from scanside.runtime.dicom.segments import (
    fix_dimension_uid,
    fix_frame_numbers,
    reference_headers,
    refuse_unfit,
    segment_description,
    unfit,
)
from scanside.runtime.dicom.series import DicomSeries
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write

Encoding = Literal["BINARY", "LABELMAP"]


@dataclass(frozen=True)
class SegOptions:
    """How a Segmentation is written.

    Attributes:
        encoding: BINARY, which every PACS takes; LABELMAP (Sup 243) for a peer that negotiated it.
        moment: See `stamp_of`.
        offset: Added to the source's series number.
        region: The organ that lesions lie in, where it is known.
        revision: Which of the study's results.
        tracking: Put before a segment's label to make its tracking identifier, such as `t2w`.
    """

    encoding: Encoding = "BINARY"
    moment: datetime | None = None
    offset: int = SERIES_NUMBER_OFFSET
    region: Code | None = None
    tracking: str = ""
    revision: Revision | None = None


def write_seg(
    mask: LabelMask,
    labels: Mapping[str, int],
    series: DicomSeries,
    path: Path,
    *,
    algorithm_name: str,
    algorithm_version: str,
    bundle_sha256: str,
    options: SegOptions | None = None,
) -> Any:
    """Write a Segmentation that refers to the source images, one segment per label.

    Segments are numbered 1, 2, … in the order of the label values. All labels are described, those without a
    voxel too; empty frames are left out, unless the whole mask is empty: then all are written, all zero.
    UIDs depend on the source images, the bundle and the mask: a second run gives the same object again, and a mask
    computed otherwise (another step size, other folds) is another object.

    Args:
        mask: (Z, Y, X) on the series' grid.
        labels: Name to value of every foreground label; at least one.
        series: From `read_series`.
        path: File to write; replaced in one step.
        algorithm_name: Name of the bundle.
        algorithm_version: Version of the bundle.
        bundle_sha256: Its identity.
        options: Default: BINARY.

    Returns:
        The object as written (highdicom's Segmentation), for those that refer to it.

    Raises:
        OutputError: If the series lacks what a SEG must refer to, or the file cannot be written.
    """
    options = options or SegOptions()
    if mask.shape != series.geometry.shape:
        raise ValueError(f"mask of shape {mask.shape} for a series on a grid of {series.geometry.shape}")
    refuse_unfit(series)
    algorithm = Algorithm(algorithm_name, algorithm_version, bundle_sha256)
    stamp = stamp_of(algorithm, series.headers, options.moment, options.offset, options.revision)
    numbered = numbered_segments(mask, labels)
    with quiet(), atomic_write(path) as temporary:
        try:
            segmentation = _segmentation(numbered, ordered_labels(labels), series, stamp, options)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # highdicom's, on odd headers
            raise unfit(series.path, " ".join(str(error).split()).rstrip(".")) from error
        segmentation.save_as(temporary)
    return segmentation


def ordered_labels(labels: Mapping[str, int]) -> list[str]:
    """Names in the order of their values: segment 1, 2, …"""
    return sorted(labels, key=lambda label: labels[label])


def numbered_segments(mask: LabelMask, labels: Mapping[str, int]) -> LabelMask:
    """Label values → segment numbers, (Z, Y, X).

    Raises:
        OutputError: If the mask holds a value without a label.
    """
    values = [labels[label] for label in ordered_labels(labels)]
    if len({0, *values}) != len(values) + 1:
        raise ValueError(f"label values {values} are not distinct foreground values")
    inside = mask != 0
    found = mask[inside]  # the little that is not background
    unnamed = sorted(set(np.unique(found).tolist()) - set(values))
    if unnamed:
        raise OutputError(f"The mask holds values without a label ({unnamed}); check the bundle's labels.")
    table = np.zeros(max(values) + 1, np.uint8 if len(values) < 256 else np.uint16)
    table[values] = np.arange(1, len(values) + 1)
    numbered: LabelMask = np.zeros(mask.shape, table.dtype)
    numbered[inside] = table[found]
    return numbered


def _segmentation(
    numbered: LabelMask, labels: list[str], series: DicomSeries, stamp: Stamp, options: SegOptions
) -> Any:
    content = hashlib.sha256(numbered.tobytes()).hexdigest()
    seeds = (content,) if options.encoding == "BINARY" else (content, options.encoding)
    headers = reference_headers(series)
    segmentation = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=numbered,
        segmentation_type=highdicom.seg.SegmentationTypeValues[options.encoding],
        segment_descriptions=[
            segment_description(
                number,
                label,
                stamp.algorithm,
                (f"{options.tracking} {label}".strip(), stamp.uid("segment", str(number), content)),
                options.region,
            )
            for number, label in enumerate(labels, 1)
        ],
        series_instance_uid=stamp.uid("seg series", *seeds),
        sop_instance_uid=stamp.uid("seg", *seeds),
        omit_empty_frames=bool(numbered.any()),
        content_label="SCANSIDE",
        content_description=f"Automatic segmentation, {NOTICE}",
        **stamp.series(
            "seg", headers[0], " ".join(filter(None, (stamp.algorithm.name, options.tracking, "SEG")))
        ),
    )
    fix_frame_numbers(segmentation, series)
    fix_dimension_uid(segmentation, stamp.uid("seg dimension", *seeds))
    stamp.finish(segmentation, headers[0])
    return segmentation
