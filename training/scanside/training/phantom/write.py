"""A phantom cohort on disk: NIfTI and masks by patient, and the cohort's table."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from scanside.runtime.errors import OutputError, UsageError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.images.write import to_itk
from scanside.runtime.volume import Geometry
from scanside.training.cohort.table import Patient, write_cohort_table
from scanside.training.phantom import VERSION
from scanside.training.phantom.cohort import split_of
from scanside.training.phantom.study import SYNTHETIC, PhantomStudy, make_study
from scanside.training.progress import duration

DESCRIPTION = (
    "Synthetic abdominal MRI of a physics-based phantom with pancreatic lesions. No patient's data. "
    "What a program reaches on it says nothing about patients."
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class PhantomChoice:
    """What to make.

    Attributes:
        patients: How many.
        train: How many of them, from the first, are training patients.
        seed: Of the cohort; patient k is the same whatever the number of patients.
        dicom: Sequences as DICOM series instead of NIfTI files.
        jobs: Processes.
        small: Only a small box around the lesion, for tests.
        pixel_size: Factor on the scanners' pixel size, for benchmarks.
        test_seed: Of the test patients, where they are to be of another cohort than the training patients: so that
            what was trained is judged on patients that nobody has looked at.
    """

    patients: int
    train: int
    seed: int
    dicom: bool = False
    jobs: int = 1
    small: bool = False
    pixel_size: float = 1.0
    test_seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.train <= self.patients:
            raise UsageError(f"--train must be between 0 and {self.patients}, not {self.train}.")

    @property
    def name(self) -> str:
        """Of the cohort."""
        tested = "" if self.test_seed is None else f"-test-{self.test_seed}"
        return f"phantom-{self.patients}-seed-{self.seed}{tested}"

    def seed_of(self, split: str) -> int:
        """The seed that the patients of a split are drawn from."""
        return self.seed if split == "train" or self.test_seed is None else self.test_seed


def write_cohort(out: Path, choice: PhantomChoice, say: Say) -> None:
    """Make a cohort folder.

    Args:
        out: Must not exist, or be empty.
        say: Receives progress with the time left.

    Raises:
        OutputError: If the folder holds something, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already and is not empty; choose another OUT.")
    start, rows = time.perf_counter(), []
    for row in _patients(out, choice):
        rows.append(row)
        left = (time.perf_counter() - start) / len(rows) * (choice.patients - len(rows))
        say(f"Patient {len(rows)} of {choice.patients} written, {duration(left)} left")
    write_cohort_table(
        out,
        rows,
        name=choice.name,
        synthetic=True,
        description=DESCRIPTION,
        provenance={"generator": "scanside phantom", "phantom_version": VERSION, "seed": choice.seed,
                    "patients": choice.patients, "train": choice.train, "pixel_size": choice.pixel_size,
                    **({} if choice.test_seed is None else {"test_seed": choice.test_seed})},
    )  # fmt: skip


def write_patient(folder: Path, study: PhantomStudy, *, dicom: bool) -> None:
    """Write one study: a sequence a file (or a DICOM series a folder), and a mask a role."""
    if dicom:
        from scanside.training.phantom.dicom import write_cohort_series

        write_cohort_series(study, folder)
    else:
        for sequence, volume in study.images.items():
            _write(volume.data[0].astype(np.int16), volume.geometry, folder / f"{sequence}.nii.gz")
    write_masks(study, folder)


def write_masks(study: PhantomStudy, folder: Path) -> dict[str, Path]:
    """Write a study's true masks as t2w_mask.nii.gz and dwi_mask.nii.gz, on the grids of t2w and dwi.

    Returns:
        Role → file.
    """
    files = {role: folder / f"{role}_mask.nii.gz" for role in study.masks}
    for role, file in files.items():
        _write(study.masks[role], study.images[role].geometry, file)
    return files


def _patients(out: Path, choice: PhantomChoice) -> Iterator[Patient]:
    one = partial(_one, out=out, choice=choice)
    if choice.jobs == 1:
        yield from map(one, range(choice.patients))
        return
    with _one_thread_each(), ProcessPoolExecutor(choice.jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, range(choice.patients))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started here compute in one thread: BLAS would start one a core in each."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _one(index: int, out: Path, choice: PhantomChoice) -> Patient:
    split = split_of(index, choice.train)
    seed = choice.seed_of(split)
    study = make_study(index, seed, split=split, small=choice.small, pixel_size=choice.pixel_size)
    person = study.patient
    write_patient(out / person.name, study, dicom=choice.dicom)
    return Patient(
        patient=person.name,
        split=person.split,
        diagnosis=person.lesion.diagnosis,
        age=person.age,
        sex=person.sex,
        scanner=study.scanner.name,
        field_t=study.scanner.field_t,
        lesion_mm=round(person.lesion.size_mm, 1),
    )


def _write(array: npt.NDArray[Any], geometry: Geometry, path: Path) -> None:
    image = to_itk(array, geometry)
    image.SetMetaData("ITK_FileNotes", SYNTHETIC)  # becomes the header's `descrip`
    with atomic_write(path) as temporary:
        sitk.WriteImage(image, str(temporary), useCompression=True)
