"""What a study holds, for a person who chooses: every volume, its key, and what the rules say of it. Headers only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scanside.runtime.errors import InputError

if TYPE_CHECKING:
    from scanside.runtime.dicom.select import Kind
    from scanside.runtime.dicom.study import DicomStudy, SeriesVolume

_ORDER: "tuple[Kind, ...]" = ("t2w", "dwi", "b0", "adc")
"""The DWI goes before its low-b image and ADC map, which are looked for on its grid."""


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a volume for one sequence.

    Attributes:
        score: Points; None where a rule puts it out.
        reason: The rules that hold, or the one that put it out.
    """

    score: float | None
    reason: str


@dataclass(frozen=True)
class SeriesRow:
    """One volume of a study.

    Attributes:
        name: What a person calls it: series number, description, b-value.
        series_uid: (0020,000E).
        key: What `read_study(series=…)` takes for it; empty where it holds no volume and cannot be chosen.
        images: Number of slices.
        b: b-value as prescribed, s/mm²; None where none is stated.
        chosen: The sequence that the rules take it for, or None.
        verdicts: By sequence.
        problem: Why it cannot be used, in a sentence; None where it can.
    """

    name: str
    series_uid: str
    key: str
    images: int
    b: float | None
    chosen: str | None
    verdicts: Mapping[str, Verdict]
    problem: str | None


def list_series(path: Path) -> tuple[SeriesRow, ...]:
    """List the volumes of a DICOM study, in the order of series number and b-value; no pixel is read.

    Args:
        path: A folder with the study, or a file.

    Raises:
        ImageReadError: If a file that carries the mark of DICOM cannot be read.
        InputError: If there is no image, or there are images of more than one study or patient.
    """
    from scanside.runtime.dicom.header import quiet
    from scanside.runtime.dicom.keys import key_of
    from scanside.runtime.dicom.select import judge
    from scanside.runtime.dicom.study import index_study

    study = index_study(path)
    with quiet():
        chosen = _chosen(study)
        dwi = chosen.get("dwi")
        rows = []
        for volume in study.volumes:
            judged = {kind: judge(kind, volume, study.volumes, dwi) for kind in _ORDER}
            rows.append(
                SeriesRow(
                    name=volume.name,
                    series_uid=volume.series_uid,
                    key=key_of(volume, study.volumes),
                    images=len(volume.frames),
                    b=None if volume.b is None else volume.b.nominal,
                    chosen=next((kind for kind, taken in chosen.items() if taken is volume), None),
                    verdicts={kind: Verdict(made.score, made.reason) for kind, made in judged.items()},
                    problem=volume.problem,
                )
            )
    rows += [SeriesRow(name, "", "", 0, None, None, {}, why) for name, why in study.refused]
    return tuple(rows)


def _chosen(study: "DicomStudy") -> "dict[Kind, SeriesVolume]":
    """What the rules take, by sequence; left out where they take nothing or are in doubt."""
    from scanside.runtime.dicom.select import choose_volume

    found: dict[Kind, SeriesVolume] = {}
    for kind in _ORDER:
        try:
            taken, _ = choose_volume(kind, study.volumes, found.get("dwi"))
        except InputError:
            continue
        if taken is not None:
            found[kind] = taken.volume
    return found
