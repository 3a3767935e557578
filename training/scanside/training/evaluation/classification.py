"""Predictions → the report's part on classification."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.training.cohort.table import Cohort
from scanside.training.evaluation import records
from scanside.training.evaluation.added import added_value
from scanside.training.evaluation.bootstrap import stream
from scanside.training.evaluation.calibration import calibrate
from scanside.training.evaluation.cases import SPLIT_OF
from scanside.training.evaluation.decision import decision_curve
from scanside.training.evaluation.delong import Bools, area, difference
from scanside.training.evaluation.predictions import ClassifierFacts, Prediction
from scanside.training.evaluation.procedure import ablation, canaries, left_out
from scanside.training.evaluation.record_parts import Auc, Curve, Estimate
from scanside.training.evaluation.roc import (
    average_precision,
    bootstrap_auc,
    bootstrap_average_precision,
    confusion,
    precision_recall_curve,
    roc_curve,
    wilson,
)
from scanside.training.evaluation.strata import subgroups
from scanside.training.experiment import PARTS

HALF, WRONG = 0.5, (-1.0, 2.0)
"""Scores given to patients without a probability: undecided, and ranked wrongly (positives, negatives)."""


@dataclass(frozen=True)
class Sample:
    """Patients of one part with a model's probabilities.

    Attributes:
        patients: Ids, sorted.
        truth: (n,) bool, True for the positive class.
        score: (n,) float64, NaN where there is no probability.
    """

    patients: tuple[str, ...]
    truth: Bools
    score: Float64

    def among(self, keep: Bools) -> "Sample":
        """Some of the patients."""
        names = tuple(name for name, kept in zip(self.patients, keep, strict=True) if kept)
        return Sample(names, self.truth[keep], self.score[keep])

    @property
    def scored(self) -> "Sample":
        """The patients with a probability."""
        return self.among(np.isfinite(self.score))

    @property
    def both_classes(self) -> bool:
        """Whether there is a patient of each class."""
        return bool(self.truth.any() and not self.truth.all())


def classification(
    predictions: Sequence[Prediction], facts: ClassifierFacts, cohort: Cohort, *, repeats: int, seed: int
) -> records.Classification:
    """Judge every model on every part it has predictions for; the main model first."""
    models = sorted(
        {prediction.model for prediction in predictions}, key=lambda name: (name != facts.main, name)
    )
    results = []
    for part in PARTS:
        main = sample(predictions, facts.main, part, facts.positive, cohort)
        for model in models:
            rows = [row for row in predictions if (row.model, row.part) == (model, part)]
            if rows:
                results.append(_model(rows, main, facts, cohort, repeats, seed))
    signature = facts.signature
    return records.Classification(
        main_model=facts.main,
        positive=facts.positive,
        negative=facts.negative,
        models=results,
        added=[
            found
            for part in PARTS
            if (found := added_value(predictions, part, facts.positive, cohort)) is not None
        ],
        features=list(facts.features) if facts.features else None,
        selection_path=None if signature is None else [(step.step, step.features) for step in signature.path],
        canaries=canaries(signature),
        ablation=ablation(signature),
        left_out=left_out(signature),
    )


def sample(predictions: Sequence[Prediction], model: str, part: str, positive: str, cohort: Cohort) -> Sample:
    """The patients of a part with a model's probabilities, in order of their ids."""
    diagnoses = {patient.patient: patient.diagnosis for patient in cohort.patients}
    rows = sorted(
        (row for row in predictions if (row.model, row.part) == (model, part)), key=lambda r: r.patient
    )
    return Sample(
        tuple(row.patient for row in rows),
        np.array([diagnoses[row.patient] == positive for row in rows], dtype=bool),
        np.array([np.nan if row.probability is None else row.probability for row in rows], dtype=np.float64),
    )


def auc(some: Sample, repeats: int, seed: int, *name: str) -> Auc:
    """Area under the ROC curve with both intervals; null where a class is absent."""
    positives = int(some.truth.sum())
    found = area(some.truth, some.score) if some.both_classes else None
    return Auc(
        patients=len(some.patients),
        positives=positives,
        value=found.value if found else None,
        delong=found.interval if found else None,
        bootstrap=bootstrap_auc(some.truth, some.score, repeats, stream(seed, "auc", *name)),
    )


def confusion_at(truth: Bools, named: Bools, threshold: float | None) -> records.Confusion:
    """The four outcomes and the rates made of them.

    Args:
        threshold: None where each of several models has its own.
    """
    table = confusion(truth, named)
    tp, fp, fn, tn = table.true_positive, table.false_positive, table.false_negative, table.true_negative
    return records.Confusion(
        threshold=threshold,
        true_positive=tp,
        false_positive=fp,
        false_negative=fn,
        true_negative=tn,
        accuracy=proportion(tp + tn, tp + fp + fn + tn),
        sensitivity=proportion(tp, tp + fn),
        specificity=proportion(tn, tn + fp),
        positive_predictive_value=proportion(tp, tp + fp),
        negative_predictive_value=proportion(tn, tn + fn),
    )


def proportion(successes: int, trials: int) -> Estimate:
    """A proportion with Wilson's interval; null without trials."""
    if not trials:
        return Estimate(value=None, interval=None)
    return Estimate(value=successes / trials, interval=wilson(successes, trials))


def _model(
    rows: Sequence[Prediction],
    main: Sample,
    facts: ClassifierFacts,
    cohort: Cohort,
    repeats: int,
    seed: int,
) -> records.ModelResult:
    model, part = rows[0].model, rows[0].part
    every = sample(rows, model, part, facts.positive, cohort)
    scored = every.scored
    is_main = model == facts.main
    usable = scored.both_classes
    extras = is_main and usable
    bounds = _bounds(scored, rows, facts)
    roc, precision_recall, precision = _curves(scored, repeats, seed, model, part)
    return records.ModelResult(
        model=model,
        part=part,
        main=is_main,
        statuses=dict(sorted(Counter(row.status or "ok" for row in rows).items())),
        without_probability=len(every.patients) - len(scored.patients),
        absent=len(cohort.classified(SPLIT_OF[part])) - len(rows),
        **_areas(every, rows, repeats, seed),
        against=_against(scored, cohort, facts.positive, repeats, seed, model, part),
        average_precision=precision,
        prevalence=float(scored.truth.mean()) if len(scored.truth) else None,
        comparison=None if is_main else _comparison(main, every),
        calibration=_calibration(scored, repeats, seed, model, part) if usable else None,
        roc=roc,
        precision_recall=precision_recall,
        confusion=_confusion(scored, bounds) if bounds is not None and usable else None,
        indeterminate=_indeterminate(scored, bounds, repeats, seed, model, part)
        if bounds is not None and usable
        else None,
        wrong_regions=_wrong_regions(rows, facts),
        decision=_decision(scored, repeats, seed, part) if extras else None,
        subgroups=_subgroups(scored, cohort, repeats, seed, part) if extras else [],
    )


def _areas(every: Sample, rows: Sequence[Prediction], repeats: int, seed: int) -> dict[str, Auc]:
    """The area of those with a probability, and its variants with the others."""
    unscored = ~np.isfinite(every.score)
    given = {row.patient: np.nan if row.unguarded is None else row.unguarded for row in rows}
    scores = {
        "auc": every.score,
        "auc_unguarded": np.array([given[name] for name in every.patients], dtype=np.float64),
        "auc_undecided_as_half": np.where(unscored, HALF, every.score),
        "auc_undecided_as_wrong": np.where(unscored, np.where(every.truth, *WRONG), every.score),
    }
    # One stream for all four: where nobody lacks a probability they are the same number with the same interval.
    return {
        name: auc(
            Sample(every.patients, every.truth, score).scored, repeats, seed, rows[0].model, rows[0].part
        )
        for name, score in scores.items()
    }


def _against(
    scored: Sample, cohort: Cohort, positive: str, repeats: int, seed: int, model: str, part: str
) -> list[records.DiagnosisAuc]:
    diagnoses = {patient.patient: patient.diagnosis for patient in cohort.patients}
    own = np.array([diagnoses[name] for name in scored.patients])
    return [
        records.DiagnosisAuc(
            diagnosis=other,
            auc=auc(scored.among((own == other) | scored.truth), repeats, seed, model, part, other),
        )
        for other in sorted({*own.tolist()} - {positive})
    ]


def _curves(scored: Sample, repeats: int, seed: int, model: str, part: str) -> tuple[Curve, Curve, Estimate]:
    """ROC, precision over recall, and average precision; empty and null where a class is absent."""
    if not scored.both_classes:
        return [], [], Estimate(value=None, interval=None)
    truth, score = scored.truth, scored.score
    roc, recall = roc_curve(truth, score), precision_recall_curve(truth, score)
    generator = stream(seed, "average-precision", model, part)
    precision = Estimate.of(
        average_precision(truth, score), bootstrap_average_precision(truth, score, repeats, generator)
    )
    return _points(roc.x, roc.y), _points(recall.x, recall.y), precision


def _comparison(main: Sample, other: Sample) -> records.Comparison | None:
    """Main minus other, on the patients that both gave a probability."""
    first = dict(zip(main.scored.patients, main.scored.score, strict=True))
    shared = other.scored.among(np.array([name in first for name in other.scored.patients], dtype=bool))
    if not shared.both_classes:
        return None
    found = difference(shared.truth, np.array([first[name] for name in shared.patients]), shared.score)
    return records.Comparison(
        patients=len(shared.patients),
        difference=found.value,
        interval=found.interval,
        p=found.p if np.isfinite(found.p) else None,
    )


def _calibration(scored: Sample, repeats: int, seed: int, model: str, part: str) -> records.Calibration:
    found = calibrate(scored.truth, scored.score, repeats, stream(seed, "calibration", model, part))

    def estimate(name: str) -> Estimate:
        return Estimate.of(getattr(found, name), found.intervals[name])

    return records.Calibration(
        brier=estimate("brier"),
        brier_of_prevalence=found.brier_of_prevalence,
        slope=estimate("slope"),
        intercept=estimate("intercept"),
        in_the_large=estimate("in_the_large"),
        ece=estimate("ece"),
        groups=[
            records.ReliabilityGroup(
                patients=group.patients,
                predicted=group.predicted,
                observed=group.observed,
                interval=group.interval,
            )
            for group in found.groups
        ],
    )


@dataclass(frozen=True)
class Bounds:
    """Threshold and band of the model that answered, for each patient: (n,) each."""

    threshold: Float64
    low: Float64
    high: Float64

    @property
    def single(self) -> tuple[float, tuple[float, float]] | None:
        """The threshold and the band, where they are the same for all."""
        values = {*zip(self.threshold.tolist(), self.low.tolist(), self.high.tolist(), strict=True)}
        if len(values) != 1:
            return None
        threshold, low, high = values.pop()
        return threshold, (low, high)


def _bounds(scored: Sample, rows: Sequence[Prediction], facts: ClassifierFacts) -> Bounds | None:
    """None where the model that answered has none, as a baseline."""
    answered = {row.patient: row.answered or row.model for row in rows}
    found = [facts.bounds.get(answered[name]) for name in scored.patients]
    known = [bound for bound in found if bound is not None]
    if not known or len(known) < len(found):
        return None
    return Bounds(
        np.array([threshold for threshold, _ in known]),
        np.array([low for _, (low, _) in known]),
        np.array([high for _, (_, high) in known]),
    )


def _confusion(scored: Sample, bounds: Bounds) -> records.Confusion:
    threshold = None if bounds.single is None else bounds.single[0]
    return confusion_at(scored.truth, scored.score >= bounds.threshold, threshold)


def _indeterminate(
    scored: Sample, bounds: Bounds, repeats: int, seed: int, model: str, part: str
) -> records.Indeterminate:
    undecided = (bounds.low < scored.score) & (scored.score < bounds.high)
    named = scored.score >= bounds.threshold
    decided = scored.among(~undecided)
    named_negative, named_positive = ~undecided & ~named, ~undecided & named
    positives, negatives = int(scored.truth.sum()), int((~scored.truth).sum())
    wrong_negative, wrong_positive = (
        int((named_negative & scored.truth).sum()),
        int((named_positive & ~scored.truth).sum()),
    )
    return records.Indeterminate(
        band=None if bounds.single is None else bounds.single[1],
        indeterminate=int(undecided.sum()),
        decided=len(decided.patients),
        fraction=proportion(int(undecided.sum()), len(scored.patients)),
        coverage_positive=proportion(positives - wrong_negative, positives),
        coverage_negative=proportion(negatives - wrong_positive, negatives),
        confusion=confusion_at(
            decided.truth, named[~undecided], None if bounds.single is None else bounds.single[0]
        )
        if decided.patients
        else None,
        auc=auc(decided, repeats, seed, f"decided {model}", part),
    )


def _wrong_regions(rows: Sequence[Prediction], facts: ClassifierFacts) -> records.WrongRegions | None:
    if facts.wrong is None:
        return None
    given = [row for row in rows if row.probability is not None and row.patient in facts.wrong]
    roles = [facts.roles.get(row.answered or row.model) for row in given]
    if not given or None in roles:
        return None
    wrong = sum(
        bool(facts.wrong.get(row.patient, frozenset()) & set(measured or ()))
        for row, measured in zip(given, roles, strict=True)
    )
    return records.WrongRegions(patients=len(given), wrong=wrong, fraction=proportion(wrong, len(given)))


def _decision(scored: Sample, repeats: int, seed: int, part: str) -> records.DecisionCurve:
    curve = decision_curve(scored.truth, scored.score, repeats, stream(seed, "decision", part))
    return records.DecisionCurve(
        threshold=curve.threshold.tolist(),
        model=curve.model.tolist(),
        low=curve.low.tolist(),
        high=curve.high.tolist(),
        treat_all=curve.treat_all.tolist(),
    )


def _subgroups(
    scored: Sample, cohort: Cohort, repeats: int, seed: int, part: str
) -> list[records.SubgroupAuc]:
    found = []
    for group in subgroups(cohort, set(scored.patients)):
        members = scored.among(np.array([name in group.patients for name in scored.patients], dtype=bool))
        area_of = auc(members, repeats, seed, part, group.property, group.value)
        found.append(records.SubgroupAuc(property=group.property, value=group.value, auc=area_of))
    return found


def _points(x: Float64, y: Float64) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
