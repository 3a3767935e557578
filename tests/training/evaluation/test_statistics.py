"""AUC, its intervals, calibration and decision curves, against scikit-learn, scipy and the definitions."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from scanside.runtime.arrays import Float64
from scanside.training.evaluation import bootstrap, roc
from scanside.training.evaluation.calibration import calibrate
from scanside.training.evaluation.decision import decision_curve
from scanside.training.evaluation.delong import Bools, area, difference
from scanside.training.evaluation.power import detection_power, smallest_leak, standard_error

REPEATS = 400


def sample(seed: int, patients: int = 89, rounding: int = 2) -> tuple[Bools, Float64, Float64]:
    """Truth and two correlated probabilities with ties."""
    generator = np.random.default_rng(seed)
    truth = generator.random(patients) < 0.57
    common = generator.normal(size=patients)
    scores = [
        1 / (1 + np.exp(-(shift * (truth - 0.5) + common + generator.normal(size=patients))))
        for shift in (2.0, 1.2)
    ]
    return truth, np.round(scores[0], rounding), np.round(scores[1], rounding)


def brute_covariance(truth: Bools, *scores: Float64) -> Float64:
    """DeLong's covariance by its definition: every pair, every patient."""

    def kernel(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    v10, v01 = [], []
    for score in scores:
        wins = [[kernel(x, y) for y in score[~truth]] for x in score[truth]]
        v10.append([sum(row) / len(row) for row in wins])
        v01.append([sum(column) / len(column) for column in zip(*wins, strict=True)])
    m, n = len(v10[0]), len(v01[0])

    def s(v: list[list[float]], i: int, j: int) -> float:
        a, b = (sum(v[k]) / len(v[k]) for k in (i, j))
        return sum((x - a) * (y - b) for x, y in zip(v[i], v[j], strict=True)) / (len(v[i]) - 1)

    size = range(len(scores))
    return np.array([[s(v10, i, j) / m + s(v01, i, j) / n for j in size] for i in size])


@pytest.mark.parametrize("seed", range(4))
def test_area_and_delong_are_those_of_the_definition(seed: int) -> None:
    truth, first, second = sample(seed)
    found = area(truth, first)
    assert found.value == pytest.approx(metrics.roc_auc_score(truth, first))
    covariance = brute_covariance(truth, first, second)
    assert found.variance == pytest.approx(covariance[0, 0])
    apart = difference(truth, first, second)
    deviation = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert apart.value == pytest.approx(found.value - metrics.roc_auc_score(truth, second))
    assert apart.z == pytest.approx(apart.value / deviation)
    assert apart.p == pytest.approx(2 * stats.norm.sf(abs(apart.z)))
    assert apart.interval == pytest.approx(
        (apart.value - 1.959964 * deviation, apart.value + 1.959964 * deviation)
    )


def test_delong_by_hand() -> None:
    """Positives 3, 1 against negatives 2, 0: three of four pairs; V10 = (1, ½), V01 = (½, 1); variance ⅛/2 + ⅛/2."""
    truth, score = np.array([True, True, False, False]), np.array([3.0, 1.0, 2.0, 0.0])
    assert (area(truth, score).value, area(truth, score).variance) == (0.75, 0.125)


def test_degenerate_areas() -> None:
    truth, score = np.array([True, True, False, False]), np.array([4.0, 3.0, 2.0, 1.0])
    assert area(truth, score).interval == (1.0, 1.0)
    same = difference(truth, score, score * 2)
    assert (same.value, same.p) == (0.0, 1.0)
    one = np.array([True, False, False])
    assert math.isnan(area(one, np.array([1.0, 2.0, 0.0])).variance)
    assert area(one, np.array([1.0, 2.0, 0.0])).interval is None
    assert difference(one, np.array([1.0, 2.0, 0.0]), np.array([1.0, 0.0, 2.0])).interval is None
    with pytest.raises(ValueError, match="both classes"):
        area(np.array([True]), np.array([1.0]))


def test_the_interval_holds_the_true_area_as_often_as_it_says() -> None:
    """Normal scores one SD apart have the area Φ(1/√2); 95 % of the intervals ought to hold it."""
    generator = np.random.default_rng(0)
    truth, true_area, held = np.arange(89) < 50, stats.norm.cdf(1 / math.sqrt(2)), 0
    for _ in range(1000):
        low, high = area(truth, generator.normal(size=89) + truth).interval or (0, 0)
        held += low <= true_area <= high
    assert 930 <= held <= 968


def test_curves_are_those_of_scikit_learn() -> None:
    truth, score, _ = sample(5)
    ours, (x, y, threshold) = (
        roc.roc_curve(truth, score),
        metrics.roc_curve(truth, score, drop_intermediate=False),
    )
    np.testing.assert_allclose(np.stack([ours.x, ours.y, ours.threshold]), np.stack([x, y, threshold]))
    precision, recall, _ = metrics.precision_recall_curve(truth, score)
    curve = roc.precision_recall_curve(truth, score)
    np.testing.assert_allclose(curve.y, precision[-2::-1])
    np.testing.assert_allclose(curve.x, recall[-2::-1])
    assert roc.average_precision(truth, score) == pytest.approx(metrics.average_precision_score(truth, score))
    with pytest.raises(ValueError, match="both classes"):
        roc.roc_curve(np.array([True]), np.array([0.5]))


def test_bootstrap_areas_are_those_of_the_patients_drawn() -> None:
    truth, score, _ = sample(6, rounding=1)
    drawn = bootstrap.counts(len(truth), REPEATS, bootstrap.stream(3, "a"), truth)
    assert (drawn[:, truth].sum(axis=1) == truth.sum()).all() and (drawn.sum(axis=1) == len(truth)).all()
    areas = np.array([metrics.roc_auc_score(truth, score, sample_weight=row) for row in drawn])
    precisions = np.array([metrics.average_precision_score(truth, score, sample_weight=row) for row in drawn])
    found = roc.bootstrap_auc(truth, score, REPEATS, bootstrap.stream(3, "a"))
    assert found == pytest.approx(bootstrap.percentiles(areas))
    precision = roc.bootstrap_average_precision(truth, score, REPEATS, bootstrap.stream(3, "a"))
    assert precision == pytest.approx(bootstrap.percentiles(precisions))
    low, high = area(truth, score).interval or (0, 0)
    assert found == pytest.approx((low, high), abs=0.03)


def test_the_roc_band_surrounds_the_curve() -> None:
    truth, score, _ = sample(7)
    rates = np.linspace(0, 1, 21)
    band = roc.roc_band(truth, score, rates, REPEATS, bootstrap.stream(0, "band"))
    curve = roc.roc_curve(truth, score)
    assert band is not None
    low, high = band
    middle = np.interp(rates, curve.x, curve.y)
    assert (low[1:-1] <= middle[1:-1] + 1e-9).all() and (middle[1:-1] <= high[1:-1] + 1e-9).all()
    assert (low[-1], high[-1]) == (1.0, 1.0) and (high - low)[1:-1].mean() > 0.05


def test_means_ratios_and_streams() -> None:
    generator = np.random.default_rng(0)
    values = generator.gamma(2.0, size=80)
    peer = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=1
    ).confidence_interval
    found = bootstrap.mean_interval(values, 4000, bootstrap.stream(1, "mean"))
    assert found == pytest.approx((peer.low, peer.high), abs=0.03)
    assert found == bootstrap.mean_interval(values, 4000, bootstrap.stream(1, "mean"))
    assert found != bootstrap.mean_interval(values, 4000, bootstrap.stream(2, "mean"))
    assert found != bootstrap.mean_interval(values, 4000, bootstrap.stream(1, "other"))
    ones = np.ones(30)
    assert bootstrap.ratio_interval(ones, 2 * ones, 50, bootstrap.stream(0)) == (0.5, 0.5)
    assert bootstrap.mean_interval(ones[:1], 50, bootstrap.stream(0)) is None
    assert bootstrap.percentiles(np.array([1.0, math.nan, math.nan])) is None


@pytest.mark.parametrize(("successes", "trials"), [(0, 9), (5, 9), (9, 9), (60, 89)])
def test_wilson(successes: int, trials: int) -> None:
    peer = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert roc.wilson(successes, trials) == pytest.approx((peer.low, peer.high), abs=1e-9)


def test_confusion() -> None:
    truth, named = np.array([1, 1, 1, 0, 0], dtype=bool), np.array([1, 1, 0, 1, 0], dtype=bool)
    found = roc.confusion(truth, named)
    expected = metrics.confusion_matrix(truth, named)
    assert [[found.true_negative, found.false_positive], [found.false_negative, found.true_positive]] == (
        expected.tolist()
    )
    assert roc.wilson(0, 0) is None


def test_calibration_is_that_of_scikit_learn() -> None:
    truth, score, _ = sample(8, patients=165, rounding=6)
    found = calibrate(truth, score, REPEATS, bootstrap.stream(0, "c"))
    logit = np.log(score / (1 - score))[:, None]
    peer = LogisticRegression(C=np.inf, tol=1e-10).fit(logit, truth)
    assert found.slope == pytest.approx(peer.coef_[0, 0], abs=1e-4)
    assert found.intercept == pytest.approx(peer.intercept_[0], abs=1e-4)
    assert found.brier == pytest.approx(metrics.brier_score_loss(truth, score))
    assert found.brier_of_prevalence == pytest.approx(
        metrics.brier_score_loss(truth, np.full(165, truth.mean()))
    )
    assert found.in_the_large != pytest.approx(found.intercept, abs=1e-6)
    moved = 1 / (1 + np.exp(-(logit[:, 0] + found.in_the_large)))
    assert moved.mean() == pytest.approx(truth.mean())  # what that intercept is for
    gaps = [group.patients * abs(group.observed - group.predicted) for group in found.groups]
    assert found.ece == pytest.approx(sum(gaps) / 165) and len(found.groups) == 5
    for name, interval in found.intervals.items():
        assert interval is not None and interval[0] < getattr(found, name) + 0.05
    low, high = found.intervals["slope"] or (0, 0)
    assert low < found.slope < high


def test_probabilities_that_mean_what_they_say_are_calibrated() -> None:
    generator = np.random.default_rng(0)
    score = generator.uniform(0.02, 0.98, 8_000)
    truth = generator.random(8_000) < score
    found = calibrate(truth, score, 20, generator)
    assert found.slope == pytest.approx(1, abs=0.08) and found.in_the_large == pytest.approx(0, abs=0.08)
    assert found.ece < 0.03
    extreme = calibrate(truth, 1 / (1 + (1 / score - 1) ** 2), 20, generator)
    assert extreme.slope == pytest.approx(0.5, abs=0.05)


def test_separated_classes_have_no_slope() -> None:
    truth = np.arange(40) >= 20
    found = calibrate(truth, np.linspace(0.1, 0.9, 40), 50, bootstrap.stream(0, "s"))
    assert math.isnan(found.slope) and found.intervals["slope"] is None
    assert math.isfinite(found.brier) and math.isfinite(found.in_the_large)


def test_net_benefit_by_hand() -> None:
    truth, score = np.array([1, 1, 0, 0, 0], dtype=bool), np.array([0.9, 0.4, 0.6, 0.3, 0.1])
    found = decision_curve(truth, score, 200, bootstrap.stream(0, "d"), np.array([0.2, 0.5]))
    # at 0.2: 2 true, 2 false positives, weight ¼; at 0.5: 1 true, 1 false, weight 1
    assert found.model == pytest.approx([(2 - 2 / 4) / 5, 0.0])
    assert found.treat_all == pytest.approx([(2 - 3 / 4) / 5, (2 - 3) / 5])
    assert (found.low <= found.model).all() and (found.model <= found.high).all()


def test_power_of_a_canary_by_simulation() -> None:
    """20 runs with a spread of 0.074: the formula's power is the part of simulated canaries that die."""
    random = np.random.default_rng(5)
    spread_of_runs, runs, level = 0.074, 20, 0.999
    error = spread_of_runs / np.sqrt(runs)
    critical = stats.t.ppf((1 + level) / 2, runs - 1)
    for leak in (0.0, 0.05, 0.1):
        drawn = 0.5 + leak + spread_of_runs * random.standard_normal((20_000, runs))
        away = (drawn.mean(axis=1) - 0.5) / (drawn.std(axis=1, ddof=1) / np.sqrt(runs))
        assert detection_power(error, runs, level, leak) == pytest.approx(
            (abs(away) > critical).mean(), abs=0.012
        )
    found = smallest_leak(error, runs, level)
    assert found is not None and detection_power(error, runs, level, found) == pytest.approx(0.8, abs=0.01)
    assert smallest_leak(1.0, runs, level) is None


def test_power_of_the_committed_study_is_as_stated() -> None:
    """docs/metrics.md: 0.12 and 0.15 against a leak of 0.05."""
    path = Path(__file__).parents[3] / "results" / "phantom-254" / "report.json"
    said = []
    canaries = json.loads(path.read_text())["classification"]["canaries"]
    for canary in canaries:
        low, high = canary["interval"]
        said.append(round(detection_power(standard_error((low, high), 20, 0.999), 20, 0.999, 0.05), 2))
    assert said == [0.12, 0.15]
    assert said == [round(canary["power"]["0.05"], 2) for canary in canaries]
