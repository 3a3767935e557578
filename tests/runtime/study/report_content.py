"""What a structured report says, read without Scanside's code."""

from collections.abc import Sequence
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from scanside.runtime.study.objects import ResultObject

CHANNELS = {"t2w": ("t2w",), "dwi": ("dwi",)}
NEEDED = ("t2w", "dwi", "adc")


def by_kind(made: Sequence[ResultObject], kind: str) -> list[Any]:
    return [pydicom.dcmread(one.path) for one in made if one.kind == kind]


def group_of(report: Dataset, tracking: str) -> list[Dataset]:
    """The items of the measurement group of that name."""
    (measurements,) = [item for item in report.ContentSequence if named(item, "126010")]
    for group in measurements.ContentSequence:
        if any(item.get("TextValue") == tracking and named(item, "112039") for item in group.ContentSequence):
            return list(group.ContentSequence)
    raise AssertionError(f"no group {tracking}")


def named(item: Dataset, code: str) -> bool:
    return bool(item.ConceptNameCodeSequence[0].CodeValue == code)


def numbers(items: list[Dataset]) -> dict[str, float]:
    """Concept and feature's name → value."""
    found = {}
    for item in (item for item in items if item.ValueType == "NUM"):
        features = [sub.TextValue for sub in item.get("ContentSequence", ()) if sub.ValueType == "TEXT"]
        key = features[0] if features else item.ConceptNameCodeSequence[0].CodeValue
        found[key] = item.MeasuredValueSequence[0].FloatingPointValue
    return found


def codes_of(items: list[Dataset]) -> dict[str, str]:
    return {
        item.ConceptNameCodeSequence[0].CodeValue: item.ConceptCodeSequence[0].CodeMeaning
        for item in items
        if item.ValueType == "CODE"
    }


def texts_of(items: list[Dataset], concept: str | None = None) -> list[str]:
    return [i.TextValue for i in items if i.ValueType == "TEXT" and (concept is None or named(i, concept))]
