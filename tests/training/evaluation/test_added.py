"""What images add to clinical data, against statsmodels' definition of the test: twice the gain in log-likelihood."""

import numpy as np
import pytest
from scipy import optimize, stats

from scanside.training.evaluation.added import likelihood_ratio


def log_likelihood(truth: np.ndarray, x: np.ndarray) -> float:
    """Of a logistic regression, by another optimiser."""
    rows = np.column_stack([np.ones(len(x)), x])

    def loss(weights: np.ndarray) -> float:
        eta = rows @ weights
        return float(np.logaddexp(0, eta).sum() - eta[truth].sum())

    return -float(optimize.minimize(loss, np.zeros(rows.shape[1]), method="BFGS", tol=1e-10).fun)


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def test_the_ratio_is_that_of_another_optimiser() -> None:
    random = np.random.default_rng(0)
    truth = random.random(90) < 0.5
    known, more = (1 / (1 + np.exp(-(0.8 * truth + random.standard_normal(90)))) for _ in range(2))
    both = log_likelihood(truth, np.column_stack([logit(known), logit(more)]))
    expected = 2 * (both - log_likelihood(truth, logit(known)[:, None]))
    assert likelihood_ratio(truth, known, more) == pytest.approx(expected, abs=1e-3)


def test_a_score_that_adds_nothing_is_significant_once_in_twenty_times() -> None:
    random = np.random.default_rng(1)
    p = []
    for _ in range(200):
        truth = random.random(80) < 0.5
        known = 1 / (1 + np.exp(-(truth + random.standard_normal(80))))
        ratio = likelihood_ratio(truth, known, random.random(80) * 0.98 + 0.01)
        assert ratio is not None
        p.append(float(stats.chi2.sf(ratio, 1)))
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.11


def test_separated_classes_have_no_ratio() -> None:
    truth = np.arange(20) >= 10
    known = np.where(truth, 0.9, 0.1) + np.linspace(-0.05, 0.05, 20)
    assert likelihood_ratio(truth, known, known[::-1]) is None
