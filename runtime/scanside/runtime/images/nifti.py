"""What a NIfTI header says of its spacing, before the NIfTI library repairs it in silence.

The library that ITK and nnU-Net read with replaces a spacing of 0 or NaN by 1 mm, and every volume in ml
would be made of that.
"""

import gzip
import math
import struct
from pathlib import Path

_GZIP_MAGIC = b"\x1f\x8b"
_HEADER, _DIM, _PIXDIM = 348, 40, 76
"""Length of a NIfTI-1 header (ITK does not read NIfTI-2) and where its fields `dim` and `pixdim` start."""


def spacing_is_missing(path: Path) -> bool:
    """Whether an axis with more than one voxel has a spacing of 0 or no number. False for other formats."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    with gzip.open(path) if packed else path.open("rb") as file:
        header = file.read(_HEADER)
    if len(header) < _HEADER:
        return False
    order = "<" if struct.unpack_from("<i", header)[0] == _HEADER else ">"
    dim = struct.unpack_from(f"{order}8h", header, _DIM)
    pixdim = struct.unpack_from(f"{order}8f", header, _PIXDIM)
    axes = range(1, min(dim[0], 3) + 1)
    return any(dim[i] > 1 and (pixdim[i] == 0 or not math.isfinite(pixdim[i])) for i in axes)
