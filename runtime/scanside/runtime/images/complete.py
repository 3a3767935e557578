"""Whether an image file holds all the bytes its header promises.

ITK returns an image without complaint from a truncated NIfTI or GIPL file, with zeros or stale memory in the
missing part (SimpleITK 2.5.7), so these are checked here. NRRD and MetaImage files ITK refuses itself.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

from scanside.runtime.images.files import ending_of

_GIPL_HEADER = 256
_GZIP_MAGIC = b"\x1f\x8b"


def is_complete(reader: Any, path: Path) -> bool:
    """Whether the file is long enough.

    Args:
        reader: A `SimpleITK.ImageFileReader` that has read the image information of `path`.
        path: The file.
    """
    needed = _needed_bytes(reader, path)
    return needed is None or _holds(path, needed)


def _needed_bytes(reader: Any, path: Path) -> int | None:
    """Uncompressed size that header and voxels need; None where ITK itself notices missing bytes."""
    import SimpleITK as sitk

    voxels = math.prod(int(size) for size in reader.GetSize())
    if reader.HasMetaDataKey("vox_offset"):  # NIfTI
        offset = max(int(float(reader.GetMetaData("vox_offset"))), 0)
        return offset + voxels * int(reader.GetMetaData("bitpix")) // 8
    if (ending_of(path) or "").startswith(".gipl"):
        return _GIPL_HEADER + voxels * int(sitk.Image([1, 1], reader.GetPixelID()).GetSizeOfPixelComponent())
    return None


def _holds(path: Path, needed: int) -> bool:
    with path.open("rb") as file:
        if file.read(2) != _GZIP_MAGIC:
            return path.stat().st_size >= needed
        file.seek(-4, 2)
        # The last word of a gzip file is its uncompressed size. When it is exact the file ends where it
        # should (ITK checks the checksum on the way); otherwise (several members, …) unpack to know.
        if int.from_bytes(file.read(4), "little") == needed % 2**32:
            return True
    return _unpacked_size(path) >= needed


def _unpacked_size(path: Path) -> int:
    total = 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(1 << 20):
                total += len(chunk)
    except (EOFError, OSError, zlib.error):
        return -1
    return total
