"""What each sequence's mask would gain from the other sequence's probabilities: a rule of three numbers, no training.

    python docs/measure_joint.py COHORT BUNDLE OUT.json

A voxel is lesion where `log-odds(p) + weight * log-odds(q) > limit`; p is the sequence's own probability, q the other
one's, blurred and read at the same place of the patient; the largest component stays. The three numbers are chosen on
every other patient and judged on the rest. No network of the bundle may have been trained on the cohort.
"""

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measure_contrast import summary
from scipy.ndimage import gaussian_filter, map_coordinates

from scanside.runtime.arrays import LabelMask
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.load import load_case
from scanside.runtime.images.read import read_image
from scanside.runtime.masks.overlap import overlap
from scanside.runtime.options import Options
from scanside.runtime.stages.lesions import largest_lesions
from scanside.runtime.study.diffusion import indices_in, points_of
from scanside.runtime.study.pipeline import read_recipe
from scanside.runtime.volume import Geometry
from scanside.training.cohort.table import Cohort, Patient, read_cohort
from scanside.training.evaluation.strata import SIZES, size_of

BLURS_MM, WEIGHTS, LIMITS = (2.0, 4.0, 6.0), (0.5, 1.0, 1.5), (-4.5, -3.0, -2.0, -1.0)
CHOICES = tuple(itertools.product(BLURS_MM, WEIGHTS, LIMITS))
OTHER = {"t2w": "dwi", "dwi": "t2w"}
Floats = npt.NDArray[np.float32]
Segmented = tuple[Floats, LabelMask, Geometry]
"""Probability of a lesion (Z, Y, X), the mask of the bundle, and where they lie."""


def probabilities(
    cohort: Cohort, patients: Sequence[Patient], bundle: Path
) -> dict[str, dict[str, Segmented]]:
    """Role → patient → what the bundle makes of it."""
    opened = open_bundle(bundle)
    channels = read_recipe(opened).channels
    found: dict[str, dict[str, Segmented]] = {}
    for role in OTHER:
        with open_segmenter(
            opened, Options(role=role), lambda words: print(words, file=sys.stderr)
        ) as segmenter:
            found[role] = {}
            for one in patients:
                files = tuple(cohort.image(one.patient, sequence) for sequence in channels[role])
                volume = load_case(CaseInput(one.patient, files), len(files)).volume
                made = segmenter.segment(volume, probabilities=True)
                assert made.probabilities is not None
                found[role][one.patient] = made.probabilities[1], made.mask, volume.geometry
    return found


def log_odds(p: Floats) -> Floats:
    """Of probabilities, which end 1e-4 from 0 and 1."""
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


def read_at(p: Floats, grid: Geometry, target: Geometry, blur_mm: float) -> Floats:
    """A blurred probability at the voxels of another grid; 0 outside."""
    blurred = gaussian_filter(p, [blur_mm / step for step in grid.spacing])
    points = points_of(target, np.argwhere(np.ones(target.shape, bool)))  # x, y, z in mm
    where = indices_in(grid, points.T)
    return np.asarray(map_coordinates(blurred, where, order=1, cval=0.0), np.float32).reshape(target.shape)


def joint(
    own: Floats, others: dict[float, Floats], choice: tuple[float, float, float]
) -> npt.NDArray[np.bool_]:
    """The mask of one choice of blur, weight and limit."""
    blur, weight, limit = choice
    return largest_lesions((log_odds(own) + weight * log_odds(others[blur]) > limit).astype(np.uint8), 1) > 0


def of_role(
    role: str, cohort: Cohort, patients: Sequence[Patient], found: dict[str, dict[str, Segmented]]
) -> dict[str, Any]:
    """A sequence alone, and with the other one."""
    alone, by_choice = [], []
    for one in patients:
        own, mask, grid = found[role][one.patient]
        p, _, place = found[OTHER[role]][one.patient]
        truth = read_image(cohort.mask(one.patient, role)).data[0] > 0
        others = {blur: read_at(p, place, grid, blur) for blur in BLURS_MM}
        alone.append(overlap(truth, mask > 0, grid.spacing).dice)
        by_choice.append(
            [overlap(truth, joint(own, others, choice), grid.spacing).dice for choice in CHOICES]
        )
    single, every = np.array(alone), np.array(by_choice)
    halves = np.arange(len(patients)) % 2
    best = [int(every[halves != half].mean(axis=0).argmax()) for half in (0, 1)]
    together = every[np.arange(len(patients)), [best[half] for half in halves]]
    small = np.array([size_of(one.lesion_mm) == SIZES[0] for one in patients])
    strata = {"all": np.ones(len(patients), bool), "below 2 cm": small}
    return {
        "chosen": [dict(zip(("blur_mm", "weight", "limit"), CHOICES[index], strict=True)) for index in best],
        "by": {
            name: {
                "alone": summary(f"{role} {name} alone", list(single[rows])),
                "together": summary(f"{role} {name} together", list(together[rows])),
                "difference": summary(f"{role} {name} difference", list((together - single)[rows])),
            }
            for name, rows in strata.items()
        },
    }


def main() -> None:
    """Write OUT.json."""
    cohort, bundle, out = read_cohort(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
    patients = [one for part in ("train", "test") for one in cohort.split(part)]
    found = probabilities(cohort, patients, bundle)
    document = {
        "cohort": cohort.name,
        "bundle": open_bundle(bundle).sha256,
        "roles": {role: of_role(role, cohort, patients, found) for role in OTHER},
    }
    out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
