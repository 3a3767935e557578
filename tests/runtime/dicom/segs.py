"""Writes small masks as Segmentations."""

from pathlib import Path

import highdicom
import numpy as np

from scanside.runtime.dicom.seg import write_seg
from scanside.runtime.dicom.series import DicomSeries

LABELS = {"pancreas": 1, "tumor": 3, "Größe": 4}
BUNDLE = "ab" * 32


def mask_on(shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    z = max(1, shape[0] // 3)
    mask[-z:, 1:4, 2:5] = 1
    mask[-1, 2, 3:5] = 3
    return mask


def write(
    mask: np.ndarray, series: DicomSeries, path: Path, sha256: str = BUNDLE
) -> highdicom.seg.Segmentation:
    write_seg(
        mask,
        LABELS,
        series,
        path,
        algorithm_name="pancreas-t2",
        algorithm_version="1.2.0",
        bundle_sha256=sha256,
    )
    return highdicom.seg.segread(path)
