"""One image file → `Volume`, exactly the array that nnU-Net's `SimpleITKIO` makes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import GeometryError, ImageReadError, InputError
from scanside.runtime.images.complete import is_complete
from scanside.runtime.images.files import ENDINGS
from scanside.runtime.images.nifti import non_finite_voxels, read_header, spacing_is_missing
from scanside.runtime.volume import Geometry, Volume, picture


def read_image(path: Path) -> Volume:
    """Read a one-channel 2-D or 3-D image.

    Args:
        path: A file with one of `ENDINGS`.

    Returns:
        A volume of shape (1, Z, Y, X); Z = 1 and `geometry.dimension` = 2 for a 2-D image.

    Raises:
        ImageReadError: If the file is missing, truncated, damaged or not an image.
        GeometryError: If its axes are not orthogonal or its spacing is not positive.
        InputError: If it has several channels or time points, or holds NaN or inf.

    Source: nnU-Net v2 `SimpleITKIO.read_images`; parity in tests/runtime/images/test_read.py.
    """
    if not path.is_file():
        raise ImageReadError(f"There is no file {path}; check the path.")
    reader = _open(path)
    _refuse_what_is_not_one_volume(reader, path)
    if not is_complete(reader, path):
        raise ImageReadError(f"{path.name} is truncated or damaged; copy or export it again.")
    if reader.HasMetaDataKey("pixdim[1]"):
        _refuse_what_nifti_repairs(path)
    try:
        image = reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise _unreadable(path, error) from error
    try:
        return Volume(_array(image), _geometry(image))
    except InputError as error:
        raise type(error)(f"{path.name}: {error}") from error


def read_geometry(path: Path) -> Geometry:
    """Where an image's voxels lie, from its header alone.

    Raises:
        ImageReadError: If the file is missing or not an image.
        GeometryError: As `read_image`.
        InputError: If it has several channels or time points.
    """
    if not path.is_file():
        raise ImageReadError(f"There is no file {path}; check the path.")
    reader = _open(path)
    _refuse_what_is_not_one_volume(reader, path)
    return _geometry(reader)


def _open(path: Path) -> Any:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return reader


def _refuse_what_is_not_one_volume(reader: Any, path: Path) -> None:
    import SimpleITK as sitk

    size = reader.GetSize()
    if len(size) not in (2, 3):
        raise InputError(f"{path.name} is {len(size)}-dimensional; split it into one 3-D image per file.")
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() != 1 or "vector" in kind or "complex" in kind:
        raise InputError(f"{path.name} holds several values per voxel ({kind}); export one channel per file.")
    if min(size) < 1:
        raise ImageReadError(f"{path.name} holds no voxel (size {tuple(size)}); export it again.")


def _refuse_what_nifti_repairs(path: Path) -> None:
    header = read_header(path)
    if header is None:
        return
    if spacing_is_missing(header):
        raise GeometryError(f"{path.name} says no voxel spacing (0 or NaN); set it from the original scan.")
    if count := non_finite_voxels(header, path):
        raise InputError(
            f"{path.name}: the image holds {count} NaN or infinite values; repair or re-export it."
        )


def _array(image: Any) -> npt.NDArray[np.float32]:
    import SimpleITK as sitk

    array = sitk.GetArrayViewFromImage(image)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes inf, which Volume refuses
        data: npt.NDArray[np.float32] = array.astype(np.float32)
    return data[None] if data.ndim == 3 else data[None, None]


def _geometry(image: Any) -> Geometry:
    x, y, *z = (abs(float(s)) for s in image.GetSpacing())
    origin = tuple(float(o) for o in image.GetOrigin())
    direction = tuple(float(c) for c in image.GetDirection())
    width, height, *depth = image.GetSize()
    if z:
        return Geometry((depth[0], height, width), (z[0], y, x), (origin[0], origin[1], origin[2]), direction)
    return picture((height, width), (y, x), (origin[0], origin[1]), direction)


def _unreadable(path: Path, error: BaseException) -> InputError:
    words = str(error)
    if "orthonormal" in words:
        return GeometryError(
            f"{path.name} has axes that are not orthogonal (sheared affine); "
            "resample it to an orthogonal grid first."
        )
    if isinstance(error, MemoryError) or "bad_alloc" in words or "allocate memory" in words:
        return ImageReadError(f"{path.name} does not fit into memory; free memory or check its header.")
    return ImageReadError(
        f"{path.name} cannot be read as an image; check that it was copied completely and is one of "
        f"{', '.join(ENDINGS)}."
    )
