"""What each step of the pipeline throws away."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.base import clone

from scanside.runtime.errors import InputError
from scanside.training.signature.cases import BESIDE, Cases, make_cases
from scanside.training.signature.filters import Columns, Distinct, Present, Stable, Varying, WholeRows
from scanside.training.signature.pipeline import Candidate, Model, build, chosen, estimator, path
from scanside.training.signature.settings import Selection

Draw = Callable[..., tuple[Cases, np.ndarray]]


def test_present(patients: Draw) -> None:
    cases, y = patients(n=20, p=3)
    cases["values"][:2, 1], cases["values"][:3, 2] = np.nan, np.nan
    assert list(Present(0.9).fit(cases, y).support_) == [0, 1]


def test_varying() -> None:
    values = np.random.default_rng(0).standard_normal((20, 4))
    values[:, 1] = 3.7
    values[:19, 2] = 0.0
    values[:, 3] = 1e6 + np.arange(20) * 1e-9
    cases = make_cases(values, values[:, None])
    assert list(Varying().fit(cases, np.arange(20) % 2).support_) == [0]


def test_stable_judges_by_the_training_patients_alone(patients: Draw) -> None:
    cases, y = patients(n=60, p=4, k=4)
    random = np.random.default_rng(0)
    cases["measured"][:, 1:, 2] = random.standard_normal((60, 3))
    fitted = Stable(fewest=1).fit(cases[:40], y[:40])
    assert list(fitted.support_) == [0, 1, 3]
    assert not fitted.relaxed_
    cases["measured"][40:] = np.nan  # what the other patients look like does not matter
    assert list(Stable(fewest=1).fit(cases[:40], y[:40]).support_) == [0, 1, 3]


def test_stable_keeps_the_most_stable_when_too_few_are(patients: Draw) -> None:
    cases, y = patients(n=30, p=5, k=3)
    noise = np.array([3.0, 0.1, 4.0, 0.2, 5.0])
    cases["measured"] += noise * np.random.default_rng(0).standard_normal((30, 3, 5))
    fitted = Stable(fewest=3).fit(cases, y)
    assert fitted.relaxed_
    assert {1, 3} < set(fitted.support_)
    assert len(fitted.support_) == 3


def test_stable_without_repetitions_keeps_all(patients: Draw) -> None:
    cases, y = patients(k=1, p=7)
    assert list(Stable().fit(cases, y).support_) == list(range(7))


def test_distinct_keeps_the_better_of_two_alike() -> None:
    random = np.random.default_rng(0)
    y = np.arange(100) % 2
    good = random.standard_normal(100) + 2.0 * y
    values = np.column_stack([good + 0.3 * random.standard_normal(100), good, random.standard_normal(100)])
    cases = make_cases(values, values[:, None])
    assert list(Distinct().fit(cases, y).support_) == [1, 2]


def test_columns_side_by_side(patients: Draw) -> None:
    cases, _ = patients(n=5, p=2)
    cases["beside"] = np.arange(20).reshape(5, 4)
    both = Columns(True, (BESIDE.index("age"), BESIDE.index("adc_mean"))).fit_transform(cases)
    assert np.array_equal(both, np.column_stack([cases["values"], cases["beside"][:, [0, 3]]]))


def test_a_patient_with_an_absent_value_is_left_out_and_gets_none(patients: Draw) -> None:
    cases, y = patients(n=40, p=3)
    x = cases["values"].copy()
    x[4, 1] = np.nan
    classifier = WholeRows(estimator(Candidate("logistic l2", 1.0))).fit(x, y)
    alone = estimator(Candidate("logistic l2", 1.0)).fit(np.delete(x, 4, axis=0), np.delete(y, 4))
    assert classifier.dropped_ == 1
    assert np.flatnonzero(np.isnan(classifier.decision_function(x))).tolist() == [4]
    assert classifier.fitted_.coef_ == pytest.approx(alone.coef_)


def test_a_fold_without_one_class_is_refused_in_words() -> None:
    x = np.array([[np.nan], [1.0], [2.0]])
    with pytest.raises(InputError, match="all of one class"):
        WholeRows(estimator(Candidate("logistic l2", 1.0))).fit(x, np.array([1, 0, 0]))


@pytest.mark.parametrize("selector", ["mrmr", "lasso"])
def test_the_path_of_a_pipeline(patients: Draw, selector: str) -> None:
    cases, y = patients(n=100, p=30, shift=1.5)
    cases["values"][:, 5] = 1.0
    cases["values"][:, 6] = cases["values"][:, 0] * 2
    model = Model("radiomics", Selection(features=3, selector=selector))  # type: ignore[arg-type]
    pipeline = clone(build(model, Candidate("logistic l2", 1.0))).fit(cases, y)
    counts = {step.step: step.features for step in path(pipeline, cases)}
    assert counts["extracted"] == counts["present in enough patients"] == 30
    assert counts["varying"] == 29
    assert counts["not redundant"] <= 28
    assert counts[selector] == len(chosen(pipeline, cases)) == 3
    assert {index if index != 6 else 0 for index in chosen(pipeline, cases)} == {0, 1, 2}
    score = pipeline.decision_function(cases)
    x = cases["values"][:, list(chosen(pipeline, cases))]
    again = pipeline[-1].decision_function(pipeline[-2].transform(x))
    assert np.array_equal(score, again)
