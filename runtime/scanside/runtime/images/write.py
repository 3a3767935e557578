"""A mask → an image file on the grid of its source."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import OutputError
from scanside.runtime.images.complete import is_complete
from scanside.runtime.images.files import ENDINGS, READER_ENDINGS, atomic_write, ending_of
from scanside.runtime.volume import Geometry

_GEOMETRY_TOLERANCE = 1e-3
"""mm and unit: NIfTI keeps float32 and a quaternion, GIPL no direction at all."""


def write_mask(
    mask: npt.NDArray[np.unsignedinteger[Any]],
    geometry: Geometry,
    path: Path,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Write a label mask, compressed, as uint8 (or uint16 when a label is 255 or above).

    Args:
        mask: (Z, Y, X) uint8 or uint16.
        geometry: Grid of the image that was segmented; 2-D geometry gives a 2-D file.
        path: File to write; its ending chooses the format. Replaced in one step, never left half-written.
        fields: Further fields of the header, for NRRD.

    Raises:
        OutputError: If the file cannot be written, or the format cannot hold the geometry.

    Source: nnU-Net v2 `SimpleITKIO.write_seg`; parity in tests/runtime/images/test_write.py.
    """
    import SimpleITK as sitk

    if mask.shape != geometry.shape:
        raise ValueError(f"mask of shape {mask.shape} on a grid of {geometry.shape}")
    if ending_of(path, READER_ENDINGS["picture"]):
        from scanside.runtime.images.pictures import write_picture

        write_picture(mask, geometry, path)
        return
    if ending_of(path) is None:
        raise OutputError(f"{path} has no known image ending; choose one of {', '.join(ENDINGS)}.")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    dtype = np.uint8 if mask.max() < 255 else np.uint16
    image = to_itk(mask.astype(dtype, copy=False), geometry)
    for key, value in (fields or {}).items():
        image.SetMetaData(key, value)
    with atomic_write(path) as temporary:
        sitk.WriteImage(image, str(temporary), True)
        _verify(image, temporary, path)


def to_itk(array: npt.NDArray[Any], geometry: Geometry) -> Any:
    """A SimpleITK image of an array (Z, Y, X) on its grid; 2-D where the geometry is."""
    import SimpleITK as sitk

    flat = geometry.dimension == 2
    image = sitk.GetImageFromArray(array[0] if flat else array)
    image.SetSpacing(geometry.spacing[:0:-1] if flat else geometry.spacing[::-1])
    image.SetOrigin(geometry.origin[:2] if flat else geometry.origin)
    matrix = geometry.direction_matrix
    image.SetDirection((matrix[:2, :2] if flat else matrix).ravel().tolist())
    return image


def _verify(image: Any, written: Path, path: Path) -> None:
    """Read back: ITK's NIfTI and GIPL writers do not notice a full disk, and GIPL drops the direction."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(written))
    reader.ReadImageInformation()
    back = reader.Execute() if is_complete(reader, written) else None
    if back is None or not np.array_equal(
        sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(image)
    ):
        raise OutputError(f"{path} was not written whole; check free space and run again.")
    for name in ("Spacing", "Origin", "Direction"):
        wanted, found = getattr(image, f"Get{name}")(), getattr(back, f"Get{name}")()
        if len(wanted) != len(found) or not np.allclose(wanted, found, rtol=1e-6, atol=_GEOMETRY_TOLERANCE):
            raise OutputError(
                f"{path} cannot be written: {ending_of(path)} does not keep the image's {name.lower()}; "
                "choose .nii.gz, .nrrd or .mha."
            )
