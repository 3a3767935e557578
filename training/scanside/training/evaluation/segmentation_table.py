"""Measured masks → the rows of the report: role × part × scanners × size."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.training.cohort.table import ROLES, Cohort
from scanside.training.evaluation.bootstrap import mean_interval, ratio_interval, stream
from scanside.training.evaluation.cases import Absent, Case, without_reference
from scanside.training.evaluation.detection import detection, lesion_free, volume_rmse
from scanside.training.evaluation.record_parts import Estimate
from scanside.training.evaluation.records_segmentation import (
    AbsentMasks,
    BlandAltman,
    FusedRow,
    Segmentation,
    SegmentationRow,
)
from scanside.training.evaluation.strata import ALL, HELD_OUT, KNOWN, SIZES, scanner_groups, size_of
from scanside.training.experiment import PARTS


def segmentation(
    cases: Sequence[Case],
    absent: Sequence[Absent],
    cohort: Cohort,
    fused: Sequence[FusedRow] = (),
    *,
    repeats: int,
    seed: int,
) -> Segmentation:
    """Summarise all cases; strata without a patient have no row, and patients without a lesion are none of them."""
    rows = []
    outlined = [case for case in cases if not case.lesion_free]
    for role, part, scanners, size, members in _strata(outlined, cohort):
        rows.append(_row(members, (role, part, scanners, size), repeats, seed))
    return Segmentation(
        rows=rows,
        bland_altman=[
            bland_altman(members, role, part)
            for role, part, scanners, size, members in _strata(outlined, cohort)
            if (scanners, size) == (ALL, ALL)
        ],
        absent=[
            AbsentMasks(role=a.role, part=a.part, absent=len(a.patients), of=a.of, patients=list(a.patients))
            for a in absent
        ],
        detection=detection(cases, repeats, seed),
        lesion_free=lesion_free(cases, repeats, seed),
        fused=list(fused),
        without_reference=without_reference(cohort),
    )


def bland_altman(cases: Sequence[Case], role: str, part: str) -> BlandAltman:
    """Agreement of volumes, relative to the mean of both: −2 is an empty mask, +2 an empty reference."""
    difference = relative_differences(cases)
    spread = 1.96 * float(difference.std(ddof=1)) if len(difference) > 1 else 0.0
    bias = float(difference.mean())
    return BlandAltman(
        role=role, part=part, patients=len(cases), bias=bias, limits=(bias - spread, bias + spread)
    )


def relative_differences(cases: Sequence[Case]) -> Float64:
    """(automatic − reference) / mean of both, for each case; 0 where both are empty."""
    reference = np.array([case.reference_ml for case in cases])
    automatic = np.array([case.automatic_ml for case in cases])
    mean = (reference + automatic) / 2
    return np.divide(automatic - reference, mean, out=np.zeros_like(mean), where=mean > 0)


def _strata(cases: Sequence[Case], cohort: Cohort) -> Iterable[tuple[str, str, str, str, list[Case]]]:
    known = scanner_groups(cohort)
    sizes = {patient.patient: size_of(patient.lesion_mm) for patient in cohort.patients}
    for role in ROLES:
        for part in PARTS:
            of_part = [case for case in cases if (case.role, case.part) == (role, part)]
            kinds = {known[case.patient] for case in of_part}
            groups = (ALL, KNOWN, HELD_OUT) if part == "test" and HELD_OUT in kinds else (ALL,)
            for scanners in groups:
                of_scanners = [case for case in of_part if scanners in (ALL, known[case.patient])]
                for size in (ALL, *SIZES):
                    members = [case for case in of_scanners if size in (ALL, sizes[case.patient])]
                    if members:
                        yield role, part, scanners, size, members


def _row(cases: Sequence[Case], key: tuple[str, str, str, str], repeats: int, seed: int) -> SegmentationRow:
    def values(of: Callable[[Case], float], among: Sequence[Case] = cases) -> Float64:
        found = np.array([of(case) for case in among], dtype=np.float64)
        return found[np.isfinite(found)]

    def mean(name: str, numbers: Float64) -> Estimate:
        if not len(numbers):
            return Estimate(value=None, interval=None)
        return Estimate.of(float(numbers.mean()), mean_interval(numbers, repeats, stream(seed, *key, name)))

    dice = values(lambda case: case.dice)
    found, lesions = values(lambda case: case.found), values(lambda case: case.lesions)
    quartiles = np.quantile(dice, [0.25, 0.5, 0.75])
    hd95 = values(lambda case: case.hd95_mm)
    volume = values(lambda case: case.volume_error_ml)
    relative = values(lambda case: case.relative_volume_error)
    return SegmentationRow(
        role=key[0],
        part=key[1],
        scanners=key[2],
        size=key[3],
        patients=len(cases),
        empty=sum(case.empty for case in cases),
        missed=sum(case.missed for case in cases),
        dice=mean("dice", dice),
        dice_sd=float(dice.std(ddof=1)) if len(dice) > 1 else None,
        dice_quartiles=(float(quartiles[0]), float(quartiles[1]), float(quartiles[2])),
        nsd={
            "1": mean("nsd-1", values(lambda case: case.nsd_1mm)),
            "2": mean("nsd-2", values(lambda case: case.nsd_2mm)),
            "5": mean("nsd-5", values(lambda case: case.nsd_5mm)),
        },
        hd95_mm=mean("hd95", hd95),
        hd95_median_mm=float(np.median(hd95)),
        hd95_segmented_mm=mean(
            "hd95-segmented", values(lambda case: case.hd95_mm, [case for case in cases if not case.empty])
        ),
        masd_mm=mean("masd", values(lambda case: case.masd_mm)),
        volume_error_ml=mean("volume", volume),
        absolute_volume_error_ml=mean("absolute-volume", np.abs(volume)),
        relative_volume_error=mean("relative-volume", relative),
        absolute_relative_volume_error=mean("absolute-relative-volume", np.abs(relative)),
        volume_rmse_ml=volume_rmse(volume, repeats, stream(seed, *key, "volume-rmse")),
        lesions=int(lesions.sum()),
        sensitivity=Estimate(value=None, interval=None)
        if not lesions.sum()
        else Estimate.of(
            found.sum() / lesions.sum(),
            ratio_interval(found, lesions, repeats, stream(seed, *key, "sensitivity")),
        ),
        false_positives_per_scan=mean("false-positives", values(lambda case: case.false_positives)),
    )
