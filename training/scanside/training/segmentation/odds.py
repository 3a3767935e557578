"""Probabilities of a lesion on disk: what the networks say of patients whom they have not seen, for `train fusion`.

One file per patient, `<patient>.npz` with `probability` (Z, Y, X) float32, in a folder per bundle, so that a bundle
that was exported anew is asked anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scanside.runtime.arrays import Float32
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.errors import InputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.options import Options
from scanside.runtime.plan import Plan
from scanside.runtime.study.fusion import odds
from scanside.runtime.study.records import Odds
from scanside.training.cohort.table import Cohort, Patient
from scanside.training.experiment import Experiment
from scanside.training.segmentation.folds import read_folds
from scanside.training.segmentation.patients import Say, load_patient, segment_each


@dataclass(frozen=True)
class Witness:
    """A role's networks, and which of them has seen whom.

    Attributes:
        bundle: Of the role alone.
        folds: Training patient → the fold whose network has not seen it.
        folder: Where probabilities are kept, a folder per part.
    """

    role: str
    bundle: Bundle
    folds: dict[str, int]
    folder: Path

    @property
    def plan(self) -> Plan:
        """Of its final stage."""
        return self.bundle.manifest.segmenters[self.bundle.role(None)].plan

    def file(self, part: str, patient: str) -> Path:
        """A patient's probabilities."""
        return self.folder / part / f"{patient}.npz"

    def odds(self, part: str, patient: str, cohort: Cohort) -> Odds:
        """As `write_odds` left them, on the grid of the role's own image."""
        geometry = load_patient(cohort, patient, [self.role]).geometry
        with np.load(self.file(part, patient), allow_pickle=False) as arrays:
            return odds(arrays["probability"], geometry)


def open_witness(experiment: Experiment, role: str) -> Witness:
    """The networks that `train segment` has trained for a role.

    Raises:
        InputError: If there are none.
    """
    folder = experiment.segmentation(role)
    if not (folder / "bundle").exists():
        raise InputError(
            f"{experiment.path} holds no segmenter of {role}; run `scanside train segment --role {role}` first."
        )
    bundle = open_bundle(folder / "bundle")
    return Witness(role, bundle, read_folds(folder), experiment.path / "odds" / role / bundle.sha256[:12])


def write_odds(
    cohort: Cohort, patients: Sequence[Patient], witness: Witness, part: str, threads: int | None, say: Say
) -> None:
    """Ask the networks about every patient whose probabilities are not there yet.

    Args:
        part: `cross-validated` asks the one network that has not seen the patient, others ask all of them.
        say: Told every ten patients how long it will take yet.
    """
    groups: dict[tuple[str, ...] | None, list[Patient]] = {}
    for one in patients:
        if not witness.file(part, one.patient).exists():
            asked = (str(witness.folds[one.patient]),) if part == "cross-validated" else None
            groups.setdefault(asked, []).append(one)
    for folds, some in groups.items():
        options, words = Options(threads=threads, folds=folds), f"{part} probabilities of {witness.role}"
        for patient, volume, found in segment_each(
            cohort, some, witness.bundle, options, say, words, probabilities=True
        ):
            assert found.probabilities is not None
            _write(witness.file(part, patient), odds(found.probabilities[1], volume.geometry).probability)


def _write(path: Path, probability: Float32) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, probability=probability)
