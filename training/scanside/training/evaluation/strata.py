"""Groups of patients that are looked at on their own."""

from collections.abc import Callable
from dataclasses import dataclass

from scanside.training.cohort.table import UNKNOWN, Cohort, Patient

ALL = "all"
SMALL_MM, LARGE_MM = 20.0, 40.0
SIZES = ("< 20 mm", "20–40 mm", "> 40 mm")
KNOWN, HELD_OUT = "known", "held-out"
SCANNER_GROUP = "scanner in training"
"""Name of the property whose values are `known` and `held-out`."""


@dataclass(frozen=True)
class Subgroup:
    """Some patients by one property, such as scanner = A."""

    property: str
    value: str
    patients: frozenset[str]


def size_of(lesion_mm: float | None) -> str:
    """The size stratum of a longest diameter, mm: below 20, 20 to 40 (both included), above 40; else unknown."""
    if lesion_mm is None:
        return UNKNOWN
    if lesion_mm < SMALL_MM:
        return SIZES[0]
    return SIZES[1] if lesion_mm <= LARGE_MM else SIZES[2]


def scanner_groups(cohort: Cohort) -> dict[str, str]:
    """Patient → whether the patient's scanner occurs in training (`known`) or not (`held-out`).

    `unknown` where the cohort has no training patient.
    """
    trained = {patient.scanner for patient in cohort.split("train")}
    if not trained:  # a frozen bundle does not say on which scanners it was trained
        return {patient.patient: UNKNOWN for patient in cohort.patients}
    return {patient.patient: KNOWN if patient.scanner in trained else HELD_OUT for patient in cohort.patients}


def subgroups(cohort: Cohort, patients: set[str]) -> list[Subgroup]:
    """Subgroups of some patients by scanner, whether it is known, field strength, size and sex."""
    known = scanner_groups(cohort)
    properties: dict[str, Callable[[Patient], str]] = {
        "scanner": lambda patient: patient.scanner,
        SCANNER_GROUP: lambda patient: known[patient.patient],
        "field": lambda patient: UNKNOWN if patient.field_t is None else f"{patient.field_t:g} T",
        "size": lambda patient: size_of(patient.lesion_mm),
        "sex": lambda patient: {"F": "female", "M": "male", None: UNKNOWN}[patient.sex],
    }
    if not cohort.split("train"):
        del properties[SCANNER_GROUP]
    if any(patient.site for patient in cohort.patients):
        properties["site"] = lambda patient: patient.site or UNKNOWN
    rows = [patient for patient in cohort.patients if patient.patient in patients]
    found = []
    for name, of in properties.items():
        values = {of(patient) for patient in rows}
        for value in sorted(values, key=lambda v: (SIZES.index(v) if v in SIZES else 0, v)):
            members = frozenset(patient.patient for patient in rows if of(patient) == value)
            found.append(Subgroup(name, value, members))
    return found
