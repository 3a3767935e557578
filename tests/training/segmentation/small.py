"""A patient, and settings of a training."""

from scanside.training.cohort.table import Patient
from scanside.training.segmentation.settings import Settings

T2W = Settings(role="t2w", channels=("t2w",), folds=3)


def patient(name: str, diagnosis: str = "PDAC", size: float = 30.0, scanner: str = "one") -> Patient:
    return Patient(name, "train", diagnosis, 60, "F", scanner, 3.0, size)
