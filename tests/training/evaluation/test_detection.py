"""Finding lesions: FROC, average precision beside scikit-learn's, and patients without a lesion."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from scanside.training.cohort.table import Patient, read_cohort, write_cohort_table
from scanside.training.evaluation.cases import Case, measure, measure_all
from scanside.training.evaluation.detection import detection, lesion_free, volume_rmse
from scanside.training.evaluation.segmentation_table import segmentation
from scanside.training.experiment import start_experiment
from tests.training.evaluation.experiments import SPACING, write_image

SHAPE = (6, 20, 40)


def mask(*boxes: tuple[int, int, int]) -> np.ndarray:
    """Boxes in two slices, each (first y, first x, width)."""
    found = np.zeros(SHAPE, dtype=bool)
    for y, x, width in boxes:
        found[2:4, y : y + 3, x : x + width] = True
    return found


def scan(reference: np.ndarray, automatic: np.ndarray, patient: str) -> Case:
    return measure(reference, automatic, SPACING, patient=patient, role="dwi", part="test")


def test_the_curve_by_hand() -> None:
    """Candidates by volume: hit (10), false (8), hit (6), false (2); three lesions in three scans, one never hit."""
    cases = [
        scan(mask((1, 0, 10)), mask((1, 0, 10), (9, 30, 2)), "a"),
        scan(mask((1, 0, 6)), mask((1, 0, 6), (9, 20, 8)), "b"),
        scan(mask((1, 0, 5)), mask(), "c"),
    ]
    (found,) = detection(cases, repeats=200, seed=0)
    assert (found.patients, found.lesions) == (3, 3)
    assert [y for _, y in found.curve] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert [x for x, _ in found.curve] == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3])
    assert found.average_precision.value == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    at = {rate: sensitivity.value for rate, sensitivity in found.sensitivity_at.items()}
    assert at == pytest.approx({"0.25": 1 / 3, "0.5": 2 / 3, "1": 2 / 3, "2": 2 / 3})
    assert found.average_precision.interval is not None


def test_average_precision_is_scikit_learns_where_every_lesion_is_hit() -> None:
    random = np.random.default_rng(3)
    cases, volumes, hits = [], [], []
    for number in range(12):
        true, false = random.integers(2, 20), random.integers(2, 20)
        cases.append(scan(mask((1, 0, true)), mask((1, 0, true), (9, 0, false)), str(number)))
        volumes += [true, false]
        hits += [1, 0]
    (found,) = detection(cases, repeats=100, seed=0)
    assert found.average_precision.value == pytest.approx(average_precision_score(hits, volumes))


def test_patients_without_a_lesion_count_by_what_is_found_in_them() -> None:
    nothing = mask()
    cases = [
        scan(nothing, nothing, "clean"),
        scan(nothing, mask((1, 0, 4), (9, 20, 3)), "two"),
        scan(mask((1, 0, 10)), mask((1, 0, 10)), "ill"),
    ]
    (row,) = lesion_free(cases, repeats=100, seed=0)
    assert (row.patients, row.clean, row.specificity.value) == (2, 1, 0.5)
    assert row.false_positives_per_scan.value == 1.0
    (found,) = detection(cases, repeats=100, seed=0)
    assert found.patients == 3 and found.curve[-1] == pytest.approx((2 / 3, 1.0))


def test_volume_rmse() -> None:
    errors = np.array([3.0, -4.0])
    found = volume_rmse(errors, 100, np.random.default_rng(0))
    assert found.value == pytest.approx(np.sqrt(12.5)) and found.interval is not None


def test_a_cohort_with_patients_without_a_lesion_and_without_a_reader(tmp_path: Path) -> None:
    """`none` needs no mask; whom nobody outlined is named and not judged; Dice is about those with a lesion."""
    people = [
        Patient("ill", "test", "PDAC", lesion_mm=15.0),
        Patient("well", "test", "none"),
        Patient("open", "test", "SPN", lesion_mm=20.0),
    ]
    cohort = tmp_path / "cohort"
    write_cohort_table(cohort, people, name="three", synthetic=True, description="", provenance={})
    experiment = start_experiment(tmp_path / "experiment", cohort, synthetic=True)
    write_image(cohort / "ill" / "t2w_mask.nii.gz", mask((1, 0, 8)).astype(np.uint8))
    for name, boxes in (("ill", [(1, 0, 8)]), ("well", [(9, 20, 4)]), ("open", [(1, 0, 8)])):
        write_image(experiment.mask("test", "t2w", name), mask(*boxes).astype(np.uint8))
    table = read_cohort(cohort)
    cases, absent = measure_all(experiment, table)
    assert [(case.patient, case.lesion_free) for case in cases] == [("ill", False), ("well", True)]
    found = segmentation(cases, absent, table, repeats=100, seed=0)
    assert {row.patients for row in found.rows} == {1} and found.rows[0].dice.value == 1.0
    assert found.lesion_free[0].specificity.value == 0.0
    assert found.without_reference == {"t2w": ["open"], "dwi": ["ill", "open"]}
