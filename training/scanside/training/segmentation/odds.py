"""Probabilities of a lesion on disk: what the networks say of patients whom they have not seen, for `train fusion`.

One file per patient, `<patient>.npz` with `probability` (Z, Y, X) float32, in a folder per bundle, so that a bundle
that was exported anew is asked anew.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scanside.runtime.arrays import Float32
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import InputError
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.files import atomic_write
from scanside.runtime.images.load import load_case
from scanside.runtime.options import Options
from scanside.runtime.plan import Plan
from scanside.runtime.study.fusion import odds
from scanside.runtime.study.records import Odds
from scanside.training.cohort.table import Cohort, Patient
from scanside.training.experiment import Experiment
from scanside.training.segmentation.folds import read_folds
from scanside.training.segmentation.progress import minutes

Say = Callable[[str], None]


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
        geometry = load_case(CaseInput(patient, (cohort.image(patient, self.role),)), 1).volume.geometry
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
    todo = [one for one in patients if not witness.file(part, one.patient).exists()]
    started, done = time.monotonic(), 0
    groups: dict[tuple[str, ...] | None, list[Patient]] = {}
    for one in todo:
        asked = (str(witness.folds[one.patient]),) if part == "cross-validated" else None
        groups.setdefault(asked, []).append(one)
    for folds, some in groups.items():
        options = Options(threads=threads, folds=folds)
        with open_segmenter(witness.bundle, options, lambda words: say(f"{words} …")) as segmenter:
            for one in some:
                files = tuple(
                    cohort.image(one.patient, channel.name.lower()) for channel in witness.plan.channels
                )
                volume = load_case(CaseInput(one.patient, files), len(files)).volume
                found = segmenter.segment(volume, case=one.patient, probabilities=True).probabilities
                assert found is not None
                _write(witness.file(part, one.patient), odds(found[1], volume.geometry).probability)
                done += 1
                if done % 10 == 0 or done == len(todo):
                    left = (time.monotonic() - started) / done * (len(todo) - done)
                    say(
                        f"{witness.role}: probabilities of {done} of {len(todo)} {part} patients; {minutes(left)} left"
                    )


def _write(path: Path, probability: Float32) -> None:
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, probability=probability)
