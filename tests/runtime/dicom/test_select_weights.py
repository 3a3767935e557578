"""Which of two series wins: each rule's points decide somewhere, and the margin keeps a tie a tie."""

from dataclasses import replace

import pytest

from scanside.runtime.dicom.facts import Facts
from scanside.runtime.dicom.select import MARGIN, RULES, Kind

T2 = Facts(
    words="TSE TRA",
    types=frozenset({"ORIGINAL", "PRIMARY"}),
    scanning=frozenset({"SE"}),
    echo_time=90.0,
    train=1.0,
    axial=1.0,
    slices=10,
    step=9.0,
    coverage=90.0,
    fat_sat=False,
    contrast=False,
    computed=False,
    isotropic=False,
    directional=False,
    map=False,
    adc=False,
    diffusion=False,
    b=None,
    fits_dwi=False,
)
DWI = replace(T2, diffusion=True, b=700.0, echo_time=60.0, scanning=frozenset({"EP"}))
LOW = replace(DWI, b=0.0, fits_dwi=True)
MAP = replace(T2, adc=True, diffusion=True)


def points(kind: Kind, facts: Facts) -> float | None:
    """What the table of rules gives; None when one of them puts the series out."""
    if any(rule.points is None and rule.test(facts) for rule in RULES[kind]):
        return None
    return sum(rule.points or 0.0 for rule in RULES[kind] if rule.points is not None and rule.test(facts))


BETTER: list[tuple[Kind, str, Facts, Facts, float]] = [
    ("t2w", "says T2", T2, replace(T2, words="T2 TSE TRA"), 3),
    ("t2w", "echo time", replace(T2, words="T2", echo_time=None), replace(T2, words="T2"), 3),
    ("t2w", "echo train", T2, replace(T2, train=20.0), 1),
    ("t2w", "fat suppressed", T2, replace(T2, fat_sat=True), 1),
    ("t2w", "no contrast agent", replace(T2, contrast=True), T2, 2),
    ("t2w", "original", replace(T2, types=frozenset({"DERIVED"})), T2, 1),
    ("t2w", "many slices", T2, replace(T2, slices=15), 1),
    ("t2w", "covers more", T2, replace(T2, coverage=120.0), 1),
    ("t2w", "thin slices", T2, replace(T2, step=8.0), 1),
    ("t2w", "distortion corrected", T2, replace(T2, types=T2.types | {"DIS2D"}), 1),
    ("dwi", "b 800 to 1000", DWI, replace(DWI, b=1000.0), 3),
    ("dwi", "b 800 rather than 1000", replace(DWI, b=1000.0), replace(DWI, b=800.0), 1),
    ("dwi", "trace", DWI, replace(DWI, isotropic=True), 2),
    ("dwi", "not of one direction", replace(DWI, directional=True), DWI, 3),
    ("dwi", "measured", replace(DWI, computed=True), DWI, 6),
    ("b0", "measured", replace(LOW, computed=True), LOW, 3),
    ("adc", "on the grid of the DWI", MAP, replace(MAP, fits_dwi=True), 3),
    ("adc", "called so", MAP, replace(MAP, types=frozenset({"ADC"})), 1),
]


@pytest.mark.parametrize(
    ("kind", "worse", "better", "by"),
    [(kind, worse, better, by) for kind, _, worse, better, by in BETTER],
    ids=[f"{kind}: {why}" for kind, why, *_ in BETTER],
)
def test_a_rule_decides_between_two_series_that_differ_in_it_alone(
    kind: Kind, worse: Facts, better: Facts, by: float
) -> None:
    lower, higher = points(kind, worse), points(kind, better)
    assert lower is not None and higher is not None
    assert higher - lower == by > MARGIN


def test_every_rule_that_gives_points_has_its_pair() -> None:
    for kind, rules in RULES.items():
        for rule in rules:
            if rule.points is not None:
                pairs = [(a, b) for of, _, a, b, _ in BETTER if of == kind or rule in RULES["t2w"]]
                assert any(rule.test(a) != rule.test(b) for a, b in pairs), f"{kind}: {rule.words}"


def test_a_measured_image_at_an_odd_b_value_ties_with_a_computed_one_so_that_a_person_decides() -> None:
    computed = points("dwi", replace(DWI, b=800.0, computed=True, isotropic=True))
    measured = points("dwi", replace(DWI, b=700.0))
    assert computed is not None and measured is not None and measured == computed


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("t2w", replace(T2, axial=0.9)),
        ("t2w", replace(T2, slices=4)),
        ("t2w", replace(T2, echo_time=49.9)),
        ("t2w", replace(T2, echo_time=200.1)),
        ("t2w", replace(T2, step=15.1)),
        ("dwi", replace(DWI, b=699.0)),
        ("dwi", replace(DWI, b=1501.0)),
        ("b0", replace(LOW, b=100.1)),
    ],
)
def test_limits_are_where_the_words_say(kind: Kind, facts: Facts) -> None:
    assert points(kind, facts) is None


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("t2w", replace(T2, axial=0.91, slices=5, step=15.0)),
        ("t2w", replace(T2, echo_time=50.0)),
        ("t2w", replace(T2, echo_time=200.0)),
        ("dwi", replace(DWI, b=700.0)),
        ("dwi", replace(DWI, b=1500.0)),
        ("b0", replace(LOW, b=100.0)),
    ],
)
def test_limits_belong_to_what_is_taken(kind: Kind, facts: Facts) -> None:
    assert points(kind, facts) is not None
