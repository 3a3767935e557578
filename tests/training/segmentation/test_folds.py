"""Folds of a training: balanced, by patient, and repeatable."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanside.runtime.errors import UsageError
from scanside.training.cohort.table import Patient
from scanside.training.segmentation.folds import make_folds, splits
from tests.training.segmentation.small import patient

patients_lists = st.lists(
    st.tuples(
        st.sampled_from(["PDAC", "PNEN", "SPN"]),
        st.sampled_from([12.0, 20.0, 35.0, 40.0, 60.0]),
        st.sampled_from(["one", "two", "three"]),
    ),
    min_size=5,
    max_size=60,
).map(lambda rows: [patient(f"p{i}", *row) for i, row in enumerate(rows)])


@given(patients_lists, st.integers(2, 5), st.integers(0, 5))
def test_folds_are_a_balanced_partition(patients: list[Patient], count: int, seed: int) -> None:
    folds = make_folds(patients, count, seed)
    assert set(folds) == {p.patient for p in patients}
    sizes = Counter(folds.values())
    assert set(sizes) == set(range(count)) and max(sizes.values()) - min(sizes.values()) <= 1
    for diagnosis in {p.diagnosis for p in patients}:
        of_it = Counter(folds[p.patient] for p in patients if p.diagnosis == diagnosis)
        assert max(of_it.values()) - min(of_it[fold] for fold in range(count)) <= 1
        small = Counter(folds[p.patient] for p in patients if p.diagnosis == diagnosis and p.lesion_mm < 20)
        if small:
            assert max(small.values()) - min(small[fold] for fold in range(count)) <= 1
    assert folds == make_folds(patients[::-1], count, seed)  # the order of the table does not matter


def test_folds_depend_on_the_seed_and_need_enough_patients() -> None:
    patients = [patient(f"p{i}") for i in range(12)]
    assert make_folds(patients, 3, 0) != make_folds(patients, 3, 1)
    with pytest.raises(UsageError, match="2 training patients cannot be split into 3"):
        make_folds(patients[:2], 3, 0)


def test_splits_leave_every_patient_out_once() -> None:
    folds = make_folds([patient(f"p{i}") for i in range(11)], 3, 0)
    parts = splits(folds)
    assert len(parts) == 3
    assert sorted(itertools.chain.from_iterable(part["val"] for part in parts)) == sorted(folds)
    for part in parts:
        assert not set(part["train"]) & set(part["val"])
        assert sorted(part["train"] + part["val"]) == sorted(folds)
