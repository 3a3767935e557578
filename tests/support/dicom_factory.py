"""Synthetic MR series, classic and enhanced, with every knob the geometry gate looks at."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROOT = "1.2.826.0.1.3680043.8.498.1"
Change = Callable[[int, Dataset], None]


@dataclass(frozen=True)
class Grid:
    """Where synthetic slices lie."""

    orientation: Sequence[float] = AXIAL
    origin: Sequence[float] = (-10.0, 20.0, 30.0)
    step: float = 3.0
    pixel: tuple[float, float] = (0.8, 0.9)

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        return np.cross(self.orientation[:3], self.orientation[3:])

    def position(self, z: float) -> list[float]:
        return (np.asarray(self.origin) + z * self.step * self.normal).tolist()


def stored_values(shape: tuple[int, int, int] = (5, 8, 6), seed: int = 0) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)


def write_series(
    folder: Path,
    stored: npt.NDArray[np.uint16],
    grid: Grid | None = None,
    order: Iterable[int] | None = None,
    change: Change | None = None,
) -> Path:
    """One file per slice; file names and InstanceNumber follow `order`, not the position."""
    grid = grid or Grid()
    folder.mkdir(parents=True, exist_ok=True)
    for number, z in enumerate(order if order is not None else range(len(stored))):
        dataset = slice_of(stored, z, grid)
        dataset.InstanceNumber = number + 1
        if change:
            change(z, dataset)
        save(dataset, folder / f"IM{number:04d}.dcm")
    return folder


def slice_of(stored: npt.NDArray[np.uint16], z: int, grid: Grid) -> Dataset:
    dataset = _object(MRImageStorage, stored[z], f"{ROOT}.3.{z + 1}")
    dataset.ImagePositionPatient = [round(v, 9) for v in grid.position(z)]
    dataset.ImageOrientationPatient = [round(v, 9) for v in grid.orientation]
    dataset.PixelSpacing = list(grid.pixel)
    dataset.SliceThickness = 2.5
    return dataset


def enhanced(stored: npt.NDArray[np.uint16], grid: Grid, order: Iterable[int], shared_plane: bool) -> Dataset:
    """One multi-frame object; frames stand in `order`, each with its own rescale slope."""
    order = list(order)
    dataset = _object(EnhancedMRImageStorage, stored[order], f"{ROOT}.3.100")
    dataset.NumberOfFrames = len(order)
    plane, measures = Dataset(), Dataset()
    plane.ImageOrientationPatient = [round(v, 9) for v in grid.orientation]
    measures.PixelSpacing = list(grid.pixel)
    measures.SliceThickness = 2.5
    shared = Dataset()
    if shared_plane:
        shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_groups(z, grid) for z in order]
    if not shared_plane:
        for item in dataset.PerFrameFunctionalGroupsSequence:
            item.PlaneOrientationSequence, item.PixelMeasuresSequence = [plane], [measures]
    return dataset


def _groups(z: int, grid: Grid) -> Dataset:
    item, position, rescale, content = Dataset(), Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = [round(v, 9) for v in grid.position(z)]
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = slope_of(z), -5.0, "US"
    content.StackID, content.InStackPositionNumber = "1", z + 1
    item.PlanePositionSequence = [position]
    item.PixelValueTransformationSequence = [rescale]
    item.FrameContentSequence = [content]
    return item


def slope_of(z: int) -> float:
    return 1.0 + 0.25 * z


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def _object(sop_class: str, pixels: npt.NDArray[np.uint16], uid: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2"
    dataset.FrameOfReferenceUID = f"{ROOT}.4"
    dataset.PatientName, dataset.PatientID, dataset.PatientSex = "Test^Phantom", "P1", "O"
    dataset.PatientBirthDate, dataset.StudyDate, dataset.StudyTime = "", "20260101", "120000"
    dataset.AccessionNumber, dataset.StudyID, dataset.ReferringPhysicianName = "", "1", ""
    dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = "MR", 7, "T2 tra"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = pixels.tobytes()
    return dataset
