"""What is sent to the appliance under measurement: plain slices for the rate, and studies under new UIDs."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from scanside.runtime.errors import InputError


def write_slices(folder: Path, count: int, size: int, name: str) -> int:
    """Write a series of MR images of noise, which is as hard to store as any image.

    Args:
        count: Number of slices, a file each.
        size: Rows and columns, 16 bit.
        name: Makes the UIDs; another name, other UIDs.

    Returns:
        Bytes of all files.
    """
    folder.mkdir(parents=True)
    plane = np.random.default_rng(0).integers(0, 4096, (size, size), np.uint16)
    study, series = (generate_uid(entropy_srcs=[name, level]) for level in ("study", "series"))
    total = 0
    for number in range(count):
        image = _slice(np.roll(plane, number, axis=0), number)
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.SOPInstanceUID = generate_uid(entropy_srcs=[name, str(number)])
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        path = folder / f"{number:05d}.dcm"
        image.save_as(path, enforce_file_format=True)
        total += path.stat().st_size
    return total


def _slice(plane: "np.ndarray[tuple[int, int], np.dtype[np.uint16]]", number: int) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = MRImageStorage
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = (
        "Bench^Noise",
        "BENCH",
        "",
        "O",
    )
    image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20260101", "120000", "1", ""
    image.ReferringPhysicianName, image.Manufacturer, image.Modality = "", "scanside benchmark", "MR"
    image.SeriesNumber, image.InstanceNumber = 1, number + 1
    image.SeriesDescription = "noise, no patient"
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 3 * number], [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness = [1, 1], 3
    image.Rows, image.Columns = plane.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = plane.tobytes()
    return image


def renamed_study(source: Path, out: Path, name: str) -> tuple[str, int, int]:
    """Copy the images of a study with other UIDs of study, series and instances; everything else stays.

    Args:
        source: A folder with DICOM files, in any nesting.
        out: Made.
        name: Makes the UIDs.

    Returns:
        The Study Instance UID, number of instances, bytes of all files.

    Raises:
        InputError: If there is no DICOM image.
    """
    out.mkdir(parents=True)
    study, count, size = "", 0, 0
    for path in sorted(source.rglob("*")):
        if not path.is_file():
            continue
        try:
            image = pydicom.dcmread(path)
        except InvalidDicomError:
            continue
        if "PixelData" not in image:
            continue
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(image, keyword, generate_uid(entropy_srcs=[name, str(image.get(keyword))]))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        study, target = str(image.StudyInstanceUID), out / f"{count:05d}.dcm"
        image.save_as(target)
        count, size = count + 1, size + target.stat().st_size
    if not count:
        raise InputError(f"{source} holds no DICOM images; the appliance takes nothing else.")
    return study, count, size
