"""cohort.csv and cohort.json: who the patients are and where their images lie. Every error names the row."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scanside.runtime.errors import InputError, OutputError
from scanside.runtime.study.answer import Known
from scanside.training.cohort.declared import NO_LESION, CovariateColumn, Declared, declared

SCHEMA = "scanside.cohort/1"
ADC_UNIT = "1e-6 mm2/s"
SEXES = ("M", "F")
ROLES = ("t2w", "dwi")
UNKNOWN = "unknown"
"""Scanner of a patient whose row names none."""
COLUMNS = ("patient", "split", "diagnosis", "age", "sex", "scanner", "field_t", "lesion_mm")
"""Of cohort.csv as the phantom writes it; only `patient` is needed, and `site` may stand beside them."""
ENDING = ".nii.gz"

_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


@dataclass(frozen=True)
class Patient:
    """A row of cohort.csv. What is not known is None.

    Attributes:
        patient: Id, unique and safe as a file name; the name of the folder with the images.
        split: `train` or `test`.
        diagnosis: One that the cohort declares; `none` for a patient without a lesion; None while it is not known.
        age: Years.
        sex: `M` or `F`.
        scanner: `UNKNOWN` where the table does not say.
        field_t: Field strength, tesla.
        lesion_mm: Longest diameter of the lesion, mm; measured in the mask where the table does not say (`sized`).
        site: The centre.
        clinical: Declared covariate → number or word; absent where it is not known.
    """

    patient: str
    split: str
    diagnosis: str | None
    age: float | None = None
    sex: str | None = None
    scanner: str = UNKNOWN
    field_t: float | None = None
    lesion_mm: float | None = None
    site: str | None = None
    clinical: Mapping[str, Known] = field(default_factory=dict)

    @property
    def lesion_free(self) -> bool:
        """Whether the patient is known to have no lesion."""
        return self.diagnosis == NO_LESION

    @property
    def classified(self) -> bool:
        """Whether a classifier can be fitted to or judged by the patient: a lesion whose diagnosis is known."""
        return self.diagnosis is not None and not self.lesion_free

    @property
    def known(self) -> Mapping[str, Known]:
        """Every covariate as a study's sidecar would say it."""
        own = {"age": self.age, "sex": self.sex}
        return {**{name: value for name, value in own.items() if value is not None}, **self.clinical}


@dataclass(frozen=True)
class Problem:
    """What is wrong with a cohort.

    Attributes:
        line: Line of cohort.csv, 1 being the header; None when it is not about one row.
        file: The file at fault.
    """

    message: str
    line: int | None = None
    patient: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        where = [f"row {self.line}" if self.line else "", f"patient {self.patient}" if self.patient else ""]
        place = ", ".join(part for part in (*where, self.file or "") if part)
        return f"{place}: {self.message}" if place else self.message


@dataclass(frozen=True)
class Cohort:
    """A cohort folder, its table read.

    Attributes:
        synthetic: True when no image shows a person.
        patients: In the order of the table.
        provenance: How the cohort came to be, as its maker wrote it.
        lines: Patient → line of cohort.csv.
        declared: Diagnoses, covariates and sequences.
    """

    path: Path
    name: str
    synthetic: bool
    patients: tuple[Patient, ...]
    provenance: dict[str, Any]
    description: str = ""
    lines: dict[str, int] = field(default_factory=dict, repr=False, compare=False)
    declared: Declared = field(default_factory=Declared)

    @property
    def positive(self) -> str:
        """The diagnosis that a classifier gives the probability of."""
        return self.declared.positive

    @property
    def phantom_version(self) -> int | None:
        """Version of the phantom the images are of, 1 where an old cohort does not say it; None for other images."""
        if self.provenance.get("generator") != "scanside phantom":
            return None
        return int(self.provenance.get("phantom_version", 1))

    def image(self, patient: str, sequence: str) -> Path:
        """The NIfTI file or DICOM folder of a sequence; where the file ought to be when there is neither."""
        folder = self.path / patient / sequence
        file = folder.with_name(f"{sequence}{ENDING}")
        return folder if folder.is_dir() and not file.exists() else file

    def mask(self, patient: str, role: str) -> Path:
        """The lesion mask on the grid of `t2w` or `dwi`."""
        return self.path / patient / f"{role}_mask{ENDING}"

    def split(self, name: str) -> tuple[Patient, ...]:
        """The patients of `train` or `test`."""
        return tuple(patient for patient in self.patients if patient.split == name)

    def classified(self, name: str) -> tuple[Patient, ...]:
        """Those of a split that a classifier is fitted to or judged by."""
        return tuple(patient for patient in self.split(name) if patient.classified)


def read_cohort(path: Path, site: str = "site") -> Cohort:
    """Read the table of a cohort; images are not opened.

    Args:
        site: The column that names the centre.

    Raises:
        InputError: Naming the first row that is wrong and how many more there are.
    """
    cohort, problems = parse_cohort(path, site)
    if problems or cohort is None:
        more = f" ({len(problems) - 1} more; see `scanside cohort check {path}`)" if len(problems) > 1 else ""
        raise InputError(f"The cohort {path} is not valid: {problems[0]}{more}")
    return cohort


def parse_cohort(path: Path, site: str = "site") -> tuple[Cohort | None, list[Problem]]:
    """Read the table as far as it can be read, with everything that is wrong in it.

    Returns:
        The cohort of the rows that are right, or None where there is no table; and the problems.
    """
    table = path / "cohort.csv"
    about, problems = _parse_about(path / "cohort.json")
    says, wrong_words = declared(about)
    problems += [Problem(words, file="cohort.json") for words in wrong_words]
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return None, [*problems, Problem(f"the table cannot be read ({error})", file="cohort.csv")]
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in _needed(says, site) if name not in (reader.fieldnames or [])]
    if missing:
        return None, [*problems, Problem(f"the header lacks {', '.join(missing)}", 1, file="cohort.csv")]
    rows, wrong = parse_rows([(reader.line_num, row) for row in reader], says, site)
    problems += wrong
    if not rows and not problems:
        problems.append(Problem("the table has no patient", file="cohort.csv"))
    unique = {patient.patient: (line, patient) for line, patient in reversed(rows)}
    cohort = Cohort(
        path=path,
        name=str(about.get("name", path.name)),
        synthetic=bool(about.get("synthetic", False)),
        patients=tuple(patient for line, patient in rows if unique[patient.patient][0] == line),
        provenance=dict(about.get("provenance") or {}),
        description=str(about.get("description", "")),
        lines={name: line for name, (line, _) in unique.items()},
        declared=says,
    )
    return cohort, problems


def parse_rows(
    rows: Sequence[tuple[int, Mapping[str, Any]]], says: Declared, site: str = "site"
) -> tuple[list[tuple[int, Patient]], list[Problem]]:
    """Rows of a table by patient, and what is wrong with them.

    Args:
        rows: (line, cells by column), of which `patient` must be there.
        site: The column that names the centre.
    """
    found: list[tuple[int, Patient]] = []
    problems: list[Problem] = []
    for line, row in rows:
        patient, wrong = _parse_row(row, line, says, site)
        problems += wrong
        if patient:
            found.append((line, patient))
    return found, [*problems, *_repeated(found)]


def write_cohort_table(
    path: Path,
    patients: Sequence[Patient],
    *,
    name: str,
    synthetic: bool,
    description: str,
    provenance: dict[str, Any],
    declare: Mapping[str, Any] | None = None,
) -> None:
    """Write cohort.csv and cohort.json into the folder `path`, replacing them.

    Args:
        declare: Entries of cohort.json that `declared` reads.

    Raises:
        OutputError: If they cannot be written.
    """
    clinical = list(dict.fromkeys(name for patient in patients for name in patient.clinical))
    names = [*COLUMNS, *(["site"] if any(patient.site for patient in patients) else [])]
    about = {
        "schema": SCHEMA,
        "name": name,
        "synthetic": synthetic,
        "description": description,
        "adc_unit": ADC_UNIT,
        "provenance": provenance,
        **(declare or {}),
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        with (path / "cohort.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*names, *clinical])
            for one in patients:
                beside = [one.clinical.get(name) for name in clinical]
                writer.writerow(map(_cell, (*(getattr(one, column) for column in names), *beside)))
        (path / "cohort.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The cohort's table cannot be written to {path} ({error}).") from error


def _cell(value: Known | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.10g}"


def _needed(says: Declared, site: str) -> list[str]:
    """Columns that the header must have: the id, and those that the cohort itself names."""
    own = [] if says.split == Declared.split else [says.split.column]
    own += [] if site == "site" else [site]
    return ["patient", *own, *(one.name for one in says.covariates)]


def _parse_about(file: Path) -> tuple[dict[str, Any], list[Problem]]:
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return {}, [Problem(f"cannot be read ({error})", file=file.name)]
    if not isinstance(about, dict):
        return {}, [Problem("is not a JSON object", file=file.name)]
    problems = []
    if about.get("schema") != SCHEMA:
        problems.append(Problem(f"has schema {about.get('schema')!r}, not '{SCHEMA}'", file=file.name))
    if about.get("adc_unit") != ADC_UNIT:
        unit = about.get("adc_unit")
        problems.append(Problem(f"has adc_unit {unit!r}; ADC must be in '{ADC_UNIT}'", file=file.name))
    if not isinstance(about.get("synthetic"), bool):
        problems.append(Problem("must say whether the cohort is synthetic: true or false", file=file.name))
    return about, problems


def _parse_row(
    row: Mapping[str, Any], line: int, says: Declared, site: str
) -> tuple[Patient | None, list[Problem]]:
    text = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
    problems: list[Problem] = []
    name = text["patient"]

    def wrong(message: str) -> None:
        problems.append(Problem(message, line, name or None, "cohort.csv"))

    def choice(column: str, allowed: Iterable[str]) -> str | None:
        value = text.get(column, "")
        if value and value not in allowed:
            wrong(f"{column} '{value}' is not one of {', '.join(allowed)}")
        return value or None

    def number(column: str, ok: Callable[[float], bool], need: str) -> float | None:
        if not text.get(column):
            return None
        try:
            value = float(text[column])
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and ok(value)):
            wrong(f"{column} '{text[column]}' is not {need}")
        return value

    def covariate(one: CovariateColumn) -> Known | None:
        if one.values is not None:
            return choice(one.name, one.values)
        return number(one.name, lambda _: True, "a finite number; leave the cell empty where it is not known")

    if any(key is None for key in row):
        wrong("the row has more cells than the header")
    if not _SAFE.fullmatch(name) or ".." in name or name.lower().split(".")[0] in _RESERVED:
        wrong(
            f"the id '{name}' is not safe as a file name; use up to 64 letters, digits, '.', '_' or '-', "
            "a letter or digit first and last"
        )
    patient = Patient(
        patient=name,
        split=_side(text, says, wrong),
        diagnosis=choice("diagnosis", (*says.diagnoses, NO_LESION)),
        age=number("age", lambda x: 0 <= x <= 120, "an age of 0 to 120 years"),
        sex=choice("sex", SEXES),
        scanner=text.get("scanner") or UNKNOWN,
        field_t=number("field_t", lambda x: 0 < x <= 12, "a field strength in tesla"),
        lesion_mm=number("lesion_mm", lambda x: 0 < x <= 500, "a longest diameter in mm"),
        site=text.get(site) or None,
        clinical={one.name: value for one in says.covariates if (value := covariate(one)) is not None},
    )
    return (None if problems else patient), problems


def _side(text: Mapping[str, str], says: Declared, wrong: Callable[[str], None]) -> str:
    """The split of a row; a table without the column is all for training."""
    column = says.split.column
    if column not in text:
        return "train"
    side = says.split.side(text[column])
    if side is None:
        allowed = ", ".join(sorted(says.split.train | says.split.test, reverse=True))
        wrong(f"{column} '{text[column]}' is not one of {allowed}")
    return side or "train"


def _repeated(rows: Sequence[tuple[int, Patient]]) -> list[Problem]:
    """Ids that occur twice; they must differ by more than case, because not every file system tells case."""
    seen: dict[str, tuple[int, Patient]] = {}
    problems = []
    for line, patient in rows:
        first_line, first = seen.setdefault(patient.patient.casefold(), (line, patient))
        if first_line == line:
            continue
        what = f"the id is that of row {first_line} already"
        if first.patient != patient.patient:
            what = f"the id differs from '{first.patient}' of row {first_line} by case only"
        if first.split != patient.split:
            what += f"; leakage: the patient is in {first.split} and in {patient.split}"
        problems.append(Problem(what, line, patient.patient, "cohort.csv"))
    return problems
