"""A phantom study as DICOM MR images, in the way its scanner's vendor writes them. No object can pass for a patient's.

Classic MR Image Storage (PS3.3 A.4), a file a slice. UIDs are functions of the study's content, so that the same seed
gives the same files.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from scanside.runtime.dicom.uids import derived_uid
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import writing_failed
from scanside.runtime.volume import Volume
from scanside.training.phantom.cohort import stream
from scanside.training.phantom.study import SYNTHETIC, PhantomStudy
from scanside.training.phantom.vendors import HABITS, BLevel, Habit, levels

_IMPLEMENTATION = derived_uid("scanside phantom", "implementation")
_DAY, _FIRST_HOUR = "20250301", 9
_NUMBERS = {"t2w": 3, "dwi": 5, "b0": 6, "adc": 7}
"""Series numbers."""


@dataclass(frozen=True)
class _Series:
    """A series to write: its name in the file system, and the sequences whose slices it holds."""

    folder: str
    number: int
    sequences: tuple[str, ...]


def write_dicom_study(study: PhantomStudy, folder: Path) -> Path:
    """Write a study as a scanner sends it: T2WI, one diffusion series with both b-values, ADC; a folder a series.

    Args:
        study: What to write.
        folder: Must not exist, or be empty. It appears whole or not at all.

    Returns:
        The folder.

    Raises:
        OutputError: If it holds something, or cannot be written.
    """
    series = [
        _Series("S3_T2W", _NUMBERS["t2w"], ("t2w",)),
        _Series("S5_DWI", _NUMBERS["dwi"], ("b0", "dwi")),
        _Series("S7_ADC", _NUMBERS["adc"], ("adc",)),
    ]
    if folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise OutputError(f"{folder} exists already and is not empty; choose another folder.")
        folder.rmdir()
    with _whole(folder) as part:
        for one in series:
            _write_series(study, one, part / one.folder)
    return folder


def write_cohort_series(study: PhantomStudy, folder: Path) -> None:
    """Write a series a sequence into folders of that name: t2w, dwi, b0, adc, as a cohort on disk wants them.

    Raises:
        OutputError: If they cannot be written.
    """
    for sequence in study.images:
        with _whole(folder / sequence) as part:
            _write_series(study, _Series(sequence, _NUMBERS[sequence], (sequence,)), part)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of `folder` when the block ends well."""
    part = folder.with_name(f".{folder.name}.part")
    try:
        rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        part.rename(folder)
    except OSError as error:
        raise error if isinstance(error, OutputError) else writing_failed(folder, error) from error
    finally:
        rmtree(part, ignore_errors=True)


def _write_series(study: PhantomStudy, series: _Series, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    places = [
        (sequence, z)
        for sequence in series.sequences
        for z in range(study.images[sequence].geometry.shape[0])
    ]
    numbers = np.arange(len(places)) + 1
    if HABITS[study.scanner.vendor].shuffled:
        numbers = stream(study.patient.seed, study.patient.index, f"order {series.number}").permutation(
            numbers
        )
    root = _study_root(study)
    for (sequence, z), number in zip(places, numbers.tolist(), strict=True):
        dataset = _header(study, series, sequence, root)
        dataset.SOPInstanceUID = derived_uid(
            *root, f"series {series.number}", *series.sequences, sequence, f"slice {z}"
        )
        dataset.file_meta = _meta(dataset)
        dataset.InstanceNumber = number
        _place(dataset, study.images[sequence], z)
        _pixels(dataset, study.images[sequence].data[0, z], HABITS[study.scanner.vendor].slope)
        dataset.save_as(folder / f"IM{number:04d}.dcm", enforce_file_format=True)


def _study_root(study: PhantomStudy) -> tuple[str, ...]:
    """What the study's UIDs are made from: who, where, and what the images hold."""
    content = hashlib.sha256()
    for name, volume in sorted(study.images.items()):
        content.update(name.encode())
        content.update(volume.data.tobytes())
    person = study.patient
    return (
        "scanside phantom",
        f"seed {person.seed}",
        f"patient {person.index}",
        study.scanner.name,
        content.hexdigest(),
    )


def _header(study: PhantomStudy, series: _Series, sequence: str, root: Sequence[str]) -> Dataset:
    """Everything but the slice's place and pixels."""
    scanner, habit = study.scanner, HABITS[study.scanner.vendor]
    dataset = Dataset()
    _patient_and_study(dataset, study, root)
    dataset.Modality, dataset.SeriesNumber = "MR", series.number
    dataset.SeriesInstanceUID = derived_uid(*root, f"series {series.number}", *series.sequences)
    words = habit.description["dwi" if sequence == "b0" else sequence]
    dataset.SeriesDescription = dataset.ProtocolName = words
    time = f"{_FIRST_HOUR:02d}{4 * series.number:02d}00"
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = _DAY
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = time
    dataset.AcquisitionNumber, dataset.PatientPosition = 1, "HFS"
    dataset.BodyPartExamined = "ABDOMEN"
    dataset.Manufacturer, dataset.ManufacturerModelName = (
        habit.manufacturer,
        f"Scanside phantom {scanner.name}",
    )
    dataset.InstitutionName, dataset.StationName = "Synthetic phantom", scanner.name
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "PHANTOM", "scanside phantom"
    dataset.ImageType, dataset.ImageComments = list(habit.image_type[sequence]), SYNTHETIC
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = derived_uid(*root, "frame"), ""
    _acquisition(dataset, study, sequence)
    _diffusion(dataset, habit, sequence, levels(scanner.dwi))
    return dataset


def _patient_and_study(dataset: Dataset, study: PhantomStudy, root: Sequence[str]) -> None:
    person = study.patient
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = (
        f"PHANTOM^{person.index + 1:04d}",
        f"PHANTOM-{person.seed}-{person.index + 1:04d}",
    )
    dataset.PatientBirthDate, dataset.PatientSex = "", person.sex
    dataset.PatientAge, dataset.PatientComments = f"{int(person.age):03d}Y", SYNTHETIC
    dataset.StudyInstanceUID, dataset.StudyID = derived_uid(*root, "study"), str(person.index + 1)
    dataset.StudyDate, dataset.StudyTime = _DAY, f"{_FIRST_HOUR:02d}0000"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "", ""
    dataset.StudyDescription = "MR upper abdomen (synthetic phantom)"
    dataset.SOPClassUID = MRImageStorage


def _acquisition(dataset: Dataset, study: PhantomStudy, sequence: str) -> None:
    """The MR Image module (PS3.3 C.8.3.1)."""
    scanner = study.scanner
    spin_echo = sequence == "t2w"
    protocol = scanner.t2w if spin_echo else scanner.dwi
    dataset.ScanningSequence = "SE" if spin_echo else ["EP", "SE"]
    dataset.SequenceVariant, dataset.ScanOptions = "SK", "FS"
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime, dataset.EchoTime, dataset.FlipAngle = protocol.tr, protocol.te, 90
    dataset.EchoTrainLength = 21 if spin_echo else protocol.shape[1] // 2
    dataset.MagneticFieldStrength = scanner.field_t
    dataset.ImagingFrequency = round(42.577 * scanner.field_t, 3)
    dataset.ImagedNucleus = "1H"
    dataset.InPlanePhaseEncodingDirection = "COL"
    dataset.NumberOfAverages = 1
    dataset.SliceThickness, dataset.SpacingBetweenSlices = protocol.thickness, protocol.spacing[0]


def _diffusion(dataset: Dataset, habit: Habit, sequence: str, known: Mapping[str, BLevel]) -> None:
    """The b-value where the vendor writes it."""
    level = known.get(sequence)
    asked = {"t2w": (), "adc": tuple(b.nominal for b in known.values())}.get(
        sequence, (level.nominal,) if level is not None else ()
    )
    if name := habit.sequence_name(asked):
        dataset.SequenceName = name
    if level is not None and habit.standard_b:
        dataset.DiffusionBValue = float(level.nominal)
        dataset.DiffusionDirectionality = "ISOTROPIC" if level.nominal else "NONE"
    for one in habit.private(level):
        block = dataset.private_block(one.group, one.creator, create=True)
        block.add_new(one.element, one.vr, one.value)


def _place(dataset: Dataset, volume: Volume, z: int) -> None:
    """The Image Plane module: axial slices, LPS."""
    geometry = volume.geometry
    x, y, first = geometry.origin
    height = first + z * geometry.spacing[0]
    dataset.ImagePositionPatient = [round(value, 6) for value in (x, y, height)]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = list(geometry.spacing[1:])
    dataset.SliceLocation = round(height, 6)


def _pixels(dataset: Dataset, image: np.ndarray, slope: float) -> None:
    """Whole numbers of the image as uint16, exactly: the slope is a power of two."""
    stored = np.rint(image / slope).astype(np.uint16)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.BurnedInAnnotation = "NO"
    bright = float(np.percentile(image, 99.5)) or 1.0
    dataset.WindowCenter, dataset.WindowWidth = round(bright / 2, 1), round(max(bright, 1.0), 1)
    if slope != 1:
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, slope, "normalized"
    dataset.PixelData = stored.astype("<u2").tobytes()


def _meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, UID(_IMPLEMENTATION)
    return meta
