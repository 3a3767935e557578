"""Pictures → a Multi-frame True Color Secondary Capture: what a PACS shows that knows nothing of segmentations."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, MultiFrameTrueColorSecondaryCaptureImageStorage

from scanside.runtime.dicom.header import quiet
from scanside.runtime.dicom.object_header import NOTICE, Stamp, hand_on_body_part, source_header
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write

Picture = npt.NDArray[np.uint8]


def write_capture(
    pictures: Mapping[str, Picture], source: Dataset, shown: Sequence[Dataset], stamp: Stamp, path: Path
) -> Dataset:
    """Write pictures as the frames of one object; smaller ones get a black margin at the right and below.

    `RESEARCH USE ONLY` has to be in the pictures already. Nothing that identifies a patient may be: the object says so
    (Burned In Annotation NO).

    Args:
        pictures: What each shows (16 characters), and (rows, columns, 3) uint8, RGB.
        source: Header of the first source image: whose patient it is.
        shown: Headers of the images whose slices are shown.
        stamp: Whose images, which bundle, when.

    Raises:
        OutputError: If the header lacks what the object needs, or the file cannot be written.
    """
    frames = _stacked(list(pictures.values()))
    digest = hashlib.sha256(frames.tobytes()).hexdigest()
    with quiet(), atomic_write(path) as temporary:
        try:
            made = _capture(frames, list(pictures), source_header(source), shown, stamp, digest)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # highdicom's, on odd headers
            reason = " ".join(str(error).split()).rstrip(".")
            raise OutputError(
                f"No DICOM secondary capture can be made ({reason}); look at the PNGs."
            ) from error
        made.save_as(temporary)
    return made


def _capture(
    frames: Picture,
    labels: list[str],
    source: Dataset,
    shown: Sequence[Dataset],
    stamp: Stamp,
    digest: str,
) -> Any:
    made = highdicom.SOPClass(  # highdicom has single-frame captures only: this is PS3.3 A.8.5
        study_instance_uid=source.StudyInstanceUID,
        sop_class_uid=MultiFrameTrueColorSecondaryCaptureImageStorage,
        modality="OT",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_id=source.PatientID,
        patient_name=source.PatientName,
        patient_birth_date=source.PatientBirthDate,
        patient_sex=source.PatientSex,
        accession_number=source.AccessionNumber,
        study_id=source.StudyID,
        study_date=source.StudyDate,
        study_time=source.StudyTime,
        referring_physician_name=source.ReferringPhysicianName,
        series_instance_uid=stamp.uid("sc series", digest),
        sop_instance_uid=stamp.uid("sc", digest),
        **stamp.series("sc", source, f"{stamp.algorithm.name} overlay"),
    )
    made.copy_patient_and_study_information(source)
    made.ConversionType = "SYN"  # made by software (PS3.3 C.8.6.1)
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.DerivationDescription = f"Slices with the outline of the automatic segmentation, {NOTICE}"
    if shown:
        made.SourceImageSequence = [_reference(header) for header in shown]
    made.BurnedInAnnotation = "NO"
    made.RecognizableVisualFeatures = "NO"
    made.PatientOrientation = None  # a picture of several slices has none
    hand_on_body_part(made, source)
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.NumberOfFrames, made.Rows, made.Columns = frames.shape[:3]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    if len(labels) > 1:
        made.FrameIncrementPointer = 0x00182002  # Frame Label Vector
        made.FrameLabelVector = [label[:16] for label in labels]
    made.LossyImageCompression = "00"
    pixels = frames.tobytes()
    made.PixelData = pixels + b"\0" * (len(pixels) % 2)
    stamp.finish(made, source)
    return made


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = [
        highdicom.sr.CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    ]
    return item


def _stacked(pictures: list[Picture]) -> Picture:
    rows, columns = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    frames = np.zeros((len(pictures), rows, columns, 3), np.uint8)
    for frame, picture in zip(frames, pictures, strict=True):
        frame[: picture.shape[0], : picture.shape[1]] = picture
    return frames
