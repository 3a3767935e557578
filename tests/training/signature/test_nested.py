"""The nested cross-validation is honest, whole and repeatable."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scanside.runtime.errors import CaseError, InputError
from scanside.training.signature.auc import auc, repeated_auc
from scanside.training.signature.canaries import noise_like, require_alive, run_canaries
from scanside.training.signature.cases import Cases, keep
from scanside.training.signature.mrmr import mrmr
from scanside.training.signature.nested import CHOSEN, cross_validate, fold_auc, leave_out, outer_folds
from scanside.training.signature.pipeline import Model, candidates
from scanside.training.signature.settings import Scheme, Selection

pytestmark = pytest.mark.requirement("no-leakage")

Draw = Callable[..., tuple[Cases, np.ndarray]]
MODEL = Model("radiomics", Selection(features=5))
L2 = candidates(("logistic l2",))
QUICK = Scheme(folds=5, repeats=1, inner=2)


def _auc(cases: Cases, y: np.ndarray, seed: int) -> float:
    scheme = Scheme(folds=5, repeats=1, inner=2, seed=seed)
    outcome = cross_validate(cases, y, np.ones(len(y), bool), MODEL, L2, scheme)
    return fold_auc(outcome, y, "logistic l2")


def _leaky(cases: Cases, y: np.ndarray, seed: int) -> float:
    """What must not be done: features chosen on all patients, then cross-validated."""
    return _auc(keep(cases, mrmr(cases["values"], y, 5)), y, seed)


def test_noise_is_worth_nothing_and_a_leak_shows(patients: Draw) -> None:
    cases, y = patients(n=60, p=300, k=2, signal=0)
    random = np.random.default_rng(0)
    honest = [_auc(noise_like(cases, random), y, run) for run in range(6)]
    leaky = [_leaky(noise_like(cases, random), y, run) for run in range(3)]
    assert abs(np.mean(honest) - 0.5) < 3 * np.std(honest, ddof=1) / np.sqrt(len(honest))
    assert np.mean(leaky) > 0.75


def test_canaries_live_where_folds_are_tight(patients: Draw) -> None:
    cases, y = patients(n=60, p=200, k=2)
    canaries = run_canaries(_auc, cases, y, seed=0, runs=5)
    require_alive(canaries)
    assert {canary.name for canary in canaries} == {"permuted labels", "noise features"}


def test_canaries_die_of_a_leak(patients: Draw) -> None:
    cases, y = patients(n=60, p=200, k=2)
    canaries = run_canaries(_leaky, cases, y, seed=0, runs=6)
    assert not any(canary.alive for canary in canaries)
    with pytest.raises(CaseError, match="outside the folds") as error:
        require_alive(canaries)
    assert int(error.value.exit_code) == 1


def test_a_signal_is_found_by_every_family(patients: Draw) -> None:
    cases, y = patients(n=120, p=40, shift=1.0)
    outcome = cross_validate(cases, y, np.ones(120, bool), MODEL, candidates(), Scheme(repeats=2, inner=3))
    for family in (*outcome.scores, CHOSEN):
        found = repeated_auc(y, outcome.probabilities[family], seed=0)
        assert found.low > 0.7, family
        assert found.low < found.auc < found.high
    for fit in outcome.fits:
        assert fit.best[CHOSEN] in fit.best.values()
        assert {0, 1, 2} & set(fit.features)
    calibrated = outcome.probabilities[CHOSEN]
    assert calibrated[:, y == 1].mean() - calibrated[:, y == 0].mean() > 0.2
    assert calibrated.mean() == pytest.approx(0.5, abs=0.05)


def test_every_patient_is_predicted_once_a_repeat_by_a_model_that_did_not_see_him(patients: Draw) -> None:
    _, y = patients(n=53)
    usable = np.ones(53, bool)
    usable[[3, 10, 11]] = False
    seen = np.zeros((2, 53), int)
    for repeat, _, train, test in outer_folds(y, usable, Scheme(folds=5, repeats=2)):
        assert not set(train) & set(test)
        assert usable[train].all()
        assert len(set(y[test])) == 2
        seen[repeat, test] += 1
    assert (seen == 1).all()


def test_a_patient_without_features_gets_no_prediction_and_disturbs_nobody(patients: Draw) -> None:
    cases, y = patients(n=60, p=10)
    usable = np.ones(60, bool)
    usable[7] = False
    cases["values"][7], cases["measured"][7] = np.nan, np.nan
    outcome = cross_validate(cases, y, usable, MODEL, L2, QUICK)
    assert np.flatnonzero(np.isnan(outcome.probabilities[CHOSEN][0])).tolist() == [7]
    assert repeated_auc(y, outcome.probabilities[CHOSEN], 0).patients == 59


def test_the_seed_decides_everything(patients: Draw) -> None:
    cases, y = patients(n=60, p=20)
    everyone = np.ones(60, bool)
    first, again, other = (
        cross_validate(cases, y, everyone, MODEL, candidates(), Scheme(repeats=1, inner=2, seed=seed))
        for seed in (3, 3, 4)
    )
    assert np.array_equal(first.probabilities[CHOSEN], again.probabilities[CHOSEN])
    assert not np.array_equal(first.probabilities[CHOSEN], other.probabilities[CHOSEN])


def test_tiny_cohorts_get_fewer_folds_and_impossible_ones_a_sentence(patients: Draw) -> None:
    cases, _ = patients(n=8, p=12)
    y = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    outcome = cross_validate(cases, y, np.ones(8, bool), MODEL, L2, Scheme(repeats=1))
    assert np.isfinite(outcome.probabilities[CHOSEN]).all()
    assert outcome.fold_of.max() == 2
    with pytest.raises(InputError, match="at least two patients of each class"):
        cross_validate(cases, np.array([0, 1, 1, 1, 1, 1, 1, 1]), np.ones(8, bool), MODEL, L2, QUICK)


def test_auc_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    y, score = random.integers(0, 2, 80), np.round(random.standard_normal(80), 1)
    assert auc(y, score) == pytest.approx(roc_auc_score(y, score))
    found = repeated_auc(y, np.stack([score, score]), seed=0)
    assert found.auc == pytest.approx(auc(y, score))
    assert np.isnan(auc(np.ones(3, int), np.arange(3.0)))


def test_the_interval_covers_the_truth(patients: Draw) -> None:
    """Normal scores one standard deviation apart: AUC Φ(1/√2) = 0.760."""
    random = np.random.default_rng(0)
    y = np.arange(80) % 2
    found = [repeated_auc(y, (random.standard_normal(80) + y)[None], seed, draws=200) for seed in range(100)]
    covered = np.mean([each.low <= 0.7602 <= each.high for each in found])
    assert covered > 0.89


def test_a_centre_is_predicted_by_models_that_never_saw_it(patients: Draw) -> None:
    """Its own labels change nothing, those of others do; a centre of one class has no estimate."""
    cases, y = patients(n=60, p=40, k=2, shift=1.5)
    groups = ["A"] * 20 + ["B"] * 20 + ["C"] * 4 + [""] * 16
    y = y.copy()
    y[40:44] = 1
    usable = np.ones(60, dtype=bool)
    usable[3] = False
    found = leave_out(cases, y, usable, groups, MODEL, L2, QUICK)
    assert set(found) == {"A", "B"}
    assert set(found["A"].test) == set(range(20)) - {3}
    assert roc_auc_score(y[found["B"].test], found["B"].scores["logistic l2"]) > 0.7
    turned = y.copy()
    turned[:20] = 1 - turned[:20]
    again = leave_out(cases, turned, usable, groups, MODEL, L2, QUICK)
    np.testing.assert_array_equal(found["A"].scores["logistic l2"], again["A"].scores["logistic l2"])
    assert not np.array_equal(found["B"].scores["logistic l2"], again["B"].scores["logistic l2"])
    fewer = leave_out(cases, y, usable & (np.array(groups) != ""), groups, MODEL, L2, QUICK)
    assert not np.array_equal(found["A"].scores["logistic l2"], fewer["A"].scores["logistic l2"])
