"""ComBat takes known batch effects out, and touches nothing it does not know."""

import numpy as np
import pytest
from sklearn.base import clone

from scanside.runtime.errors import ScansideWarning
from scanside.training.signature.cases import Cases, make_cases
from scanside.training.signature.combat import ComBat

SHIFT, SCALE = {"A": 0.0, "B": 4.0, "C": -2.0}, {"A": 1.0, "B": 2.5, "C": 0.5}


def _scanned(counts: dict[str, int], seed: int = 0) -> tuple[Cases, np.ndarray]:
    """Patients of several scanners, and their features without the scanner."""
    random = np.random.default_rng(seed)
    batch = [name for name, count in counts.items() for _ in range(count)]
    truth = random.standard_normal((len(batch), 40)) * 3 + 10
    own = random.uniform(0.8, 1.2, 40)
    shift = np.array([SHIFT.get(name, 9.0) for name in batch])[:, None] * own
    scale = np.array([SCALE.get(name, 3.0) for name in batch])[:, None]
    values = (truth - 10) * scale + 10 + shift
    return make_cases(values, values[:, None], batch=batch), truth


def test_batches_agree_afterwards_and_patients_keep_their_order() -> None:
    cases, truth = _scanned({"A": 80, "B": 60, "C": 50})
    after = ComBat().fit_transform(cases)
    means = np.array([after["values"][after["batch"] == name].mean(axis=0) for name in "ABC"])
    spreads = np.array([after["values"][after["batch"] == name].std(axis=0) for name in "ABC"])
    before = np.array([cases["values"][cases["batch"] == name].mean(axis=0) for name in "ABC"])
    assert np.ptp(before, axis=0).mean() > 5
    # Empirical Bayes leaves a part of each feature's own effect in place.
    assert np.ptp(means, axis=0).mean() < 0.1 * np.ptp(before, axis=0).mean()
    assert (spreads.max(axis=0) / spreads.min(axis=0)).mean() < 1.15
    correlation = [np.corrcoef(after["values"][:, i], truth[:, i])[0, 1] for i in range(40)]
    raw = [np.corrcoef(cases["values"][:, i], truth[:, i])[0, 1] for i in range(40)]
    assert np.mean(raw) < 0.85
    assert min(correlation) > 0.97


def test_new_patients_of_a_known_scanner() -> None:
    cases, _ = _scanned({"A": 80, "B": 80})
    new, truth = _scanned({"A": 40, "B": 40}, seed=1)
    after = ComBat().fit(cases).transform(new)
    difference = after["values"][:40].mean(axis=0) - after["values"][40:].mean(axis=0)
    expected = truth[:40].mean(axis=0) - truth[40:].mean(axis=0)
    assert np.abs(difference / 1.75 - expected).mean() < 0.5  # 1.75: the pooled scale of A and B


def test_an_unseen_scanner_stays_as_it_is_with_a_warning() -> None:
    cases, _ = _scanned({"A": 30, "B": 30})
    new, _ = _scanned({"D": 5})
    with pytest.warns(ScansideWarning, match="scanner D"):
        after = ComBat().fit(cases).transform(new)
    assert np.array_equal(after["values"], new["values"])


def test_a_rare_scanner_counts_as_unseen() -> None:
    cases, _ = _scanned({"A": 30, "B": 30, "C": 3})
    with pytest.warns(ScansideWarning, match="scanner C"):
        after = ComBat().fit_transform(cases)
    assert np.array_equal(after["values"][-3:], cases["values"][-3:])


def test_one_scanner_changes_nothing_and_warns_of_nothing() -> None:
    cases, _ = _scanned({"A": 30})
    assert np.array_equal(ComBat().fit_transform(cases)["values"], cases["values"])


def test_absent_values_stay_absent() -> None:
    cases, _ = _scanned({"A": 30, "B": 30})
    cases["values"][3, 2] = np.nan
    after = ComBat().fit_transform(cases)["values"]
    assert np.isnan(after[3, 2])
    assert np.isnan(after).sum() == 1


def test_it_can_be_cloned() -> None:
    assert clone(ComBat(least=7)).least == 7
