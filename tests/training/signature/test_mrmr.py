"""mRMR and LASSO on data whose answer is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.feature_selection import f_classif

from scanside.training.signature.mrmr import lasso, mrmr, relevance, standard_ranks


def _three(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A strong feature, nearly a copy of it, a weaker independent one, and noise."""
    random = np.random.default_rng(seed)
    y = np.arange(600) % 2
    strong = random.standard_normal(600) + 1.2 * y
    copy = strong + 0.1 * random.standard_normal(600)
    weaker = random.standard_normal(600) + 0.9 * y
    return np.column_stack([random.standard_normal((600, 2)), copy, weaker, strong]), y


@pytest.mark.parametrize("seed", range(6))
def test_mrmr_takes_the_independent_feature_before_the_copy(seed: int) -> None:
    values, y = _three(seed)
    first, second = mrmr(values, y, 2)
    assert first in (2, 4)
    assert second == 3
    assert set(np.argsort(-relevance(values, y))[:2]) == {2, 4}  # relevance alone takes the copy


def test_relevance_is_the_f_statistic_of_the_ranks() -> None:
    values, y = _three()
    expected, _ = f_classif(np.argsort(np.argsort(values, axis=0), axis=0).astype(float), y)
    assert relevance(values, y) == pytest.approx(expected)


def test_ranks_give_spearman() -> None:
    values, _ = _three()
    ranks = standard_ranks(values)
    assert ranks.T @ ranks == pytest.approx(spearmanr(values).statistic)


def test_an_absent_value_weighs_nothing() -> None:
    values, y = _three()
    values[:10] = np.nan
    assert relevance(values, y) == pytest.approx(relevance(values[10:], y[10:]))
    ranks, rest = standard_ranks(values), standard_ranks(values[10:])
    assert ranks.T @ ranks == pytest.approx(rest.T @ rest)


def test_mrmr_by_hand() -> None:
    """Quotients of the second step computed one by one."""
    values, y = _three()
    score = relevance(values, y)
    first = int(np.argmax(score))
    rho = [abs(spearmanr(values[:, i], values[:, first]).statistic) for i in range(5)]
    quotient = score / np.maximum(rho, np.sqrt(2 / (np.pi * 599)))
    quotient[first] = -1
    assert list(mrmr(values, y, 2)) == [first, int(np.argmax(quotient))]


def test_never_more_than_there_are() -> None:
    values, y = _three()
    assert sorted(mrmr(values, y, 99)) == [0, 1, 2, 3, 4]
    assert len(lasso(values, y, 99)) <= 5


def test_lasso_finds_what_made_the_label() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal((300, 40))
    y = (values[:, 7] - 0.7 * values[:, 21] + 0.3 * random.standard_normal(300) > 0).astype(int)
    assert list(lasso(values, y, 2)) == [7, 21]
    assert {7, 21} < set(lasso(values, y, 5))
