"""What became known of the patients: the cohort's own table, and pathology and decisions that come later, by case."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scanside.runtime.errors import InputError
from scanside.training.cohort.declared import NO_LESION, Declared, SplitColumn
from scanside.training.cohort.table import Cohort, Patient, parse_rows
from scanside.training.evaluation.frozen.results import Answer

IDS = ("case", "patient")
DECISION = "decision"


@dataclass(frozen=True, eq=False)
class Pathology:
    """A table by case.

    Attributes:
        rows: Case → its row, as far as the table knows.
        decisions: Case → a reader's decision.
    """

    rows: Mapping[str, Patient]
    decisions: Mapping[str, str]
    declared: Declared


@dataclass(frozen=True, eq=False)
class Truth:
    """Results with what is known of them.

    Attributes:
        cohort: Everybody with a result, all as test patients.
        answers: In its order, with the decisions.
        pending: Cases with a result and no diagnosis yet.
        without_result: Cases with a diagnosis and no result.
    """

    cohort: Cohort
    answers: tuple[Answer, ...]
    pending: tuple[str, ...]
    without_result: tuple[str, ...]


def read_pathology(path: Path, positive: str, declared: Declared | None, site: str = "site") -> Pathology:
    """Read a table with the columns `case` and `diagnosis`, and any of a cohort's; `decision` is a reader's.

    Args:
        positive: The bundle's positive class.
        declared: Of the cohort that the cases are of; None takes every word in the column for a diagnosis.
        site: Column of the centre.

    Raises:
        InputError: Naming the first row that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a CSV with case and diagnosis.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = list(reader.fieldnames or [])
    own = next((name for name in IDS if name in names), None)
    if own is None or not {"diagnosis", DECISION} & set(names):
        raise InputError(f"{path} lacks the column case, or diagnosis or {DECISION}; add it.")
    rows = [(reader.line_num, {**row, "patient": row[own]}) for row in reader]
    says = declared or Declared(
        diagnoses=_words(path, [row.get("diagnosis") or "" for _, row in rows], positive)
    )
    found, problems = parse_rows(rows, replace(says, positive=positive, split=SplitColumn("")), site)
    if problems:
        raise InputError(f"{path}, {str(problems[0]).replace('cohort.csv', path.name)}; correct it.")
    decided = {str(row["patient"]).strip(): (row.get(DECISION) or "").strip() for _, row in rows}
    return Pathology(
        {patient.patient: patient for _, patient in found},
        {case: word for case, word in decided.items() if word},
        says,
    )


def join(
    answers: Sequence[Answer],
    cohort: Cohort | None,
    pathology: Pathology | None,
    *,
    path: Path,
    synthetic: bool,
    positive: str,
) -> Truth:
    """Results, cohort and pathology as one cohort of test patients.

    Args:
        cohort: With the images and the readers' masks; None where results alone are judged.
        path: Of the pathology, for a cohort that has no folder.
        synthetic: Whether no image shows a person.

    Raises:
        InputError: If pathology contradicts the cohort, the cohort is of other classes, or nobody is known.
    """
    if cohort is not None and cohort.positive != positive:
        raise InputError(
            f"The bundle gives the probability of {positive}, and the positive diagnosis of {cohort.path} is "
            f"{cohort.positive}; declare the bundle's in cohort.json."
        )
    table = {patient.patient: patient for patient in (cohort.patients if cohort else ())}
    later = pathology.rows if pathology else {}
    people = [_known(answer.case, table.get(answer.case), later.get(answer.case), path) for answer in answers]
    decisions = pathology.decisions if pathology else {}
    decided = tuple(replace(one, decision=decisions.get(one.case, one.decision)) for one in answers)
    cases = {answer.case for answer in answers}
    base = cohort or Cohort(
        path.parent, path.stem, synthetic, (), {}, declared=_declared(pathology, positive)
    )
    known = {case for case, patient in {**table, **later}.items() if patient.diagnosis is not None}
    if cohort is None and not any(person.diagnosis for person in people):
        raise InputError(
            f"{path} has no diagnosis of any case with a result; the ids must be those of the results."
        )
    return Truth(
        replace(base, patients=tuple(people)),
        decided,
        tuple(person.patient for person in people if person.diagnosis is None),
        tuple(sorted(known - cases)),
    )


def _known(case: str, own: Patient | None, later: Patient | None, path: Path) -> Patient:
    """A patient of the table with what pathology adds to it."""
    person = replace(own or later or Patient(case, "test", None), split="test")
    if later is None or own is None:
        return person
    if own.diagnosis is not None and later.diagnosis not in (None, own.diagnosis):
        raise InputError(
            f"{path} says diagnosis {later.diagnosis} of case {case}, and the cohort's table {own.diagnosis}; "
            "correct one."
        )
    return replace(person, diagnosis=own.diagnosis or later.diagnosis, site=own.site or later.site)


def _declared(pathology: Pathology | None, positive: str) -> Declared:
    return replace(pathology.declared, positive=positive) if pathology else Declared()


def _words(path: Path, found: Sequence[str], positive: str) -> tuple[str, ...]:
    """The diagnoses of a table that declares none; a word that differs by case alone would silently be another one."""
    words = dict.fromkeys((positive, *(word.strip() for word in found if word.strip())))
    seen: dict[str, str] = {NO_LESION: NO_LESION}
    for word in words:
        other = seen.setdefault(word.casefold(), word)
        if other != word:
            raise InputError(
                f"{path} has the diagnoses '{other}' and '{word}', which differ by case only; correct one."
            )
    return tuple(word for word in words if word != NO_LESION)
