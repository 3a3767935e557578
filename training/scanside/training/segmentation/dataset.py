"""The training patients of a cohort as an nnU-Net raw dataset."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scanside.runtime.errors import InputError
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.files import ending_of
from scanside.runtime.images.load import load_case
from scanside.runtime.images.write import write_mask
from scanside.training.cohort.table import ENDING, Cohort, Patient
from scanside.training.experiment import write_json
from scanside.training.segmentation.settings import Settings

LABELS = {"background": 0, "lesion": 1}


def write_dataset(cohort: Cohort, patients: Sequence[Patient], settings: Settings, raw: Path) -> Path:
    """Write `imagesTr`, `labelsTr` and dataset.json below `raw`.

    NIfTI files are linked (copied where the file system has no links), DICOM series are converted.

    Args:
        raw: nnU-Net's folder of raw datasets.

    Returns:
        The dataset's folder.

    Raises:
        InputError: If a file is missing or cannot be read.
    """
    folder = raw / settings.dataset
    if folder.exists():
        shutil.rmtree(folder)  # left by an interrupted run; only links and conversions are lost
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for patient in patients:
        _refuse_name(patient.patient)
        for index, sequence in enumerate(settings.channels):
            target = folder / "imagesTr" / f"{patient.patient}_{index:04d}{ENDING}"
            place(cohort.image(patient.patient, sequence), target, patient)
        mask = cohort.mask(patient.patient, settings.role)
        target = folder / "labelsTr" / f"{patient.patient}{ENDING}"
        if patient.lesion_free and not mask.exists():
            _nothing(cohort.image(patient.patient, settings.role), target, patient)
        else:
            place(mask, target, patient)
    document: dict[str, Any] = {
        "channel_names": {str(index): sequence for index, sequence in enumerate(settings.channels)},
        "labels": LABELS,
        "numTraining": len(patients),
        "file_ending": ENDING,
        "name": f"{cohort.name} ({'synthetic' if cohort.synthetic else 'patients'}), {settings.role}",
    }
    write_json(folder / "dataset.json", document)
    return folder


def place(source: Path, target: Path, patient: Patient) -> None:
    """Put an image where nnU-Net looks for it: a link to a NIfTI file, or a DICOM series converted to one."""
    if not source.exists():
        raise InputError(f"Patient {patient.patient} lacks {source}; see `scanside cohort check`.")
    if source.is_file() and ending_of(source) == ENDING:
        _first_that_works(source.resolve(), target, (_link, shutil.copyfile))
        return
    import SimpleITK as sitk

    from scanside.runtime.dicom.read import read_series
    from scanside.runtime.images.write import to_itk

    volume, _ = read_series(source)
    sitk.WriteImage(to_itk(volume.data[0], volume.geometry), str(target), True)


def _nothing(image: Path, target: Path, patient: Patient) -> None:
    """The mask of a patient without a lesion, on the grid of the image."""
    volume = load_case(CaseInput(patient.patient, (image,)), 1).volume
    write_mask(np.zeros(volume.geometry.shape, dtype=np.uint8), volume.geometry, target)


def _link(source: Path, target: Path) -> None:
    target.symlink_to(source)


def _first_that_works(source: Path, target: Path, ways: tuple[Callable[[Path, Path], Any], ...]) -> None:
    for way in ways[:-1]:
        try:
            way(source, target)
            return
        except OSError:
            target.unlink(missing_ok=True)
    ways[-1](source, target)


def _refuse_name(name: str) -> None:
    """nnU-Net keeps `<case>.b2nd` beside `<case>_seg.b2nd`: a patient of that name would shadow another."""
    if name.endswith("_seg"):
        raise InputError(
            f"The patient id '{name}' ends in '_seg', which nnU-Net keeps for itself; rename it."
        )
