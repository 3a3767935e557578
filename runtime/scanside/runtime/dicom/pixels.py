"""Frames → float32 slices in the units of the modality: stored value × slope + intercept, per slice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import UID

from scanside.runtime.dicom.decoder_process import Decoder, needs_own_process
from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import quiet, read_dataset, whole, with_transfer_syntax
from scanside.runtime.dicom.private import Private, private_value
from scanside.runtime.errors import ImageReadError

_PHILIPS_SCALE = Private("Philips", 0x2005, 0x0E, ("PHILIPS MR IMAGING DD 001",), "f")
LARGEST = 1 << 28
"""Pixels of a volume, and of a file: 1 GiB as float32, ten times an abdominal study. More is a damaged header."""

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
        ImageReadError: If pixel data are missing, truncated, enormous, scaled on some slices only, or in a transfer
            syntax that cannot be decoded.
    """
    path = frames[0].instance.path
    size = (frames[0].whole("Rows", path), frames[0].whole("Columns", path))
    _refuse_enormous(len(frames) * size[0] * size[1], path)
    _refuse_partly_scaled(frames)
    volume = np.empty((len(frames), *size), np.float32)
    places: dict[Path, list[int]] = {}
    for z, frame in enumerate(frames):
        places.setdefault(frame.instance.path, []).append(z)
    with Decoder() as decoder:
        for path, slices in places.items():
            dataset, stored = _decode(path, decoder)
            if stored.shape[1:] != size:
                raise ImageReadError(
                    f"{path} holds pixels of another size than its header says; export it again."
                )
            for z in slices:
                volume[z] = _modality_values(stored[frames[z].index], frames[z], dataset)
    return volume


def floating_scale(frames: Sequence[Frame]) -> float | None:
    """What brings rescaled values of Philips to its scale of measurement, 1 / (RS · SS), which series have in common.

    None where the scanner does not tell, or not the same for all slices.

    Source: dcm2niix, notes on Philips: FP = DV / (RS · SS), with RS = (0028,1053) and SS = (2005,100E).
    """
    found = set()
    for frame in frames:
        scale = private_value(frame.header, _PHILIPS_SCALE)
        try:
            found.add(frame.number("RescaleSlope", 1.0) * float(scale))
        except (TypeError, ValueError):
            return None
    return 1 / found.pop() if len(found) == 1 and min(found) > 0 else None


def _refuse_enormous(pixels: int, path: Path) -> None:
    if pixels > LARGEST:
        raise ImageReadError(
            f"{path} claims {pixels / 1e6:.0f} million pixels, more than any scan has; export it again."
        )


def _refuse_partly_scaled(frames: list[Frame]) -> None:
    """A slice that has lost its slope among slices that have one would be brighter or darker than its neighbours."""
    without = [frame for frame in frames if frame.get("RescaleSlope") is None]
    scaled = [frame for frame in frames if frame.number("RescaleSlope", 1.0) not in (0, 1)]
    if without and scaled:
        raise ImageReadError(
            f"{without[0].instance.path} has no RescaleSlope, but {scaled[0].name} of the same volume has one; "
            "export the series again."
        )


def _decode(path: Path, decoder: Decoder) -> tuple[pydicom.FileDataset, npt.NDArray[Any]]:
    """The file and its stored values, (frames, Y, X)."""
    with quiet():
        try:
            dataset = with_transfer_syntax(read_dataset(path))
            sizes = [whole(dataset, key) or 1 for key in ("NumberOfFrames", "Rows", "Columns")]
            _refuse_enormous(sizes[0] * sizes[1] * sizes[2], path)
            stored = decoder.decode(path, sizes[0]) if needs_own_process(dataset) else dataset.pixel_array
        except ImageReadError:
            raise
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
        syntax = UID(str(read_dataset(path, stop_before_pixels=True).file_meta.TransferSyntaxUID))
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
