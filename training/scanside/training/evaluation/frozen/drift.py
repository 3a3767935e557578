"""Whether new patients look like the training cohort: each feature against its training range, and the distance.

A bundle holds the 5th, 50th and 95th percentile of each feature in its training patients. Of patients like these one in
ten lies outside; a feature has drifted where the interval of the observed part lies above that.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from scanside.runtime.bundle import Bundle
from scanside.runtime.study.answer import coded
from scanside.training.evaluation.classification import proportion
from scanside.training.evaluation.frozen.records import Drift, FeatureDrift
from scanside.training.evaluation.frozen.results import Answer

EXPECTED = 0.1
"""Part of the training patients outside the 5th to 95th percentile."""


def drift(bundle: Bundle, answers: Sequence[Answer]) -> Drift:
    """Features and covariates of everybody who was measured, whether a diagnosis is known or not."""
    ranges: dict[str, tuple[float, float, float]] = {}
    for model in bundle.manifest.models:
        for name, span in model.signature.ranges.items():
            ranges.setdefault(name, span)
    rows = [_feature(name, span, answers) for name, span in ranges.items()]
    away = np.array([answer.distance for answer in answers if answer.distance is not None])
    return Drift(
        expected_outside=EXPECTED,
        features=[row for row in rows if row.patients],
        unlike=proportion(int((away > 1).sum()), len(away)),
        distance_median=float(np.median(away)) if len(away) else None,
        covariates_outside=_covariates(bundle, answers),
    )


def _feature(name: str, span: tuple[float, float, float], answers: Sequence[Answer]) -> FeatureDrift:
    low, middle, high = span
    values = np.array([answer.features[name] for answer in answers if name in answer.features])
    outside = proportion(int(((values < low) | (values > high)).sum()), len(values))
    median = float(np.median(values)) if len(values) else None
    return FeatureDrift(
        feature=name,
        patients=len(values),
        low=low,
        median=middle,
        high=high,
        median_now=median,
        shift=None if median is None or high <= low else (median - middle) / (high - low),
        below=int((values < low).sum()),
        above=int((values > high).sum()),
        outside=outside,
        drifted=outside.interval is not None and outside.interval[0] > EXPECTED,
    )


def _covariates(bundle: Bundle, answers: Sequence[Answer]) -> Mapping[str, int]:
    """Covariate → patients outside the training cohort's smallest and largest value."""
    found: dict[str, int] = {}
    for answer in answers:
        model = next((one for one in bundle.manifest.models if one.name == answer.model), None)
        for one in model.covariates if model else ():
            value = coded(one, answer.covariates)
            outside = value is not None and not one.low <= value <= one.high
            found[one.name] = found.get(one.name, 0) + int(outside)
    return found
