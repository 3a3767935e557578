"""ICC against the example of Shrout & Fleiss 1979, table 2, and its limits."""

import numpy as np
import pytest

from scanside.training.signature.icc import Form, icc

RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])


@pytest.mark.parametrize(
    ("form", "value", "low", "high"),
    [("1", 0.1657, -0.1329, 0.7226), ("A", 0.2898, 0.0188, 0.7611)],
)
def test_shrout_and_fleiss(form: Form, value: float, low: float, high: float) -> None:
    found = icc(RATINGS[:, :, None].astype(float), form)
    assert found.value[0] == pytest.approx(value, abs=1e-4)
    assert found.low[0] == pytest.approx(low, abs=1e-4)
    assert found.high[0] == pytest.approx(high, abs=1e-4)


@pytest.mark.parametrize("form", ["1", "A"])
def test_a_feature_does_not_depend_on_its_neighbours_or_units(form: Form) -> None:
    random = np.random.default_rng(0)
    ratings = RATINGS[:, :, None].astype(float)
    many = np.concatenate([random.standard_normal((6, 4, 3)), ratings * 1e9 + 1e12, ratings * 1e-6], axis=2)
    assert icc(many, form).low[3:] == pytest.approx(icc(ratings, form).low[0], abs=1e-6)


@pytest.mark.parametrize("form", ["1", "A"])
def test_a_patient_without_every_repetition_is_left_out(form: Form) -> None:
    more = np.concatenate([RATINGS, [[5, np.nan, 4, 4]]])[:, :, None].astype(float)
    found = icc(more, form)
    assert found.patients[0] == 6
    assert found.value[0] == pytest.approx(icc(RATINGS[:, :, None].astype(float), form).value[0])


@pytest.mark.parametrize("form", ["1", "A"])
def test_exact_repetition_is_one(form: Form) -> None:
    same = np.repeat(np.arange(8.0)[:, None, None], 3, axis=1)
    found = icc(same, form)
    assert found.value[0] == found.low[0] == found.high[0] == 1


def test_a_shift_between_readers_costs_agreement() -> None:
    first = np.random.default_rng(0).standard_normal(40)
    measured = np.stack([first, first + 1.0], axis=1)[:, :, None]
    assert icc(measured, "A").value[0] < 0.8
    assert icc(measured, "1").value[0] < icc(measured, "A").value[0]


def test_unknown_without_repetition() -> None:
    assert np.isnan(icc(np.ones((5, 1, 2))).value).all()
    assert np.isnan(icc(np.full((5, 2, 1), np.nan)).low).all()


@pytest.mark.parametrize("form", ["1", "A"])
def test_interval_covers_the_truth_as_often_as_it_says(form: Form) -> None:
    random = np.random.default_rng(1)
    truth = 0.8
    subjects = random.standard_normal((30, 1, 2000)) * np.sqrt(truth)
    found = icc(subjects + random.standard_normal((30, 4, 2000)) * np.sqrt(1 - truth), form)
    covered = np.mean((found.low <= truth) & (truth <= found.high))
    assert 0.93 < covered < 0.97
