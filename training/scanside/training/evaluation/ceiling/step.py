"""The way of `scanside cohort ceiling`: phantom studies → scenes → observers → strata."""

import csv
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from scanside.runtime import machine
from scanside.runtime.errors import InputError
from scanside.training.evaluation.bootstrap import mean_interval, stream
from scanside.training.evaluation.ceiling import observers
from scanside.training.evaluation.ceiling.oracle import oracle_area
from scanside.training.evaluation.ceiling.records import (
    Ceiling,
    FoundBySegmenters,
    LesionCeiling,
    Oracle,
    Stratum,
    Together,
)
from scanside.training.evaluation.ceiling.scene import ROLES, Scene, scene_of
from scanside.training.evaluation.contrast import LIMITS, band
from scanside.training.evaluation.record_parts import Estimate
from scanside.training.evaluation.strata import ALL, SIZES, size_of
from scanside.training.phantom import VERSION
from scanside.training.phantom.cohort import PhantomPatient, draw_patient, split_of
from scanside.training.phantom.study import SYNTHETIC, make_study

REPEATS = 2000
_USUALLY = 0.5
"""Right in more than this part of the draws of noise counts as found."""

Spacing = tuple[float, float, float]
Reached = Mapping[tuple[str, str], tuple[float, bool]]
"""(Patient, role) → Dice of the automatic mask, and whether it misses the lesion."""


@dataclass(frozen=True)
class CeilingChoice:
    """What to compute.

    Attributes:
        seed: Of the phantom cohort.
        patients: How many it has.
        train: How many of them, from the first, are training patients; the others are looked at.
        network_mm: Role → (Z, Y, X) spacing of the network.
        jobs: Processes.
        small: Only a small box around each lesion, for tests.
    """

    seed: int
    patients: int
    train: int
    network_mm: Mapping[str, Spacing]
    jobs: int = 1
    small: bool = False


def read_reached(path: Path) -> dict[tuple[str, str], tuple[float, bool]]:
    """The test rows of an evaluation's cases.csv.

    Raises:
        InputError: If it cannot be read, or is no such table.
    """
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["part"] == "test"]
            return {
                (row["patient"], row["role"]): (float(row["dice"]), row["missed"] == "True") for row in rows
            }
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} cannot be read as cases.csv of `scanside evaluate`: {error}.") from error


def compute(choice: CeilingChoice, reached: Reached, say: Callable[[str], None]) -> Ceiling:
    """Look at every test patient of a phantom cohort.

    Raises:
        InputError: If the table of reached Dice is of other patients.
    """
    tested = {draw_patient(index, choice.seed, "test").name for index in range(choice.train, choice.patients)}
    if reached and {patient for patient, _ in reached} != tested:
        raise InputError(
            "cases.csv has other test patients than this cohort; check --seed, --patients and --train."
        )
    lesions: list[LesionCeiling] = []
    for found in _looked_at(choice, reached):
        lesions += found
        say(f"Patient {len(lesions) // len(ROLES)} of {len(tested)} done")
    return document(choice, lesions)


def document(choice: CeilingChoice, lesions: list[LesionCeiling]) -> Ceiling:
    """The lesions with what is made of them."""
    cohort = [
        draw_patient(index, choice.seed, split_of(index, choice.train)) for index in range(choice.patients)
    ]
    return Ceiling(
        notice=SYNTHETIC,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=["scanside", *sys.argv[1:]],
        phantom_version=VERSION,
        seed=choice.seed,
        patients=choice.patients,
        train=choice.train,
        draws=observers.DRAWS,
        network_mm=dict(choice.network_mm),
        versions=machine.versions(("scikit-learn",)),
        strata=[stratum for role in ROLES for stratum in _strata(role, lesions)],
        together=_together(lesions),
        missed=_missed(lesions),
        oracle=_oracle(cohort[: choice.train], cohort[choice.train :]),
        lesions=lesions,
    )


def lesion_ceiling(patient: PhantomPatient, role: str, scene: Scene, reached: Reached) -> LesionCeiling:
    """What the three observers reach on one lesion."""
    places, signal = observers.Places(scene), observers.lesion_signal(scene)
    rng = stream(patient.seed, patient.name, role)
    template = observers.template_observer(scene, places, rng)
    clutter = observers.clutter_observer(scene, places, rng)
    outline = observers.outline_observer(scene, places, rng)
    got = reached.get((patient.name, role))
    inside = observers.d_prime(signal[:, scene.mask], scene.sigma)
    values = {
        "contrast": scene.contrast,
        "noise_contrast": inside / places.voxels**0.5,
        "d_prime": observers.d_prime(signal, scene.sigma),
        "blind": observers.blind(places),
        "grid": scene.grid_dice,
        "template_right": template.right,
        "template": template.dice,
        "outline": outline,
        "clutter_right": clutter.right,
        "clutter": clutter.dice,
    }
    return LesionCeiling(
        patient=patient.name,
        role=role,
        diagnosis=patient.lesion.diagnosis,
        lesion_mm=round(patient.lesion.size_mm, 1),
        voxels=places.voxels,
        reached=None if got is None else got[0],
        missed=None if got is None else got[1],
        **{name: float(f"{value:.4g}") for name, value in values.items()},
    )


def _looked_at(choice: CeilingChoice, reached: Reached) -> Iterator[list[LesionCeiling]]:
    one = partial(_patient, choice=choice, reached=reached)
    indices = range(choice.train, choice.patients)
    if choice.jobs == 1:
        yield from map(one, indices)
        return
    with ProcessPoolExecutor(choice.jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, indices)


def _patient(index: int, choice: CeilingChoice, reached: Reached) -> list[LesionCeiling]:
    study = make_study(index, choice.seed, split="test", small=choice.small, bare=True)
    return [
        lesion_ceiling(study.patient, role, scene_of(study, role, choice.network_mm[role]), reached)
        for role in ROLES
    ]


def _strata(role: str, lesions: Sequence[LesionCeiling]) -> Iterator[Stratum]:
    own = [lesion for lesion in lesions if lesion.role == role]
    groups = {ALL: own}
    groups |= {band(low): [one for one in own if band(one.contrast) == band(low)] for low in LIMITS[:-1]}
    groups |= {size: [one for one in own if size_of(one.lesion_mm) == size] for size in SIZES}
    for name, members in groups.items():
        if members:
            yield _stratum(role, name, members)


def _stratum(role: str, name: str, members: Sequence[LesionCeiling]) -> Stratum:
    def mean(what: str) -> Estimate:
        values = np.array([getattr(one, what) for one in members], dtype=np.float64)
        interval = mean_interval(values, REPEATS, stream(0, role, name, what))
        low_high = None if interval is None else (round(interval[0], 4), round(interval[1], 4))
        return Estimate.of(round(float(values.mean()), 4), low_high)

    known = all(one.reached is not None for one in members)
    detectability = np.array([one.d_prime for one in members])
    return Stratum(
        role=role,
        name=name,
        patients=len(members),
        reached=mean("reached") if known else None,
        missed=sum(bool(one.missed) for one in members) if known else None,
        blind=round(float(np.mean([one.blind for one in members])), 4),
        grid=mean("grid"),
        template=mean("template"),
        outline=mean("outline"),
        clutter=mean("clutter"),
        template_right=round(float(np.mean([one.template_right for one in members])), 4),
        outline_below=sum(one.outline < (one.reached or 0) for one in members),
        clutter_right=mean("clutter_right"),
        d_prime_lowest=float(detectability.min()),
        d_prime_median=float(np.median(detectability)),
    )


def _together(lesions: Sequence[LesionCeiling]) -> list[Together]:
    seen: dict[str, Callable[[LesionCeiling], bool]] = {
        "template": lambda one: one.template_right > _USUALLY,
        "clutter": lambda one: one.clutter_right > _USUALLY,
    }
    if all(one.missed is not None for one in lesions):
        seen["segmenters"] = lambda one: not one.missed
    found = []
    for who, sees in seen.items():
        counts = dict.fromkeys((one.patient for one in lesions), 0)
        for one in lesions:
            counts[one.patient] += sees(one)
        both, single, none = (sum(value == n for value in counts.values()) for n in (2, 1, 0))
        found.append(Together.model_validate({"who": who, "both": both, "one": single, "none": none}))
    return found


def _missed(lesions: Sequence[LesionCeiling]) -> list[FoundBySegmenters]:
    found = []
    for role in ROLES:
        own = [one for one in lesions if one.role == role and one.missed]
        template = sum(one.template_right > _USUALLY for one in own)
        clutter = sum(one.clutter_right > _USUALLY for one in own)
        found.append(FoundBySegmenters(role=role, missed=len(own), template=template, clutter=clutter))
    return found


def _oracle(train: Sequence[PhantomPatient], test: Sequence[PhantomPatient]) -> Oracle | None:
    """None where a split lacks a class."""
    classes = [{patient.lesion.diagnosis == "PDAC" for patient in split} for split in (train, test)]
    if any(len(found) < 2 for found in classes):
        return None
    area = oracle_area(train, test)
    return Oracle(train=len(train), test=len(test), auc=area.value, delong=area.interval)
