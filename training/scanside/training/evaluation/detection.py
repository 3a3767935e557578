"""Finding lesions: the FROC curve, its average precision, and what is said of patients without a lesion.

A candidate is a component of the automatic mask; it is a hit where `lesion_hits` pairs it with a lesion of the reader.
Candidates are ranked by their volume: the runtime decides labels without computing probabilities, so that a component
has no other score. A threshold thus means: components smaller than this are left out.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.training.cohort.table import ROLES
from scanside.training.evaluation.bootstrap import (
    counts,
    mean_interval,
    percentiles,
    statistic_interval,
    stream,
)
from scanside.training.evaluation.cases import Case
from scanside.training.evaluation.record_parts import Estimate
from scanside.training.evaluation.records_segmentation import Detection, LesionFree
from scanside.training.evaluation.roc import wilson
from scanside.training.experiment import PARTS

RATES = (0.25, 0.5, 1.0, 2.0)
"""False positives a scan at which the sensitivity is read from the curve."""


def detection(cases: Sequence[Case], repeats: int, seed: int) -> list[Detection]:
    """A FROC curve of each role and part that has a lesion; patients without one count with their false positives."""
    return [_of(members, role, part, repeats, seed) for role, part, members in _groups(cases)]


def lesion_free(cases: Sequence[Case], repeats: int, seed: int) -> list[LesionFree]:
    """What each segmenter says of patients without a lesion; no row where there is no such patient."""
    rows = []
    for role, part, members in _groups(cases, needs_lesion=False):
        healthy = [case for case in members if case.lesion_free]
        if not healthy:
            continue
        false = np.array([case.false_positives for case in healthy], dtype=np.float64)
        clean = int((false == 0).sum())
        rows.append(
            LesionFree(
                role=role,
                part=part,
                patients=len(healthy),
                clean=clean,
                specificity=Estimate(value=clean / len(healthy), interval=wilson(clean, len(healthy))),
                false_positives_per_scan=Estimate.of(
                    float(false.mean()),
                    mean_interval(false, repeats, stream(seed, role, part, "lesion-free")),
                ),
            )
        )
    return rows


def froc(
    volumes: Float64, hits: Float64, weights: Float64, lesions: Float64
) -> tuple[Float64, Float64, Float64]:
    """The curve for each row of weights, from the largest candidate to the smallest; equal volumes are one step.

    Args:
        volumes: (c,), falling.
        hits: (c,) 1 for a hit.
        weights: (r, c) how often each candidate's patient is drawn.
        lesions: (r, 1) number of lesions of the patients drawn.

    Returns:
        False positives, sensitivity and precision at each step, (r, steps) each.
    """
    ends = np.flatnonzero(np.append(np.diff(volumes) != 0, True)) if len(volumes) else np.zeros(0, dtype=int)
    true, false = np.cumsum(weights * hits, axis=1)[:, ends], np.cumsum(weights * (1 - hits), axis=1)[:, ends]
    with np.errstate(divide="ignore", invalid="ignore"):
        return false, true / lesions, true / np.maximum(true + false, 1e-300)


def average_precision(sensitivity: Float64, precision: Float64) -> Float64:
    """Mean precision weighted by the gain in sensitivity; lesions that no candidate hits gain nothing. (r,)"""
    return np.asarray((np.diff(sensitivity, prepend=0.0, axis=1) * precision).sum(axis=1))


def _of(cases: Sequence[Case], role: str, part: str, repeats: int, seed: int) -> Detection:
    found = sorted(
        ((ml, hit, index) for index, case in enumerate(cases) for ml, hit in case.candidates),
        key=lambda one: -one[0],
    )
    volumes = np.array([ml for ml, _, _ in found], dtype=np.float64)
    hits = np.array([hit for _, hit, _ in found], dtype=np.float64)
    owner = np.array([index for _, _, index in found], dtype=np.intp)
    lesions = np.array([case.lesions for case in cases], dtype=np.float64)

    def curve(drawn: Float64) -> tuple[Float64, Float64, Float64]:
        return froc(volumes, hits, drawn[:, owner], drawn @ lesions[:, None])

    def precision_of(drawn: Float64) -> Float64:
        _, sensitivity, precision = curve(drawn)
        return average_precision(sensitivity, precision)

    def at(rate: float, drawn: Float64) -> Float64:
        """The largest sensitivity at no more than `rate` false positives a scan; 0 where the first step exceeds it."""
        false, sensitivity, _ = curve(drawn)
        allowed = false <= rate * drawn.sum(axis=1, keepdims=True) + 1e-9
        return np.asarray(np.where(allowed, sensitivity, 0.0).max(axis=1, initial=0.0))

    once = np.ones((1, len(cases)))
    false, sensitivity, _ = curve(once)
    names = [f"{rate:g}" for rate in RATES]
    return Detection(
        role=role,
        part=part,
        patients=len(cases),
        lesions=int(lesions.sum()),
        score="volume of the component",
        average_precision=Estimate.of(
            float(precision_of(once)[0]),
            statistic_interval(precision_of, len(cases), repeats, stream(seed, role, part, "froc")),
        ),
        sensitivity_at={
            name: Estimate.of(
                float(at(rate, once)[0]),
                statistic_interval(
                    lambda drawn, rate=rate: at(rate, drawn),  # type: ignore[misc]
                    len(cases),
                    repeats,
                    stream(seed, role, part, "froc", name),
                ),
            )
            for name, rate in zip(names, RATES, strict=True)
        },
        curve=[(float(x) / len(cases), float(y)) for x, y in zip(false[0], sensitivity[0], strict=True)],
    )


def volume_rmse(errors: Float64, repeats: int, generator: np.random.Generator) -> Estimate:
    """Root mean square of volume errors, as PANTHER has it, with its interval."""
    squares = errors**2
    interval = None
    if len(errors) > 1:
        interval = percentiles(np.sqrt(counts(len(errors), repeats, generator) @ squares / len(errors)))
    return Estimate.of(float(np.sqrt(squares.mean())), interval)


def _groups(cases: Sequence[Case], *, needs_lesion: bool = True) -> Iterable[tuple[str, str, list[Case]]]:
    for role in ROLES:
        for part in PARTS:
            members = [case for case in cases if (case.role, case.part) == (role, part)]
            if members and (not needs_lesion or any(case.lesions for case in members)):
                yield role, part, members
