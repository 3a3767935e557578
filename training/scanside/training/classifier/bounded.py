"""A fitted model → the record of its classifier: calibration, threshold, band and limit, with what is known of them."""

import re
from dataclasses import asdict

import numpy as np

from scanside.runtime.study_model import Classifier
from scanside.training.classifier.bounds import (
    calibration_band,
    conformal,
    measured_coverage,
    typical,
    youden,
)
from scanside.training.classifier.compare import Compared
from scanside.training.classifier.document import Bounds, ConformalFacts, Recalibration, ThresholdFacts
from scanside.training.classifier.fit import out_of_fold
from scanside.training.signature.store import CROSS_VALIDATED, Measurements


def slug(name: str) -> str:
    """A model's name as a part of a file's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def bounded(
    main: Compared, measurements: Measurements, names: tuple[str, str], coverage: float, seed: int
) -> tuple[Classifier, Bounds]:
    """The record of a model's classifier, and what is known of its bounds.

    Args:
        names: Positive and negative class.
        coverage: Of the conformal band, within each class.
    """
    y = measurements.labels(CROSS_VALIDATED)
    known, scores = out_of_fold(main.outcome, main.family)
    y, folds = y[known], main.outcome.fold_of[:, known]
    probability = main.deployed.recalibration(scores)
    labels = np.tile(y, len(scores))
    threshold = youden(labels, probability.ravel())
    sets = conformal(y, probability, coverage)
    held = measured_coverage(y, probability, folds, coverage)
    # Beside the threshold a class would be named that the prediction set does not hold.
    low, high = min(sets.band[0], threshold), max(sets.band[1], threshold)
    called = probability >= threshold
    record = Classifier(
        file=f"{slug(main.model.name)}.onnx",
        positive=names[0],
        negative=names[1],
        threshold=threshold,
        indeterminate=(low, high),
        calibration=f"sigmoid (Platt) inside folds, recalibrated out of fold on {len(y)} training patients",
        band=calibration_band(y, scores, main.deployed.recalibration, seed),
        typical=typical(main.deployed.rows),
    )
    facts = Bounds(
        threshold=ThresholdFacts(
            value=threshold,
            method="Youden, out of fold",
            sensitivity=float(called[:, y == 1].mean()),
            specificity=float(1 - called[:, y == 0].mean()),
        ),
        conformal=ConformalFacts(
            **asdict(held),
            positive_from=sets.positive_from,
            negative_to=sets.negative_to,
            indeterminate=(low, high),
            method="class-conditional; coverage measured on folds that did not set the band",
        ),
        recalibration=Recalibration(
            slope=main.deployed.recalibration.slope, intercept=main.deployed.recalibration.intercept
        ),
        dropped=main.deployed.dropped,
    )
    return record, facts
