"""The size of a lesion where the table does not say it: measured in the reader's mask."""

from dataclasses import replace

import numpy as np

from scanside.runtime.images.read import read_image
from scanside.runtime.stages.lesions import find_lesions
from scanside.training.cohort.table import ROLES, Cohort, Patient


def sized(cohort: Cohort) -> Cohort:
    """The cohort with `lesion_mm` of every patient that has a mask with a lesion; the table's own values stay.

    Raises:
        ImageReadError: If a mask cannot be read.
    """
    if all(patient.lesion_mm is not None or patient.lesion_free for patient in cohort.patients):
        return cohort
    return replace(cohort, patients=tuple(_sized(cohort, patient) for patient in cohort.patients))


def _sized(cohort: Cohort, patient: Patient) -> Patient:
    if patient.lesion_mm is not None or patient.lesion_free:
        return patient
    for role in ROLES:
        path = cohort.mask(patient.patient, role)
        if not path.is_file():
            continue
        volume = read_image(path)
        lesions = find_lesions((np.rint(volume.data[0]) == 1).astype(np.uint8), volume.geometry, role)
        if lesions:
            return replace(patient, lesion_mm=round(lesions[0].longest_diameter_mm, 1))
    return patient
