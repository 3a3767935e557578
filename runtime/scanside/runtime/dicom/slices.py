"""Slices that came otherwise than by DICOM, as the geometry gate reads them."""

from pathlib import Path

from pydicom.dataset import Dataset

from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import Instance


def slice_frame(
    name: str,
    shape: tuple[int, int],
    origin: tuple[float, ...],
    cosines: tuple[float, ...],
    pixel: tuple[float, float],
    thickness: float,
) -> Frame:
    """A frame without pixels.

    Args:
        name: For messages, such as `slice 3`.
        shape: Rows and columns.
        origin: Centre of the first voxel, mm, LPS.
        cosines: Along a row (3) and down a column (3).
        pixel: Spacing of rows and of columns, mm.
        thickness: mm; used for a single slice alone.
    """
    header = Dataset()
    header.Rows, header.Columns = shape
    header.ImagePositionPatient = [float(f"{value:.6f}") for value in origin]
    header.ImageOrientationPatient = [float(f"{value:.9f}") for value in cosines]
    header.PixelSpacing = [float(f"{value:.6f}") for value in pixel]
    header.SliceThickness = float(f"{thickness:.6f}")
    return Frame(Instance(Path(name), header))
