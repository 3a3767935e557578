"""What the trainings of a segmenter differ by: each fold's network alone on patients whom none of them has seen.

    python docs/measure_folds.py COHORT BUNDLE ROLE OUT.json

The networks of a bundle were trained with one seed on two thirds of the patients each. How far they lie apart on the
same test patients is what one training more or less would have changed; a second seed would need another training.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from measure_contrast import summary

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.images.read import read_image
from scanside.runtime.masks.overlap import dice
from scanside.runtime.options import Options
from scanside.training.cohort.table import Cohort, read_cohort
from scanside.training.segmentation.patients import load_patient


def dice_of(cohort: Cohort, bundle: Bundle, role: str, folds: tuple[str, ...] | None) -> list[float]:
    """Dice of every test patient, by some of the networks."""
    found = []
    channels = [channel.name.lower() for channel in bundle.manifest.segmenters[role].plan.channels]
    with open_segmenter(bundle, Options(role=role, folds=folds, threads=1)) as segmenter:
        for one in cohort.split("test"):
            volume = load_patient(cohort, one.patient, channels)
            truth = read_image(cohort.mask(one.patient, role)).data[0] > 0
            found.append(dice(truth, segmenter.segment(volume).mask > 0))
    return found


def spread(cohort: Cohort, bundle: Bundle, role: str) -> dict[str, Any]:
    """Mean Dice of each network; standard deviation of these means, and between networks within a patient."""
    names = [network.fold for network in bundle.manifest.segmenters[role].networks]
    by_fold = np.array([dice_of(cohort, bundle, role, (name,)) for name in names])
    return {
        "cohort": cohort.name,
        "networks": {
            name: summary(f"{role} {name}", row.tolist()) for name, row in zip(names, by_fold, strict=True)
        },
        "sd_of_means": round(float(by_fold.mean(axis=1).std(ddof=1)), 4),
        "sd_within_patient": round(float(np.sqrt(by_fold.var(axis=0, ddof=1).mean())), 4),
    }


def main() -> None:
    """Write OUT.json, beside what it holds of another role."""
    cohort, bundle, role, out = (
        read_cohort(Path(sys.argv[1])),
        open_bundle(Path(sys.argv[2])),
        sys.argv[3],
        Path(sys.argv[4]),
    )
    found = spread(cohort, bundle, role)
    document = json.loads(out.read_text()) if out.exists() else {}
    out.write_text(json.dumps({**document, role: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
