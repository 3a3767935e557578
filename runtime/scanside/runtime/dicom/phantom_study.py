"""Images → a study in DICOM whose patient can be taken for nobody: the acceptance's own, sent as a scanner sends it.

Classic MR Image Storage (PS3.3 A.4), a file a slice, Explicit VR Little Endian; b-values by their standard attribute.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from scanside.runtime.dicom.uids import derived_uid
from scanside.runtime.errors import InputError
from scanside.runtime.images.files import writing_failed
from scanside.runtime.volume import Volume

PATIENT_NAME, PATIENT_ID = "SCANSIDE^ACCEPTANCE", "SCANSIDE-ACCEPTANCE"
COMMENT = "TEST OBJECT, NO PATIENT: acceptance of Scanside. Research use only."
_SERIES = {"t2w": (3, "t2_tse_tra_fs"), "b0": (5, "ep2d_diff_tra"), "dwi": (5, "ep2d_diff_tra"),
           "adc": (7, "ep2d_diff_tra_ADC")}  # fmt: skip
Change = Callable[[str, int, Dataset], bool]
"""Given sequence, slice and data set, which it may change; False leaves the instance out."""


@dataclass(frozen=True)
class StudyNames:
    """What tells one study from another.

    Attributes:
        root: What its UIDs are made from.
        moment: Date and time of the study.
    """

    root: tuple[str, ...]
    moment: datetime

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return derived_uid(*self.root, "study")


def write_phantom_study(
    images: Mapping[str, Volume],
    b_values: Mapping[str, float],
    names: StudyNames,
    folder: Path,
    change: Change | None = None,
) -> list[Path]:
    """Write the images of a study.

    Args:
        images: t2w, b0, dwi, adc, as many as there are; values from 0 to 65535 are kept to 16 bits.
        b_values: Of b0 and dwi, s/mm².
        change: Makes the study one that must be refused.

    Returns:
        The files, one an instance.

    Raises:
        InputError: If values cannot be stored.
        OutputError: If the folder cannot be written.
    """
    found = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sequence, volume in images.items():
            stored, slope, intercept = _stored(volume, sequence)
            for z in range(volume.geometry.shape[0]):
                dataset = _instance(sequence, z, names, b_values.get(sequence))
                _place(dataset, volume, z)
                _pixels(dataset, stored[z], slope, intercept)
                if change is None or change(sequence, z, dataset):
                    path = folder / f"{sequence}-{z:03d}.dcm"
                    dataset.save_as(path, enforce_file_format=True)
                    found.append(path)
    except OSError as error:
        raise writing_failed(folder, error) from error
    return found


def _stored(volume: Volume, sequence: str) -> tuple[npt.NDArray[np.uint16], float, float]:
    """Stored values, slope and intercept: whole numbers as they are, others to a 60,000th of their range."""
    data = volume.data[0].astype(np.float64)
    low, high = float(data.min()), float(data.max())
    if low >= 0 and high <= 65535 and np.array_equal(np.rint(data), data):
        return data.astype(np.uint16), 1.0, 0.0
    if not high > low:
        raise InputError(f"The {sequence} image of the acceptance is empty; export the bundle again.")
    slope = (high - low) / 60000.0
    return np.rint((data - low) / slope).astype(np.uint16), slope, low


def _instance(sequence: str, z: int, names: StudyNames, b: float | None) -> Dataset:
    """Everything but place and pixels."""
    number, description = _SERIES[sequence]
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = derived_uid(*names.root, sequence, str(z))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
        names.study_uid,
        derived_uid(*names.root, str(number)),
    )
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = derived_uid(*names.root, "frame"), ""
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, PATIENT_ID
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "", "O", "050Y"
    dataset.PatientComments = dataset.ImageComments = COMMENT
    day, time = f"{names.moment:%Y%m%d}", f"{names.moment:%H%M%S}"
    for part in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{part}Date", day)
        setattr(dataset, f"{part}Time", time)
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.StudyID = "", "", "ACCEPTANCE"
    dataset.StudyDescription = "MR upper abdomen, acceptance of Scanside"
    dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = "MR", number, description
    dataset.InstanceNumber = z + 1 + (500 if sequence == "dwi" else 0)
    dataset.BodyPartExamined, dataset.PatientPosition = "ABDOMEN", "HFS"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Scanside", "Acceptance"
    dataset.BurnedInAnnotation, dataset.MRAcquisitionType, dataset.MagneticFieldStrength = "NO", "2D", 3.0
    diffusion = sequence != "t2w"
    dataset.ScanningSequence, dataset.SequenceVariant = ["EP", "SE"] if diffusion else "SE", "SK"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = (
        4000.0,
        60.0 if diffusion else 90.0,
        25,
    )
    kinds = {"adc": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "t2w": ["ORIGINAL", "PRIMARY", "M"]}
    dataset.ImageType = kinds.get(sequence, ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"])
    if b is not None and sequence in ("b0", "dwi"):
        dataset.DiffusionBValue, dataset.DiffusionDirectionality = float(b), "ISOTROPIC"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derived_uid("scanside acceptance", "implementation"))
    dataset.file_meta = meta
    return dataset


def _place(dataset: Dataset, volume: Volume, z: int) -> None:
    """The Image Plane module (PS3.3 C.7.6.2)."""
    grid = volume.geometry
    axes = grid.direction_matrix
    position = np.array(grid.origin) + z * grid.spacing[0] * axes[:, 2]
    dataset.ImagePositionPatient = [f"{value:.9f}"[:16] for value in position]
    dataset.ImageOrientationPatient = [f"{value:.12f}"[:16] for value in (*axes[:, 0], *axes[:, 1])]
    dataset.PixelSpacing = [f"{mm:.10f}"[:16] for mm in grid.spacing[1:]]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = f"{grid.spacing[0]:.10f}"[:16]


def _pixels(dataset: Dataset, stored: npt.NDArray[np.uint16], slope: float, intercept: float) -> None:
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    if slope != 1.0 or intercept != 0.0:
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.12g}"[:16], f"{intercept:.12g}"[:16]
        dataset.RescaleType = "US"
    dataset.PixelData = stored.astype("<u2").tobytes()
