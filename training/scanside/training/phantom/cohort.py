"""Who is in the cohort: diagnosis, age, sex, lesion and scanner of patient k, whatever the cohort's size."""

import zlib
from dataclasses import dataclass
from math import sqrt

import numpy as np

from scanside.training.phantom.lesion import DIAGNOSES, SHARES, LesionParameters, draw_parameters
from scanside.training.phantom.scanners import HELD_OUT, SCANNERS, Scanner, scanner_named

_GOLDEN = (sqrt(5) - 1) / 2
_SILVER = sqrt(2) - 1

_PEOPLE = {
    # Age mean, standard deviation, lowest, highest; share of men. PDAC: CURVAS-PDACVI; the others PMID 38882634
    # (F:M 1.2:1 and 5.5:1); standard deviations of PNEN and SPN are assumed.
    "PDAC": (61.0, 9.0, 32, 88, 0.65),
    "PNEN": (51.8, 12.5, 18, 84, 1 / 2.2),
    "SPN": (32.7, 12.0, 12, 70, 1 / 6.5),
}


@dataclass(frozen=True)
class PhantomPatient:
    """A synthetic patient.

    Attributes:
        name: phantom-0001 and so on.
        index: From 0.
        seed: Of the cohort.
        split: train or test.
        age: Years.
        sex: M or F. Neither age nor sex has any influence on an image.
        scanner: The scanner of the examination.
        lesion: What the lesion is.
    """

    name: str
    index: int
    seed: int
    split: str
    age: float
    sex: str
    scanner: Scanner
    lesion: LesionParameters


def stream(seed: int, index: int, purpose: str) -> np.random.Generator:
    """A random generator of its own for each patient and purpose."""
    return np.random.default_rng([seed, index, zlib.crc32(purpose.encode())])


def draw_patient(index: int, seed: int, split: str) -> PhantomPatient:
    """Draw patient `index`.

    Diagnosis and scanner follow additive recurrences (golden ratio and √2), so that every run of patients has nearly
    the cohort's mix. Every third patient is examined on the held-out scanner if it is a test patient.
    """
    rng = stream(seed, index, "person")
    start = np.random.default_rng([seed, 7]).random(2)
    diagnosis = DIAGNOSES[
        int(np.searchsorted(np.cumsum(SHARES)[:-1], (start[0] + index * _GOLDEN) % 1, "right"))
    ]
    mean, sd, low, high, men = _PEOPLE[diagnosis]
    age = round(float(np.clip(rng.normal(mean, sd), low, high)), 1)
    sex = "M" if rng.random() < men else "F"
    known = [scanner for scanner in SCANNERS if scanner.name != HELD_OUT]
    scanner = known[int((start[1] + index * _SILVER) % 1 * len(known))]
    if split == "test" and index % 3 == 0:
        scanner = scanner_named(HELD_OUT)
    lesion = draw_parameters(stream(seed, index, "lesion"), diagnosis)
    return PhantomPatient(f"phantom-{index + 1:04d}", index, seed, split, age, sex, scanner, lesion)


def split_of(index: int, train: int) -> str:
    """The first `train` patients are for training, the others for testing."""
    return "train" if index < train else "test"
