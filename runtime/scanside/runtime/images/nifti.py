"""What a NIfTI file really says, before the NIfTI library repairs it in silence.

The library that ITK and nnU-Net read with replaces a spacing of 0 or NaN by 1 mm, and every volume in ml would be
made of that; and it replaces voxels that are NaN or infinite by 0, which would pass for an empty place.
"""

import gzip
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

_GZIP_MAGIC = b"\x1f\x8b"
_HEADER, _DIM, _DATATYPE, _PIXDIM, _OFFSET = 348, 40, 70, 76, 108
"""Length of a NIfTI-1 header (ITK does not read NIfTI-2) and where its fields start."""


_FLOATS = {16: "f4", 64: "f8"}
"""NIfTI data types whose voxels may be NaN or infinite."""
_CHUNK = 1 << 22


@dataclass(frozen=True)
class NiftiHeader:
    """The fields of a NIfTI-1 header that the library repairs or needs for that.

    Attributes:
        order: `<` or `>`, the byte order.
        offset: Where the voxels start, bytes.
    """

    order: str
    dim: tuple[int, ...]
    pixdim: tuple[float, ...]
    datatype: int
    offset: int


def read_header(path: Path) -> NiftiHeader | None:
    """The header, or None when the file is too short for one."""
    with _unpacked(path) as file:
        header = file.read(_HEADER)
    if len(header) < _HEADER:
        return None
    order = "<" if struct.unpack_from("<i", header)[0] == _HEADER else ">"
    return NiftiHeader(
        order,
        struct.unpack_from(f"{order}8h", header, _DIM),
        struct.unpack_from(f"{order}8f", header, _PIXDIM),
        struct.unpack_from(f"{order}h", header, _DATATYPE)[0],
        int(struct.unpack_from(f"{order}f", header, _OFFSET)[0]),
    )


def spacing_is_missing(header: NiftiHeader) -> bool:
    """Whether an axis with more than one voxel has a spacing of 0 or no number."""
    axes = range(1, min(header.dim[0], 3) + 1)
    return any(header.dim[i] > 1 and not abs(header.pixdim[i]) > 0 for i in axes) or any(
        math.isinf(header.pixdim[i]) for i in axes
    )


def non_finite_voxels(header: NiftiHeader, path: Path) -> int:
    """Number of voxels that are NaN or infinite; only files of floating-point voxels are read for it."""
    if header.datatype not in _FLOATS:
        return 0
    kind = np.dtype(header.order + _FLOATS[header.datatype])
    left, found = math.prod(header.dim[1 : header.dim[0] + 1]) * kind.itemsize, 0
    with _unpacked(path) as file:
        file.seek(header.offset)
        while left > 0 and (chunk := file.read(min(left, _CHUNK))):
            values = np.frombuffer(chunk[: len(chunk) // kind.itemsize * kind.itemsize], kind)
            found += int(values.size - np.count_nonzero(np.isfinite(values)))
            left -= len(chunk)
    return found


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    with cast(BinaryIO, gzip.open(path)) if packed else path.open("rb") as file:
        yield file
