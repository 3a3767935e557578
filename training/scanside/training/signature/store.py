"""signature/features.csv and signature/patients.csv: what was measured, and of whom. The classifier reads them too."""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float64
from scanside.runtime.errors import InputError
from scanside.runtime.images.files import atomic_write
from scanside.training.signature.cases import BESIDE, Cases, make_cases

NONE = "none"
"""Name of the measurement without perturbation."""
Roles = Mapping[str, tuple[int, ...]]
"""Role → indices of the features that are measured in its mask."""
CROSS_VALIDATED, TEST, REFERENCE = "cross-validated", "test", "reference"
"""Whose mask was measured: a fold's model that did not see the patient, the final model, or the reader."""


@dataclass(frozen=True)
class Measured:
    """A row of patients.csv.

    Attributes:
        part: `cross-validated` or `test`.
        positive: Whether the patient belongs to the positive class.
        batch: Scanner.
        age, sex, volume_ml, adc_mean: NaN where unknown; sex is 1 for men; volume and ADC of the main lesion.
        missed: Roles whose mask holds no lesion, separated by blanks.
        apart: Whether the lesions of the roles do not show one lesion (`runtime/study/lesion_agreement.py`).
        wrong: Roles whose measured region is not the reader's lesion, separated by blanks; nothing is fitted to it.
        site: Centre; empty where it is not known.
    """

    patient: str
    part: str
    positive: bool
    batch: str = ""
    age: float = float("nan")
    sex: float = float("nan")
    volume_ml: float = float("nan")
    adc_mean: float = float("nan")
    missed: str = ""
    apart: bool = False
    wrong: str = ""
    site: str = ""

    def shows(self, roles: Collection[str]) -> bool:
        """Whether a model of these roles may answer: each has a lesion, and no other sequence contradicts."""
        return not self.apart and not set(roles) & set(self.missed.split())

    @property
    def beside(self) -> tuple[float, ...]:
        """The values of `cases.BESIDE`."""
        volume = float(np.log(self.volume_ml)) if self.volume_ml > 0 else float("nan")
        known = {"age": self.age, "sex": self.sex, "log_volume": volume, "adc_mean": self.adc_mean}
        return tuple(known[name] for name in BESIDE)


@dataclass(frozen=True, eq=False)
class Measurements:
    """Everything that was measured.

    Attributes:
        features: Names.
        patients: In the order of patients.csv.
        values: (patient, part, perturbation) → (p,), NaN where absent.
        clinical: Declared covariate → patient → its value as a classifier takes it; not in the tables.
    """

    features: tuple[str, ...]
    patients: tuple[Measured, ...]
    values: dict[tuple[str, str, str], Float64]
    clinical: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def beside(self) -> tuple[str, ...]:
        """What the columns of `cases["beside"]` are."""
        return (*BESIDE, *self.clinical)

    def of(self, part: str) -> tuple[Measured, ...]:
        """The patients of `cross-validated` or `test`."""
        return tuple(patient for patient in self.patients if patient.part == part)

    def cases(self, part: str, source: str | None = None) -> Cases:
        """The patients of a part as rows; their repetitions always come from the part itself.

        Args:
            source: Whose values they are, if not the part's own: `reference`.
        """
        patients = self.of(part)
        names = list(dict.fromkeys(key[2] for key in self.values if key[1] == part)) or [NONE]
        empty = np.full(len(self.features), np.nan)
        measured = np.array([[self.values.get((p.patient, part, n), empty) for n in names] for p in patients])
        own = np.array([self.values.get((p.patient, source or part, NONE), empty) for p in patients])
        more = self.clinical.values()
        beside = np.array([(*p.beside, *(one.get(p.patient, np.nan) for one in more)) for p in patients])
        return make_cases(own, measured, beside, [p.batch for p in patients])

    def labels(self, part: str) -> npt.NDArray[np.int_]:
        """1 for the positive class."""
        return np.array([int(patient.positive) for patient in self.of(part)])

    def usable(self, part: str, roles: Roles | None = None) -> npt.NDArray[np.bool_]:
        """Patients who may enter a fit: with one lesion in the masks, and at least one feature.

        Args:
            roles: Role → its features, of the roles that are asked for; None for all.
        """
        empty = np.full(len(self.features), np.nan)
        columns = slice(None) if roles is None else [i for own in roles.values() for i in own]
        found = []
        for patient in self.of(part):
            shown = patient.shows(patient.missed.split() if roles is None else tuple(roles))
            values = self.values.get((patient.patient, part, NONE), empty)[columns]
            found.append(shown and bool(np.isfinite(values).any()))
        return np.array(found)


def write_measurements(folder: Path, measurements: Measurements) -> None:
    """Write both tables.

    Raises:
        OutputError: If they cannot be written.
    """
    head = ["patient", "part", "perturbation", *measurements.features]
    rows = ([*key, *map(_cell, values)] for key, values in measurements.values.items())
    _write(folder / "features.csv", [head, *rows])
    names = [column.name for column in fields(Measured)]
    _write(
        folder / "patients.csv",
        [names, *([_cell(getattr(p, name)) for name in names] for p in measurements.patients)],
    )


def read_measurements(folder: Path) -> Measurements:
    """Read both tables.

    Raises:
        InputError: If they are not there or not what `scanside train signature` writes.
    """
    try:
        head, *rows = _read(folder / "features.csv")
        values = {
            (row[0], row[1], row[2]): np.array([float(cell or "nan") for cell in row[3:]]) for row in rows
        }
        names, *people = _read(folder / "patients.csv")
        patients = tuple(_patient(dict(zip(names, row, strict=True))) for row in people)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(
            f"{folder} holds no measured features ({error}); run `scanside train signature` first."
        ) from error
    return Measurements(tuple(head[3:]), patients, values)


def _patient(row: dict[str, str]) -> Measured:
    numbers = {name: float(row[name] or "nan") for name in ("age", "sex", "volume_ml", "adc_mean")}
    return Measured(
        row["patient"], row["part"], row["positive"] == "1", row["batch"], **numbers, missed=row["missed"],
        apart=row["apart"] == "1", wrong=row["wrong"], site=row.get("site", ""),
    )  # fmt: skip


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return "" if np.isnan(value) else repr(float(value))
    return str(value)


def _read(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
