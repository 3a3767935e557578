"""Leakage: the same person or the same image in training and in testing."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from scanside.runtime.volume import Volume
from scanside.training.cohort.table import Cohort, Patient, Problem

_SUFFIXES = (
    "a",
    "b",
    "r",
    "l",
    "copy",
    "new",
    "old",
    "repeat",
    "rescan",
    "scan",
    "series",
    "study",
    "visit",
    "v",
    "t",
)
"""Parts of an id that mark another visit or copy of the same person."""


@dataclass(frozen=True)
class Image:
    """What is remembered of an image.

    Attributes:
        file: `<patient>/<name>`, for the message.
        content: From `content_of`.
    """

    patient: Patient
    file: str
    content: str


def content_of(volume: Volume) -> str:
    """Hash of an image's voxels and size, whatever its file is."""
    return hashlib.sha256(volume.data.tobytes() + repr(volume.data.shape).encode()).hexdigest()


def same_content(cohort: Cohort, images: Sequence[Image]) -> list[Problem]:
    """The same image under two names: leakage when it is in training and in testing, a mistake in any case."""
    seen: dict[str, Image] = {}
    problems = []
    for image in images:
        first = seen.setdefault(image.content, image)
        if first is image:
            continue
        line, other = (cohort.lines.get(i.patient.patient) for i in (image, first))
        leak = first.patient.split != image.patient.split
        what = f"leakage: in {first.patient.split} and in {image.patient.split}" if leak else "a duplicate"
        message = f"has the same content as {first.file} (row {other}); {what}"
        problems.append(Problem(message, line, image.patient.patient, image.file))
    return problems


def same_name(cohort: Cohort) -> list[Problem]:
    """Ids that differ by a suffix only, such as `17` and `17_rescan`, one in training and one in testing."""
    seen: dict[str, Patient] = {}
    problems = []
    for patient in cohort.patients:
        first = seen.setdefault(_stem(patient.patient), patient)
        if first.split == patient.split:
            continue
        message = (
            f"leakage: the id differs from '{first.patient}' (row {cohort.lines.get(first.patient)}, "
            f"{first.split}) by a suffix only; put both into one split or rename one"
        )
        problems.append(Problem(message, cohort.lines.get(patient.patient), patient.patient, "cohort.csv"))
    return problems


def _stem(name: str) -> str:
    """The id without suffixes that mark another visit: `P7-b`, `P7_2nd`… of P7. A number of its own stays."""
    parts = name.casefold().replace(".", "_").replace("-", "_").split("_")
    while len(parts) > 1 and parts[-1].rstrip("0123456789") in _SUFFIXES:
        parts.pop()
    return "_".join(parts)
