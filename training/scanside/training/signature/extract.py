"""Features of every patient, from the automatic masks that a deployed segmenter would have made.

A training patient is measured on the mask of a fold's model that did not see the patient: masks of the final model
would be too good and the signature would learn features that no new patient has. A test patient is measured on the
final model's mask. Each training patient is measured again on perturbed masks and images (for the stability filter),
and once on the reader's mask (an ablation: what the segmentation costs).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from scanside.runtime.arrays import Uint8
from scanside.runtime.errors import InputError, ScansideError
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.load import load_case
from scanside.runtime.images.read import read_image
from scanside.runtime.radiomics.config import RadiomicsConfig, dump_config, load_config
from scanside.runtime.radiomics.extract import extract
from scanside.runtime.stages.lesions import one_lesion
from scanside.runtime.study.lesion_agreement import NEAR_MM, Regions, choose_regions
from scanside.runtime.volume import Volume
from scanside.training.cohort.table import Cohort, Patient
from scanside.training.evaluation.lesion_hits import elsewhere
from scanside.training.experiment import Experiment, write_json
from scanside.training.signature.perturb import names, perturb
from scanside.training.signature.store import (
    CROSS_VALIDATED,
    NONE,
    REFERENCE,
    TEST,
    Measured,
    Measurements,
)

SCHEMA = 3
"""Of the files under signature/values; another number measures again."""


@dataclass(frozen=True)
class Job:
    """One patient to be measured.

    Attributes:
        part: Whose masks are measured: `cross-validated` or `test`.
        images: Sequence → file or DICOM folder.
        masks: Role → file.
        reader: Role → file of the reader's mask, where there is one: it tells whether the right place is measured.
        ablation: Whether the reader's masks are measured, too.
        perturbations: Names of `perturb.names`.
        config: radiomics.yaml.
        near_mm: How near the lesions of two roles must lie to be one.
        out: The result's file.
    """

    patient: str
    part: str
    images: dict[str, Path]
    masks: dict[str, Path]
    reader: dict[str, Path]
    ablation: bool
    perturbations: tuple[str, ...]
    config: bytes
    near_mm: float
    seed: int
    out: Path

    def key(self) -> str:
        """Hash of everything the result depends on except the images, which the cohort's own hash stands for."""
        digest = hashlib.sha256(self.config)
        for path in (*self.masks.values(), *self.reader.values()):
            digest.update(path.read_bytes())
        said = [SCHEMA, self.perturbations, self.seed, sorted(self.images), self.near_mm, self.ablation]
        digest.update(json.dumps(said).encode())
        return digest.hexdigest()


def jobs_of(
    cohort: Cohort,
    experiment: Experiment,
    config: RadiomicsConfig,
    perturbations: int,
    seed: int,
    near_mm: float = NEAR_MM,
) -> list[Job]:
    """A job for each patient with masks, whose lesion has a known diagnosis.

    Args:
        near_mm: How near the lesions of two roles must lie to be one.

    Raises:
        InputError: If masks are missing, naming the first.
    """
    data = dump_config(config)
    roles = {sequence: part.role for sequence, part in config.sequences.items()}
    found = []
    for patient in (patient for patient in cohort.patients if patient.classified):
        train = patient.split == "train"
        part = CROSS_VALIDATED if train else TEST
        masks = {
            role: experiment.masks(part, role) / f"{patient.patient}.nii.gz" for role in set(roles.values())
        }
        missing = [(role, path) for role, path in sorted(masks.items()) if not path.exists()]
        if missing:
            role, path = missing[0]
            raise InputError(
                f"There is no automatic mask {path}; run `scanside train segment --role {role}` first."
            )
        reader = {role: cohort.mask(patient.patient, role) for role in masks}
        found.append(
            Job(
                patient=patient.patient,
                part=part,
                images={sequence: cohort.image(patient.patient, sequence) for sequence in roles},
                masks=masks,
                reader={role: path for role, path in reader.items() if path.exists()},
                ablation=train and perturbations > 0,
                perturbations=names(perturbations) if train else (),
                config=data,
                near_mm=near_mm,
                seed=seed,
                out=experiment.signature / "values" / part / f"{patient.patient}.json",
            )
        )
    return found


def measure_all(jobs: Sequence[Job], processes: int, listener: Callable[[], None] = lambda: None) -> None:
    """Measure every patient who has not been measured with the same masks and settings yet.

    Args:
        listener: Called after every patient.
    """
    waiting = []
    for job in jobs:
        if _done(job):
            listener()
        else:
            waiting.append(job)
    if processes == 1 or len(waiting) < 2:
        for job in waiting:
            measure(job)
            listener()
        return
    with ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_one_thread_each
    ) as pool:
        try:
            for future in as_completed([pool.submit(measure, job) for job in waiting]):
                future.result()
                listener()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _one_thread_each() -> None:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def measure(job: Job) -> None:
    """Measure one patient and write the result.

    Raises:
        InputError: If an image or mask is refused, or they do not lie on one grid.
    """
    config = load_config(job.config)
    roles = {sequence: part.role for sequence, part in config.sequences.items()}
    try:
        images = {
            sequence: load_case(CaseInput(job.patient, (path,)), 1).volume
            for sequence, path in job.images.items()
        }
        masks, regions = _masks(job.masks, images, roles, job.near_mm)
        values = {f"{job.part}/{NONE}": _values(images, masks, config)}
        for name in job.perturbations if any(mask.any() for mask in masks.values()) else ():
            other = perturb(name, images, masks, roles, job.patient, job.seed)
            values[f"{job.part}/{name}"] = _values(other.images, other.masks, config)
        reader, _ = _masks(job.reader, images, roles, job.near_mm)
        if reader and job.ablation:
            values[f"{REFERENCE}/{NONE}"] = _values(images, reader, config)
    except ScansideError as error:
        raise InputError(f"Patient {job.patient}: {error}") from error
    document = {
        "key": job.key(),
        "patient": job.patient,
        "missed": sorted(role for role, mask in masks.items() if not mask.any()),
        "apart": regions.apart,
        "wrong": sorted(role for role, mask in masks.items() if _elsewhere(mask, reader.get(role))),
        "gap_mm": regions.gap_mm,
        "lesion": dict(regions.measured),
        **_simple(images, masks, roles),
        "values": {name: {f: v for f, (v, _) in row.items()} for name, row in values.items()},
        "absent": {f: why for f, (_, why) in values[f"{job.part}/{NONE}"].items() if why},
    }
    write_json(job.out, document)


def gather(cohort: Cohort, jobs: Sequence[Job], positive: str) -> tuple[Measurements, dict[str, int]]:
    """Read what `measure_all` wrote.

    Args:
        positive: The positive diagnosis.

    Returns:
        The measurements, and why features are absent: reason → number of values.
    """
    people: dict[str, Patient] = {patient.patient: patient for patient in cohort.patients}
    patients, rows, reasons = [], {}, dict[str, int]()
    features: dict[str, None] = {}
    for job in jobs:
        document = json.loads(job.out.read_text())
        patients.append(_measured(people[job.patient], job.part, document, positive))
        for name, values in document["values"].items():
            part, _, perturbation = name.partition("/")
            rows[job.patient, part, perturbation] = values
            features |= dict.fromkeys(values)
        for why in document["absent"].values():
            reasons[why] = reasons.get(why, 0) + 1
    names = tuple(features)
    arrays = {
        key: np.array([np.nan if row.get(f) is None else row[f] for f in names]) for key, row in rows.items()
    }
    return Measurements(names, tuple(patients), arrays), reasons


def _measured(person: Patient, part: str, document: dict[str, Any], positive: str) -> Measured:
    nan = float("nan")
    return Measured(
        person.patient,
        part,
        person.diagnosis == positive,
        person.scanner,
        nan if person.age is None else float(person.age),
        nan if person.sex is None else float(person.sex == "M"),
        nan if document["volume_ml"] is None else document["volume_ml"],
        nan if document["adc_mean"] is None else document["adc_mean"],
        " ".join(document["missed"]),
        document["apart"],
        " ".join(document["wrong"]),
        person.site or "",
    )


def _done(job: Job) -> bool:
    try:
        return bool(json.loads(job.out.read_text())["key"] == job.key())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _masks(
    paths: dict[str, Path], images: dict[str, Volume], roles: dict[str, str], near_mm: float
) -> tuple[dict[str, Uint8], Regions]:
    """The lesion of each role's mask that a new study would be measured in, chosen as there.

    Raises:
        InputError: If a mask is not on the grid of the images it is for.
    """
    found, grids = {}, {}
    for role, path in paths.items():
        volume = read_image(path)
        for sequence in (sequence for sequence, owner in roles.items() if owner == role):
            difference = images[sequence].geometry.difference(volume.geometry)
            if difference:
                raise InputError(
                    f"mask {path} is not on the grid of {sequence} ({difference}); resample it first."
                )
        found[role], grids[role] = np.rint(volume.data[0]).astype(np.int16), volume.geometry
    regions = choose_regions(found, grids, near_mm)
    return {role: one_lesion(mask, regions.measured.get(role, 1)) for role, mask in found.items()}, regions


def _elsewhere(measured: Uint8, reader: Uint8 | None) -> bool:
    """Whether what is measured is not the lesion that the reader outlined; False where nobody can tell."""
    return reader is not None and elsewhere(measured > 0, reader > 0)


def _values(
    images: dict[str, Volume], masks: dict[str, Uint8], config: RadiomicsConfig
) -> dict[str, tuple[float | None, str | None]]:
    found = extract(images, masks, config)
    return {name: (feature.value, feature.reason) for name, feature in found.items()}


def _simple(
    images: dict[str, Volume], masks: dict[str, Uint8], roles: dict[str, str]
) -> dict[str, float | None]:
    """What a reader measures with a ruler: mean volume over the roles' main lesions, and mean ADC."""
    grids = {role: images[sequence].geometry for sequence, role in roles.items()}
    volumes = [mask.sum() * grids[role].voxel_volume_ml for role, mask in masks.items() if mask.any()]
    inside = masks[roles["adc"]] > 0 if "adc" in roles else np.zeros(0, dtype=bool)
    return {
        "volume_ml": float(np.mean(volumes)) if volumes else None,
        "adc_mean": float(images["adc"].data[0][inside].mean()) if inside.any() else None,
    }
