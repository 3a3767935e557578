"""A mask → DICOM Segmentation (BINARY) on the frames of its source series."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt

from scanside.runtime.dicom.header import attribute, quiet
from scanside.runtime.dicom.segments import (
    Algorithm,
    fix_dimension_uid,
    reference_headers,
    refuse_unfit,
    segment_description,
    short_text,
    unfit,
)
from scanside.runtime.dicom.series import DicomSeries
from scanside.runtime.dicom.uids import derived_uid
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write

SERIES_NUMBER_OFFSET = 9000
"""Added to the source's series number: far from what scanners use, and different for each source series."""

_NOTICE = "research use only"
Mask = npt.NDArray[np.unsignedinteger[Any]]


def write_seg(
    mask: Mask,
    labels: Mapping[str, int],
    series: DicomSeries,
    path: Path,
    *,
    algorithm_name: str,
    algorithm_version: str,
    bundle_sha256: str,
) -> None:
    """Write a BINARY Segmentation that refers to the source images, one segment per label.

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

    Raises:
        OutputError: If the series lacks what a SEG must refer to, or the file cannot be written.
    """
    if mask.shape != series.geometry.shape:
        raise ValueError(f"mask of shape {mask.shape} for a series on a grid of {series.geometry.shape}")
    refuse_unfit(series)
    algorithm = Algorithm(algorithm_name, algorithm_version, bundle_sha256)
    ordered = sorted(labels, key=lambda label: labels[label])
    frames = _numbered(mask, [labels[label] for label in ordered], series)
    with quiet(), atomic_write(path) as temporary:
        try:
            segmentation = _segmentation(frames, ordered, series, algorithm)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # highdicom's, on odd headers
            raise unfit(series.path, " ".join(str(error).split()).rstrip(".")) from error
        segmentation.save_as(temporary)


def _segmentation(frames: Mask, labels: list[str], series: DicomSeries, algorithm: Algorithm) -> Any:
    content = hashlib.sha256(frames.tobytes()).hexdigest()
    seeds = (*sorted(series.sop_instance_uids), algorithm.bundle_sha256, content)
    segmentation = highdicom.seg.Segmentation(
        source_images=reference_headers(series),
        pixel_array=frames,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            segment_description(number, label, algorithm, derived_uid("segment", str(number), *seeds))
            for number, label in enumerate(labels, 1)
        ],
        series_instance_uid=derived_uid("seg series", *seeds),
        series_number=SERIES_NUMBER_OFFSET + int(attribute(series.headers[0], "SeriesNumber") or 0),
        sop_instance_uid=derived_uid("seg", *seeds),
        instance_number=1,
        manufacturer="Scanside",
        manufacturer_model_name="Scanside",
        software_versions=short_text(f"{algorithm.name} {algorithm.version}"),
        device_serial_number=algorithm.bundle_sha256[:16],
        omit_empty_frames=bool(frames.any()),
        content_label="SCANSIDE",
        content_description=f"Automatic segmentation, {_NOTICE}",
        specific_character_set="ISO_IR 192",  # UTF-8 holds the patient's name and the labels, whatever they are
        series_description=short_text(f"{algorithm.name[:40]} SEG ({_NOTICE})"),
    )
    fix_dimension_uid(segmentation, derived_uid("seg dimension", *seeds))
    return segmentation


def _numbered(mask: Mask, values: list[int], series: DicomSeries) -> Mask:
    """Label values → segment numbers; slices → the order in which highdicom counts the source's frames."""
    if len({0, *values}) != len(values) + 1:
        raise ValueError(f"label values {values} are not distinct foreground values")
    unnamed = sorted(set(np.unique(mask).tolist()) - {0, *values})
    if unnamed:
        raise OutputError(f"The mask holds values without a label ({unnamed}); check the bundle's labels.")
    table = np.zeros(max(int(mask.max()), *values) + 1, np.uint16)
    table[values] = np.arange(1, len(values) + 1)
    order = np.argsort([frame.index for frame in series.frames], kind="stable")
    numbered: Mask = table[mask[order]]
    return numbered
