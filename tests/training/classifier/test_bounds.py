"""Calibration, threshold, conformal band, interval and distance, each against what it must be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.calibration import _SigmoidCalibration
from sklearn.metrics import roc_curve

from scanside.runtime.classify import relative_distances
from scanside.runtime.study_model import Band
from scanside.training.classifier.bounds import (
    calibration_band,
    conformal,
    measured_coverage,
    typical,
    youden,
)
from scanside.training.classifier.sigmoid import Sigmoid, fit_sigmoid


def _scores(n: int = 200, seed: int = 0, shift: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = (np.arange(n) % 5 < 2).astype(int)
    return y, random.standard_normal(n) + shift * y


def test_the_sigmoid_is_that_of_scikit_learn() -> None:
    y, scores = _scores()
    peer = _SigmoidCalibration().fit(scores, y)
    own = fit_sigmoid(scores, y)
    assert own(scores) == pytest.approx(peer.predict(scores), abs=1e-4)


def test_the_sigmoid_finds_the_truth() -> None:
    random = np.random.default_rng(0)
    scores = 40 + 10 * random.standard_normal(20000)
    y = (random.random(20000) < expit(0.15 * scores - 7)).astype(int)
    found = fit_sigmoid(scores, y)
    assert found.slope == pytest.approx(0.15, rel=0.05)
    assert found.intercept == pytest.approx(-7, rel=0.05)


def test_weights_are_repeats() -> None:
    y, scores = _scores()
    twice = fit_sigmoid(np.tile(scores, 2), np.tile(y, 2), np.full(2 * len(y), 0.5))
    once = fit_sigmoid(scores, y)
    assert (twice.slope, twice.intercept) == pytest.approx((once.slope, once.intercept), rel=1e-4)


def test_scores_that_mislead_give_everyone_the_prevalence() -> None:
    y, scores = _scores()
    found = fit_sigmoid(-scores, y)
    assert found.slope > 0
    assert found(scores) == pytest.approx(np.full(len(y), y.mean()), abs=0.02)


def test_youden_is_the_best_point_of_the_roc_curve() -> None:
    y, scores = _scores()
    probability = expit(scores)
    threshold = youden(y, probability)
    false, true, _ = roc_curve(y, probability)
    called = probability >= threshold
    assert called[y == 1].mean() - called[y == 0].mean() == pytest.approx((true - false).max())
    assert threshold not in probability


@given(seed=st.integers(0, 1000), coverage=st.sampled_from([0.8, 0.9]))
@settings(max_examples=20)
def test_conformal_sets_cover_each_class_by_construction(seed: int, coverage: float) -> None:
    y, scores = _scores(seed=seed)
    sets = conformal(y, expit(scores)[None], coverage)
    assert np.mean(expit(scores[y == 1]) >= sets.positive_from) >= coverage
    assert np.mean(expit(scores[y == 0]) <= sets.negative_to) >= coverage
    assert 0 <= sets.band[0] <= sets.band[1] <= 1


def test_conformal_by_hand() -> None:
    """Nine of each class, coverage 0.8: k = ⌊10 · 0.2⌋ = 2, the second lowest and the second highest."""
    positive, negative = np.arange(0.15, 1.0, 0.1), np.arange(0.05, 0.9, 0.1)
    y = np.repeat([1, 0], 9)
    sets = conformal(y, np.concatenate([positive, negative])[None], 0.8)
    assert (sets.positive_from, sets.negative_to) == pytest.approx((0.25, 0.75))
    repeated = conformal(y, np.tile(np.concatenate([positive, negative]), (3, 1)), 0.8)
    assert (repeated.positive_from, repeated.negative_to) == pytest.approx((0.25, 0.75))


def test_classes_far_apart_leave_a_band_that_holds_neither() -> None:
    y, scores = _scores(shift=9.0)
    sets = conformal(y, expit(scores - 4.5)[None], 0.9)
    assert sets.positive_from > sets.negative_to


def test_too_few_patients_are_all_undecided() -> None:
    y, scores = _scores(n=10)
    assert conformal(y, expit(scores)[None], 0.9).band == (0.0, 1.0)


def test_coverage_of_new_patients() -> None:
    found = []
    for seed in range(40):
        y, scores = _scores(n=150, seed=seed)
        folds = np.random.default_rng(seed).integers(0, 5, 150)
        found.append(measured_coverage(y, expit(scores)[None], folds[None], 0.9))
    assert np.mean([each.positive for each in found]) == pytest.approx(0.9, abs=0.025)
    assert np.mean([each.negative for each in found]) == pytest.approx(0.9, abs=0.025)
    assert 0.1 < np.mean([each.undecided for each in found]) < 0.8


def test_the_band_contains_the_calibration_and_narrows_with_patients() -> None:
    widths = []
    for n in (50, 500):
        y, scores = _scores(n=n)
        band = calibration_band(y, np.stack([scores, scores + 0.1]), fit_sigmoid(scores, y), seed=0)
        assert Band.model_validate(band.model_dump()) == band
        assert len(band.value) >= 21
        value, low, high = (np.array(ends) for ends in (band.value, band.low, band.high))
        assert (low <= value).all()
        assert (value <= high).all()
        assert (np.diff(low) >= 0).all()
        assert (np.diff(high) >= 0).all()
        widths.append((high - low)[5:-5].mean())
    assert widths[1] < 0.5 * widths[0]
    again = calibration_band(y, np.stack([scores, scores + 0.1]), fit_sigmoid(scores, y), seed=0)
    assert again == band


def test_the_band_covers_the_true_calibration() -> None:
    """The truth is a sigmoid of slope 1.5; its value at p = 0.5 of the fit lies in the band 90 times of 100."""
    inside = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        scores = random.standard_normal(120)
        y = (random.random(120) < expit(1.5 * scores)).astype(int)
        own = fit_sigmoid(scores, y)
        band = calibration_band(y, scores[None], own, seed)
        for p in (0.3, 0.5, 0.7):
            truth = expit(1.5 * (np.log(p / (1 - p)) - own.intercept) / own.slope)
            inside.append(np.interp(p, band.value, band.low) <= truth <= np.interp(p, band.value, band.high))
    assert 0.8 < np.mean(inside) < 0.98


def _rows(n: int = 165) -> np.ndarray:
    """Features as they come: correlated, skewed, from thousandths to millions."""
    random = np.random.default_rng(0)
    base = random.standard_normal((n, 9)) @ random.standard_normal((9, 9))
    base[:, 3] = np.exp(base[:, 3] / 3)
    return base * 10.0 ** np.arange(-3, 6) + 10.0 ** np.arange(5, -4, -1)


def test_typical_patients_are_inside_and_strange_ones_outside() -> None:
    rows = _rows()
    found = typical(rows)
    assert np.mean(relative_distances(found, rows) <= 1) > 0.96
    for feature in range(9):
        strange = rows.mean(axis=0).copy()
        strange[feature] += 30 * rows[:, feature].std()
        assert relative_distances(found, strange[None])[0] > 1, feature


def test_another_scanner_is_unlike_and_a_new_patient_of_the_same_is_not() -> None:
    """Before, on raw scales, extreme patients set the limit: a scanner that moves each input by one spread was let pass
    nine times of ten."""
    random = np.random.default_rng(0)
    root = np.linalg.cholesky(0.6 * np.eye(9) + 0.4)

    def draw(n: int, moved: float = 0.0) -> np.ndarray:
        z = random.standard_normal((n, 9)) @ root.T + moved * np.resize([1.0, -1.0], 9)
        return np.concatenate([np.exp(z[:, :5]), z[:, 5:7] ** 3 + z[:, 5:7], z[:, 7:]], axis=1)

    found = [typical(draw(150)) for _ in range(4)]
    new, other = draw(2000), draw(2000, moved=1.1)
    false = [np.mean(relative_distances(one, new) > 1) for one in found]
    fired = [np.mean(relative_distances(one, other) > 1) for one in found]
    assert np.mean(false) < 0.04 and np.mean(fired) > 0.25


def test_an_input_of_two_values_and_a_constant_one() -> None:
    random = np.random.default_rng(0)
    rows = np.stack([random.standard_normal(90), np.arange(90) % 2, np.full(90, 7.0)], axis=1)
    found = typical(rows)
    assert np.isfinite(relative_distances(found, rows)).all() and found.limit > 0
    assert relative_distances(found, np.array([[0.0, 1.0, 40.0]]))[0] > 1


def test_distances_do_not_depend_on_units() -> None:
    rows = _rows()
    factor = 10.0 ** np.arange(9, 0, -1)
    one, other = typical(rows), typical(rows * factor)
    assert relative_distances(one, rows) == pytest.approx(relative_distances(other, rows * factor))
    assert other.limit == pytest.approx(one.limit)


def test_a_sigmoid_of_nothing_is_nothing() -> None:
    assert np.isnan(Sigmoid(1.0, 0.0)(np.array([np.nan]))).all()
