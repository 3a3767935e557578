"""Age and sex of the patient, as the headers say them: what a model may take beside the images."""

import re
from collections.abc import Iterable
from datetime import date

from pydicom.dataset import Dataset

from scanside.runtime.dicom.header import attribute, quiet

OLDEST = 120.0
"""Years; an age beyond is none."""
_YEARS_OF = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")


def person_of(headers: Iterable[Dataset]) -> str | None:
    """Whose images these are, as one text: PatientID with its issuer, and PatientBirthDate.

    An ID alone may be given twice, such as by two hospitals. None where ID or birth date is not said, or said in two
    ways.
    """
    found = set()
    with quiet():
        for header in headers:
            born = _date(attribute(header, "PatientBirthDate"))
            patient = str(attribute(header, "PatientID") or "").strip()
            issuer = str(attribute(header, "IssuerOfPatientID") or "").strip()
            found.add(f"{issuer}\\{patient}\\{born}" if born and patient else None)
    return found.pop() if len(found) == 1 else None


def day_of(headers: Iterable[Dataset]) -> date | None:
    """Date of the study; None where it is not said, or said in two ways."""
    with quiet():
        found = {_date(attribute(header, "StudyDate")) for header in headers}
    return found.pop() if len(found) == 1 else None


def age_and_sex(headers: Iterable[Dataset]) -> dict[str, float | str]:
    """`age` in years and `sex` as `F` or `M`; what is not said, or said in two ways, is left out.

    (0010,1010) PatientAge goes before the years between (0010,0030) PatientBirthDate and the study's date.
    (0010,0040) PatientSex `O` is neither of the two that a model knows.
    """
    ages: set[float] = set()
    sexes: set[str] = set()
    with quiet():
        for header in headers:
            age, sex = _age(header), str(attribute(header, "PatientSex") or "").strip().upper()
            ages |= set() if age is None else {age}
            sexes |= {sex} if sex else set()
    known: dict[str, float | str] = {}
    if len(ages) == 1:
        known["age"] = ages.pop()
    if len(sexes) == 1 and sexes <= {"F", "M"}:
        known["sex"] = sexes.pop()
    return known


def _age(header: Dataset) -> float | None:
    stated = re.fullmatch(r"(\d{3})([DWMY])", str(attribute(header, "PatientAge") or "").strip().upper())
    years = float(stated[1]) * _YEARS_OF[stated[2]] if stated else _since_birth(header)
    return years if years is not None and 0 <= years <= OLDEST else None


def _since_birth(header: Dataset) -> float | None:
    """Whole years, as PatientAge has them."""
    born = _date(attribute(header, "PatientBirthDate"))
    then = next((found for key in _DATES if (found := _date(attribute(header, key)))), None)
    if born is None or then is None or then < born:
        return None
    return float(then.year - born.year - ((then.month, then.day) < (born.month, born.day)))


def _date(value: object) -> date | None:
    text = re.sub(r"\D", "", str(value or ""))
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if len(text) == 8 else None
    except ValueError:
        return None
