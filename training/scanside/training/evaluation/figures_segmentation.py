"""Figures of the masks: Dice by part and size, agreement of volumes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scanside.training.cohort.table import ROLES, Cohort
from scanside.training.evaluation.cases import Case
from scanside.training.evaluation.records_segmentation import Segmentation
from scanside.training.evaluation.segmentation_table import relative_differences
from scanside.training.evaluation.strata import ALL, HELD_OUT, SIZES, scanner_groups, size_of
from scanside.training.evaluation.study import DICE, ROLE_TITLES
from scanside.training.evaluation.style import (
    GRID,
    HELD_OUT_COLOUR,
    PART_COLOURS,
    STUDY_COLOUR,
    figure,
    legend,
    words,
)
from scanside.training.experiment import PARTS

_WIDTH = 0.2
_HELD_OUT = "test, held-out scanner"


def dice_figure(cases: Sequence[Case], cohort: Cohort) -> Any:
    """Dice of every case by role, size and part, with the study's figures as diamonds."""
    roles = [role for role in ROLES if any(case.role == role for case in cases)]
    made, axes = figure(11, 3.6 * len(roles), rows=len(roles), sharex=True)
    series = _series(cases, cohort)
    sizes = {patient.patient: size_of(patient.lesion_mm) for patient in cohort.patients}
    for axis, role in zip(axes[:, 0], roles, strict=True):
        for place, (name, colour, members) in enumerate(series):
            own = [case for case in members if case.role == role]
            offset = (place - (len(series) - 1) / 2) * _WIDTH
            for position, size in enumerate((ALL, *SIZES)):
                values = [case.dice for case in own if size in (ALL, sizes[case.patient])]
                if values:
                    _box(axis, position + offset, values, colour)
            if own:
                axis.plot([], [], "s", color=colour, label=name, markersize=7)
        _study_marks(axis, role, series)
        axis.set_xticks(range(4), ["all lesions", *SIZES])
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlim(-0.6, 3.6)
        axis.grid(axis="y", color=GRID, linewidth=0.7)
        axis.set_axisbelow(True)
        words(axis, f"Dice on {ROLE_TITLES[role]}", "", "Dice")
    legend(axes[0, 0], ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.08), fontsize=9)
    return made


def volume_figure(cases: Sequence[Case], segmentation: Segmentation) -> Any:
    """Bland–Altman: difference of volumes as a part of their mean, over the mean, without resubstitution."""
    roles = [role for role in ROLES if any(case.role == role for case in cases)]
    made, axes = figure(11, 4.2, columns=len(roles), sharey=True)
    for axis, role in zip(axes[0], roles, strict=True):
        for part in PARTS[1:]:
            own = [case for case in cases if (case.role, case.part) == (role, part)]
            if not own:
                continue
            mean = np.array([(case.reference_ml + case.automatic_ml) / 2 for case in own])
            percent = 100 * relative_differences(own)
            axis.plot(
                mean, percent, "o", color=PART_COLOURS[part], alpha=0.6, markersize=4.5, label=part, mew=0
            )
            for line in (b for b in segmentation.bland_altman if (b.role, b.part) == (role, part)):
                axis.axhline(100 * line.bias, color=PART_COLOURS[part], linewidth=1.4)
                for limit in line.limits:
                    axis.axhline(100 * limit, color=PART_COLOURS[part], linewidth=0.9, linestyle="--")
        axis.axhline(0, color="#9aa1ab", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_ylim(-215, 215)
        axis.set_yticks(range(-200, 201, 100))
        words(axis, ROLE_TITLES[role], "mean of both volumes, ml", "automatic − reference, % of the mean")
        legend(axis, loc="upper right")
    axes[0, 0].annotate(
        "−200 %: nothing segmented",
        (0.98, 0.045),
        ha="right",
        xycoords="axes fraction",
        fontsize=7.5,
        color="#7a828e",
    )
    return made


def _series(cases: Sequence[Case], cohort: Cohort) -> list[tuple[str, str, list[Case]]]:
    known = scanner_groups(cohort)
    series = [(part, PART_COLOURS[part], [case for case in cases if case.part == part]) for part in PARTS]
    outside = [case for case in cases if case.part == "test" and known[case.patient] == HELD_OUT]
    series.append((_HELD_OUT, HELD_OUT_COLOUR, outside))
    return [row for row in series if row[2]]


def _box(axis: Any, x: float, values: Sequence[float], colour: str) -> None:
    """A box (quartiles, whiskers to 1.5 of their distance), its mean, and every case."""
    jitter = np.random.default_rng(len(values)).uniform(-0.28, 0.28, len(values)) * _WIDTH
    axis.plot(x + jitter, values, "o", color=colour, alpha=0.35, markersize=3, mew=0, zorder=2)
    parts = axis.boxplot(
        [values], positions=[x], widths=_WIDTH * 0.82, showfliers=False, patch_artist=True, manage_ticks=False
    )
    for box in parts["boxes"]:
        box.set(facecolor=(*_rgb(colour), 0.25), edgecolor=colour, linewidth=1.1)
    for line in (*parts["whiskers"], *parts["caps"]):
        line.set(color=colour, linewidth=1)
    for line in parts["medians"]:
        line.set(color=colour, linewidth=2)
    axis.plot([x], [np.mean(values)], "D", color="white", mec=colour, markersize=4.2, mew=1.2, zorder=4)


def _rgb(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return red, green, blue


def _study_marks(axis: Any, role: str, series: Sequence[tuple[str, str, list[Case]]]) -> None:
    """The study's means beside the part they are comparable with."""
    places = {name: (i - (len(series) - 1) / 2) * _WIDTH for i, (name, _, _) in enumerate(series)}
    shown = False
    for of, part, size, value in DICE:
        if of == role and part in places:
            x = (ALL, *SIZES).index(size) + places[part]
            axis.plot(
                [x - _WIDTH * 0.48, x + _WIDTH * 0.48], [value, value], color=STUDY_COLOUR, linewidth=2.2, zorder=5,
                label=None if shown else "study's mean (patients, published)",
            )  # fmt: skip
            shown = True
