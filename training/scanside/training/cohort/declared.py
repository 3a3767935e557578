"""What cohort.json declares: diagnoses, split, covariates, sequences. What it leaves out has a default."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIAGNOSES, POSITIVE = ("PDAC", "PNEN", "SPN"), "PDAC"
"""Of a cohort that declares none: those of the study."""
NO_LESION = "none"
"""The diagnosis of a patient without a lesion, in every cohort."""
SPLITS = ("train", "test")
SEQUENCES = ("t2w", "dwi", "b0", "adc")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_OWN = ("age", "sex")
"""Covariates that every cohort may have, in columns of these names."""


@dataclass(frozen=True)
class CovariateColumn:
    """Something known of a patient beside the images, in a column of cohort.csv.

    Attributes:
        unit: Of a number.
        values: The two words of a yes-or-no covariate, the one that counts 0 first; None for a number.
    """

    name: str
    unit: str | None = None
    values: tuple[str, str] | None = None


@dataclass(frozen=True)
class SplitColumn:
    """Which column says whether a patient is for training or for testing.

    Attributes:
        train, test: Values of the column. With one of them empty, every value that is not named goes there.
    """

    column: str = "split"
    train: frozenset[str] = frozenset({"train"})
    test: frozenset[str] = frozenset({"test"})

    def side(self, value: str) -> str | None:
        """`train` or `test`; None for a value of neither."""
        if value in self.train:
            return "train"
        if value in self.test:
            return "test"
        if not value or (self.train and self.test):
            return None
        return "test" if self.train else "train"


@dataclass(frozen=True)
class Declared:
    """The declarations of a cohort.

    Attributes:
        diagnoses: Every name that the column may hold, besides `NO_LESION` and an empty cell.
        positive: The diagnosis that a classifier gives the probability of; the others together are the negative class.
        covariates: Beside age and sex.
        sequences: Images that every patient has.
    """

    diagnoses: tuple[str, ...] = DIAGNOSES
    positive: str = POSITIVE
    split: SplitColumn = SplitColumn()
    covariates: tuple[CovariateColumn, ...] = ()
    sequences: tuple[str, ...] = ("t2w", "dwi", "adc")


def declared(about: Mapping[str, Any]) -> tuple[Declared, list[str]]:
    """The declarations in cohort.json, and what is wrong with them; what is wrong keeps its default."""
    problems: list[str] = []
    diagnoses, positive = _diagnoses(about, problems)
    return (
        Declared(
            diagnoses,
            positive,
            _split(about.get("split"), problems),
            _covariates(about.get("covariates"), problems),
            _sequences(about.get("sequences"), problems),
        ),
        problems,
    )


def _diagnoses(about: Mapping[str, Any], problems: list[str]) -> tuple[tuple[str, ...], str]:
    given = about.get("diagnoses", list(DIAGNOSES))
    names = _words(given)
    if len(names) < 2 or NO_LESION in names:
        problems.append(
            f"has diagnoses {given!r}; name two or more, each once ('{NO_LESION}' stands for no lesion by itself)"
        )
        names = DIAGNOSES
    positive = about.get("positive", POSITIVE if POSITIVE in names else None)
    if positive not in names:
        problems.append(f"has positive {positive!r}; name the diagnosis that probabilities are of")
        positive = names[0]
    return names, str(positive)


def _split(given: Any, problems: list[str]) -> SplitColumn:
    if given is None:
        return SplitColumn()
    known = given if isinstance(given, dict) else {}
    column, train, test = known.get("column"), _words(known.get("train", [])), _words(known.get("test", []))
    if not isinstance(column, str) or not (train or test) or set(train) & set(test):
        problems.append(
            f"has split {given!r}; write the column, and which of its values are for training or for testing, such as "
            '{"column": "year", "test": ["2025"]}'
        )
        return SplitColumn()
    return SplitColumn(column, frozenset(train), frozenset(test))


def _covariates(given: Any, problems: list[str]) -> tuple[CovariateColumn, ...]:
    found = []
    for name, kind in (given if isinstance(given, dict) else {}).items():
        what = kind if isinstance(kind, dict) else {}
        values, unit = _words(what.get("values", [])), what.get("unit")
        number = what.get("type") == "number" and not values
        choice = what.get("type") == "choice" and len(values) == 2
        if not _NAME.fullmatch(name) or name in _OWN or not (number or choice):
            problems.append(
                f"declares the covariate {name!r} as {kind!r}; a name has small letters, digits and '_' (age and sex "
                'have their own columns), and the type is {"type": "number", "unit": "U/ml"} or {"type": "choice", '
                '"values": ["no", "yes"]}'
            )
            continue
        found.append(
            CovariateColumn(name, str(unit) if unit else None, (values[0], values[1]) if choice else None)
        )
    if given is not None and not isinstance(given, dict):
        problems.append(f"has covariates {given!r}; write an object, name → type")
    return tuple(found)


def _sequences(given: Any, problems: list[str]) -> tuple[str, ...]:
    if given is None:
        return Declared.sequences
    names = _words(given)
    if not names or set(names) - set(SEQUENCES):
        problems.append(f"has sequences {given!r}; name some of {', '.join(SEQUENCES)}")
        return Declared.sequences
    return tuple(name for name in SEQUENCES if name in names)


def _words(given: Any) -> tuple[str, ...]:
    """The words of a list, empty where it is none or holds one twice."""
    if not isinstance(given, list) or not all(isinstance(word, str | int) for word in given):
        return ()
    words = tuple(str(word).strip() for word in given)
    return words if all(words) and len(set(words)) == len(words) else ()
