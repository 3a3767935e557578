"""Pictures as nnU-Net reads and writes them: PNG, BMP and TIFF in two dimensions, stacks of TIFF in three.

A colour picture is one file with three or four channels. Such files say no size of a pixel: nnU-Net assumes 1 mm (and
999 mm between pictures), and so does the recipe here, but nothing is measured by it (`Geometry.scaled`).

Source: nnU-Net v2 `natural_image_reader_writer.py`, `tif_reader_writer.py`; scikit-image `io/_io.py`; imageio
`plugins/pillow.py`. Parity in tests/runtime/images/test_pictures.py.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import LabelMask
from scanside.runtime.errors import GeometryError, ImageReadError, InputError, OutputError
from scanside.runtime.images.files import TIFF_ENDINGS, atomic_write
from scanside.runtime.images.names import case_and_channel, stem
from scanside.runtime.plan import Reader
from scanside.runtime.volume import Geometry, Volume, picture, stack

_COLOURS = (3, 4)
"""Values of a pixel that make a colour picture: RGB, and with alpha."""
_SPACING = "spacing"


def read_pictures(files: Sequence[Path], reader: Reader) -> Volume:
    """All files of a case as one image.

    Args:
        files: In the order of their channel numbers.
        reader: `picture` for 2-D files, `tiff` for stacks.

    Returns:
        (C, Z, Y, X), where a colour file gives 3 or 4 channels; Z = 1 for pictures. `geometry.scaled` is false but for
        a stack with its spacing beside it.

    Raises:
        ImageReadError: If a file cannot be read.
        InputError: If it is no picture, or no stack.
        GeometryError: If the files of a case differ in shape.
    """
    arrays = [_stack_of(path) if reader == "tiff" else _flat(path) for path in files]
    for path, array in zip(files, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise GeometryError(
                f"{path.name} has shape {array.shape} (channels, z, y, x), {files[0].name} {arrays[0].shape}; the "
                "files of a case must be alike."
            )
    spacing = _spacing_beside(files[0]) if reader == "tiff" else None
    volumes = []
    for path, array in zip(files, arrays, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes inf, which Volume refuses
            data = np.ascontiguousarray(array, dtype=np.float32)
        try:
            volumes.append(Volume(data, _grid(data.shape, spacing, reader)))
        except InputError as error:
            raise type(error)(f"{path.name}: {error}") from error
    return stack(volumes, [path.name for path in files])


def read_flat_or_stack(path: Path) -> Volume:
    """One file of a mask, whichever it is: a TIFF may hold a picture or a stack.

    Raises:
        ImageReadError, InputError: As `read_pictures`.
    """
    is_stack = _is_tiff(path) and _tiff(path).ndim == 3
    return read_pictures([path], "tiff" if is_stack else "picture")


def write_picture(mask: LabelMask, geometry: Geometry, path: Path) -> None:
    """Write a mask as nnU-Net does: a picture, or a compressed stack with its spacing in a JSON file beside it.

    Args:
        mask: (Z, Y, X) of uint8 or uint16, Z = 1 for a picture; written as uint8 below label 255.

    Raises:
        OutputError: If it cannot be written.
    """
    stored = mask.astype(np.uint8 if mask.max() < 255 else np.uint16, copy=False)
    is_stack = geometry.dimension == 3
    if is_stack and not _is_tiff(path):
        raise OutputError(f"{path} cannot be written: {path.suffix} holds no stack; choose .tif.")
    if is_stack:
        with atomic_write(sidecar_of(path)) as temporary:
            temporary.write_text(json.dumps({_SPACING: list(geometry.spacing)}, indent=4))
    with atomic_write(path) as temporary:
        if _is_tiff(path):
            import tifffile

            # As nnU-Net's two writers do: scikit-image does not compress.
            tifffile.imwrite(
                temporary, stored if is_stack else stored[0], compression="zlib" if is_stack else None
            )
            back = tifffile.imread(temporary)
        else:
            from PIL import Image

            Image.fromarray(stored[0]).save(temporary)
            back = _pillow(temporary)[None]
        if not np.array_equal(back.reshape(mask.shape), stored):
            raise OutputError(f"{path} was not written whole; check free space and run again.")


def sidecar_of(path: Path) -> Path:
    """The JSON file with a stack's spacing: `case.json` of `case.tif` and of `case_0001.tif`."""
    named = case_and_channel(path)
    return path.with_name(f"{named[0] if named else stem(path)}.json")


def _is_tiff(path: Path) -> bool:
    return path.suffix.lower() in TIFF_ENDINGS


def _flat(path: Path) -> npt.NDArray[Any]:
    """(C, 1, Y, X) of a picture's own type."""
    array = _tiff(path) if _is_tiff(path) else _pillow(path)
    if array.ndim > 2 and array.shape[-1] not in _COLOURS and array.shape[-3] in _COLOURS:
        array = np.moveaxis(array, -3, -1)  # as scikit-image does with colours in front
    if array.ndim == 2:
        return array[None, None]
    if array.ndim == 3 and array.shape[-1] in _COLOURS:
        return array.transpose(2, 0, 1)[:, None]
    raise InputError(
        f"{path.name} has shape {array.shape}, which is neither grey nor RGB nor RGBA; convert it to one of them."
    )


def _stack_of(path: Path) -> npt.NDArray[Any]:
    """(1, Z, Y, X) of a stack's own type."""
    array = _tiff(path)
    if array.ndim != 3:
        raise InputError(
            f"{path.name} has shape {array.shape}; the model takes stacks (z, y, x) of one channel."
        )
    return array[None]


def _pillow(path: Path) -> npt.NDArray[Any]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, which Pillow takes for an attack
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) != 1:
                    raise InputError(f"{path.name} is a film of several pictures; save them one by one.")
                return np.asarray(image.convert(image.palette.mode) if image.palette is not None else image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise _unreadable(path) from error


def _tiff(path: Path) -> npt.NDArray[Any]:
    import tifffile

    try:
        array = np.asarray(tifffile.imread(path))
    except Exception as error:  # what its many decoders raise
        raise _unreadable(path) from error
    if array.dtype.kind not in "iufb":
        raise InputError(f"{path.name} holds {array.dtype} values, not real numbers; export it again.")
    return array


def _unreadable(path: Path) -> ImageReadError:
    if not path.is_file():
        return ImageReadError(f"There is no file {path}; check the path.")
    return ImageReadError(f"{path.name} cannot be read as a picture; check that it was copied completely.")


def _grid(shape: tuple[int, ...], spacing: tuple[float, float, float] | None, reader: Reader) -> Geometry:
    if reader == "picture":
        return replace(picture((shape[2], shape[3]), (1.0, 1.0)), scaled=False)
    grid = (shape[1], shape[2], shape[3])
    return Geometry(grid, spacing or (1.0, 1.0, 1.0), scaled=spacing is not None)


def _spacing_beside(path: Path) -> tuple[float, float, float] | None:
    file = sidecar_of(path)
    if not file.is_file():
        return None
    try:
        z, y, x = (float(value) for value in json.loads(file.read_text())[_SPACING])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GeometryError(
            f'{file.name} beside {path.name} does not say a spacing; nnU-Net wants {{"spacing": [z, y, x]}} in mm.'
        ) from error
    return z, y, x
