"""A DICOM study stored as when the patient lies otherwise: the same places, other rows and columns."""

from pathlib import Path

import numpy as np
import pydicom

PRONE, FEET_FIRST = (-1, 0, 0, 0, -1, 0), (-1, 0, 0, 0, 1, 0)
SIDEWAYS = (0, 1, 0, 1, 0, 0)
"""Rows run to posterior, columns to the left: the slices are transposed."""


def turn_study(folder: Path, cosines: tuple[int, ...]) -> Path:
    """Store every image of a study of supine, head-first axial images anew, in place."""
    for file in sorted(folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(file)
        turn(dataset, cosines)
        dataset.save_as(file)
    return folder


def turn(dataset: pydicom.Dataset, cosines: tuple[int, ...]) -> None:
    """Store one axial image (1, 0, 0, 0, 1, 0) along other rows and columns; no pixel moves in the patient."""
    assert [float(v) for v in dataset.ImageOrientationPatient] == [1, 0, 0, 0, 1, 0]
    pixels = dataset.pixel_array
    down, across = (float(v) for v in dataset.PixelSpacing)
    corner = np.array([float(v) for v in dataset.ImagePositionPatient])
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    if row[0] == 0:  # along the columns of before
        pixels, (down, across) = pixels.T, (across, down)
    if row.sum() < 0:
        corner = corner - row * across * (pixels.shape[1] - 1)
        pixels = pixels[:, ::-1]
    if column.sum() < 0:
        corner = corner - column * down * (pixels.shape[0] - 1)
        pixels = pixels[::-1]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing = [down, across]
    dataset.ImageOrientationPatient = [float(v) for v in cosines]
    dataset.ImagePositionPatient = [round(float(v), 9) for v in corner]
    dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
