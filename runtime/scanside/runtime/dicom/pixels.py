"""Frames → float32 slices in the units of the modality: stored value × slope + intercept, per slice."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut

from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import quiet, with_transfer_syntax
from scanside.runtime.errors import ImageReadError

_PACKAGES = {
    "1.2.840.10008.1.2.4.201": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg-openjpeg",
}
"""What decodes a transfer syntax that the base installation (GDCM, Pillow, pyjpegls) does not."""


def read_pixels(frames: list[Frame]) -> npt.NDArray[np.float32]:
    """Decode the frames.

    Args:
        frames: In z order, all of one size.

    Returns:
        (Z, Y, X) float32. Slope and intercept are applied per slice in float64.

    Raises:
        ImageReadError: If pixel data are missing, truncated or in a transfer syntax that cannot be decoded.
    """
    size = (int(frames[0].get("Rows")), int(frames[0].get("Columns")))
    volume = np.empty((len(frames), *size), np.float32)
    places: dict[Path, list[int]] = {}
    for z, frame in enumerate(frames):
        places.setdefault(frame.instance.path, []).append(z)
    for path, slices in places.items():
        dataset, stored = _decode(path)
        if stored.shape[1:] != size:
            raise ImageReadError(
                f"{path} holds pixels of another size than its header says; export it again."
            )
        for z in slices:
            volume[z] = _modality_values(stored[frames[z].index], frames[z], dataset)
    return volume


def _decode(path: Path) -> tuple[pydicom.FileDataset, npt.NDArray[Any]]:
    """The file and its stored values, (frames, Y, X)."""
    with quiet():
        try:
            dataset = with_transfer_syntax(pydicom.dcmread(path, force=True))
            stored = dataset.pixel_array
        except Exception as error:  # decoders raise almost anything on damaged bytes
            raise _undecodable(path, error) from error
    return dataset, stored[None] if stored.ndim == 2 else stored


def _modality_values(
    stored: npt.NDArray[Any], frame: Frame, dataset: pydicom.FileDataset
) -> npt.NDArray[np.floating[Any]]:
    if "ModalityLUTSequence" in dataset:
        values: npt.NDArray[np.floating[Any]] = apply_modality_lut(stored, dataset).astype(np.float64)
        return values
    slope, intercept = frame.number("RescaleSlope", 1.0), frame.number("RescaleIntercept", 0.0)
    if slope == 0:
        raise ImageReadError(
            f"{frame.instance.path} has RescaleSlope 0, which wipes the image; export it again."
        )
    return stored.astype(np.float64) * slope + intercept


def _undecodable(path: Path, error: Exception) -> ImageReadError:
    try:
        syntax = pydicom.dcmread(path, stop_before_pixels=True, force=True).file_meta.TransferSyntaxUID
        decodable = get_decoder(syntax).is_available
    except NotImplementedError:
        decodable = False
    except Exception:
        decodable = True
    if decodable:
        return ImageReadError(
            f"The pixel data of {path} are truncated or damaged; send or copy the image again."
        )
    package = _PACKAGES.get(str(syntax))
    cure = f"install {package}" if package else "no package is known to; send it uncompressed"
    return ImageReadError(f"{path} is compressed as {syntax.name}, which cannot be decoded here; {cure}.")
