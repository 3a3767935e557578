"""What a sample can carry, and no more."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanside.benchmarks.distribution import (
    FEWEST,
    Distribution,
    median_interval,
    percentile,
    ratio_interval,
)


def places(n: int) -> tuple[int, int] | None:
    """Which order statistics, counted from 1, make the interval of n samples."""
    found = median_interval(list(range(1, n + 1)))
    return None if found is None else (int(found[0]), int(found[1]))


def coverage(low: int, high: int, n: int) -> float:
    """P(the low-th of n samples ≤ median ≤ the high-th): the number below the median is binomial (n, 1/2)."""
    return sum(math.comb(n, k) for k in range(low, high)) / 2**n


def test_the_interval_covers_the_median_and_no_smaller_one_would() -> None:
    for n in range(FEWEST, 200):
        found = places(n)
        assert found is not None, n
        low, high = found
        assert low + high == n + 1
        assert coverage(low, high, n) >= 0.95, n
        assert low + 1 >= high or coverage(low + 1, high - 1, n) < 0.95, n


def test_too_few_samples_have_no_interval() -> None:
    assert [places(n) for n in range(1, FEWEST)] == [None] * (FEWEST - 1)
    assert places(FEWEST) == (1, FEWEST)
    assert Distribution.of([1.0] * 5).half_width is None


def test_by_simulation_on_a_skewed_distribution() -> None:
    random, held = np.random.default_rng(1), 0
    for _ in range(2000):
        found = median_interval(random.lognormal(0, 1, 15).tolist())
        assert found is not None
        held += found[0] <= 1.0 <= found[1]  # exp(0): the median
    assert 0.95 <= held / 2000 <= 0.98  # exactly 0.9648; three standard errors are 0.012


def test_percentiles_need_a_sample_beyond_them() -> None:
    for n, p90, p99 in ((9, False, False), (10, True, False), (99, True, False), (100, True, True)):
        found = Distribution.of([float(k) for k in range(n)])
        assert ((found.p90 is not None), (found.p99 is not None)) == (p90, p99)
        assert found.max == n - 1


@given(st.integers(1, 400), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_is_the_nearest_rank(n: int, part: float) -> None:
    found = percentile(list(range(1, n + 1)), part)
    if found is None:
        assert n * (1 - part) < 1
    else:
        assert found - 1 < part * n + 1e-9 and found >= part * n - 1e-9


def test_the_half_width_is_a_part_of_the_median() -> None:
    found = Distribution.of([90.0, 95, 100, 100, 105, 110])
    assert (found.low, found.median, found.high) == (90, 100, 110)
    assert found.half_width == pytest.approx(0.1)


def test_a_ratio_of_medians_has_an_interval_that_holds_it() -> None:
    random = np.random.default_rng(2)
    a, b = random.normal(100, 2, 30).tolist(), random.normal(120, 2, 30).tolist()
    ratio, low, high = ratio_interval(a, b)
    assert low < 1.2 < high and low <= ratio <= high and high - low < 0.05
    assert ratio_interval(a, b) == (ratio, low, high), "reproducible"
    same, below, above = ratio_interval(a, a)
    assert same == 1 and below <= 1 <= above
