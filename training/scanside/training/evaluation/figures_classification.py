"""Figures of the probabilities: ROC, precision-recall, reliability, net benefit, subgroups, selection."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scanside.training.evaluation.bootstrap import stream
from scanside.training.evaluation.classification import Sample
from scanside.training.evaluation.record_parts import Auc
from scanside.training.evaluation.records import Classification, ModelResult
from scanside.training.evaluation.roc import roc_band
from scanside.training.evaluation.strata import SCANNER_GROUP
from scanside.training.evaluation.study import model_title
from scanside.training.evaluation.style import (
    GRID,
    HELD_OUT_COLOUR,
    INK,
    MODEL_COLOURS,
    PART_COLOURS,
    figure,
    legend,
    words,
)

_RATES = np.linspace(0, 1, 101)


def roc_figure(found: Classification, main: dict[str, Sample], repeats: int, seed: int) -> Any:
    """ROC of the main model by part; of all models on the most honest part; precision-recall of these."""
    made, axes = figure(13.2, 4.7, columns=3)
    by_part, by_model, recall = axes[0]
    for result in (result for result in found.models if result.main and result.roc):
        colour = PART_COLOURS[result.part]
        by_part.plot(
            *zip(*result.roc, strict=True),
            color=colour,
            linewidth=1.8,
            label=f"{result.part} {said(result.auc)}",
        )
        band = None
        if result.part == honest_part(found):
            scored = main[result.part].scored
            band = roc_band(scored.truth, scored.score, _RATES, repeats, stream(seed, "band", result.part))
        if band is not None:
            by_part.fill_between(_RATES, *band, color=colour, alpha=0.15, linewidth=0)
    part = honest_part(found)
    for i, result in enumerate(result for result in found.models if result.part == part and result.roc):
        colour, width = MODEL_COLOURS[i % len(MODEL_COLOURS)], 2.0 if result.main else 1.2
        by_model.plot(
            *zip(*result.roc, strict=True),
            color=colour,
            linewidth=width,
            label=f"{model_title(result.model)} {said(result.auc)}",
        )
        precision = result.average_precision.value or 0.0
        recall.plot(
            *zip(*result.precision_recall, strict=True), color=colour, linewidth=width,
            label=f"{model_title(result.model)} AP {precision:.2f}",
        )  # fmt: skip
        if result.main and result.prevalence is not None:
            recall.axhline(result.prevalence, color="#9aa1ab", linewidth=0.8, linestyle=":")
    for axis in (by_part, by_model):
        axis.plot([0, 1], [0, 1], color="#9aa1ab", linewidth=0.8, linestyle=":")
        axis.set_box_aspect(1)
        legend(axis, loc="lower right", fontsize=7.5)
    legend(recall, loc="lower left", fontsize=7.5)
    recall.set_ylim(0, 1.02)
    recall.set_box_aspect(1)
    words(by_part, f"{model_title(found.main_model).capitalize()}, by part", "1 − specificity", "sensitivity")
    words(by_model, f"All models, {part}", "1 − specificity", "sensitivity")
    words(recall, f"Precision and recall, {part}", "recall (sensitivity)", "precision (PPV)")
    return made


def reliability_figure(found: Classification) -> Any:
    """Predicted against observed, for the main model, without resubstitution."""
    results = [r for r in main_results(found) if r.calibration and r.part != "resubstitution"]
    made, axes = figure(5.2 * max(len(results), 1), 4.8, columns=max(len(results), 1))
    for axis, result in zip(axes[0], results, strict=True):
        groups = result.calibration.groups if result.calibration else []
        colour = PART_COLOURS[result.part]
        axis.plot([0, 1], [0, 1], color="#9aa1ab", linewidth=0.8, linestyle=":")
        for group in groups:
            if group.interval:
                axis.plot([group.predicted] * 2, group.interval, color=colour, linewidth=1.2, alpha=0.8)
        axis.plot(
            [g.predicted for g in groups], [g.observed for g in groups], "o-", color=colour, markersize=6
        )
        for group in groups:
            axis.annotate(
                f"n={group.patients}",
                (group.predicted, group.observed),
                xytext=(6, -11 if group.observed > 0.08 else 5),
                textcoords="offset points",
                fontsize=7.5,
                color="#7a828e",
            )
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.02, 1.02)
        axis.set_aspect("equal")
        words(
            axis,
            f"Reliability, {result.part}",
            f"predicted P({found.positive})",
            f"observed part {found.positive}",
        )
    return made


def decision_figure(found: Classification) -> Any:
    """Net benefit of the main model on the most honest part, with treat-all and treat-none."""
    result = next(r for r in main_results(found) if r.decision and r.part == honest_part(found))
    assert result.decision is not None
    curve, made_axes = result.decision, figure(6.2, 4.4)
    made, axis = made_axes[0], made_axes[1][0, 0]
    colour = PART_COLOURS[result.part]
    axis.fill_between(curve.threshold, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(curve.threshold, curve.model, color=colour, linewidth=2, label=model_title(found.main_model))
    axis.plot(
        curve.threshold, curve.treat_all, color="#c8553d", linewidth=1.3, label=f"all as {found.positive}"
    )
    axis.axhline(0, color="#7a828e", linewidth=1.3, label=f"none as {found.positive}")
    top = max(curve.treat_all[0], max(curve.model))
    axis.set_ylim(-0.15 * top - 0.02, 1.12 * top)
    axis.set_xlim(0, 1)
    axis.grid(color=GRID, linewidth=0.7)
    words(
        axis, f"Net benefit, {result.part}", "threshold probability", "net benefit (true positives a patient)"
    )
    legend(axis, loc="upper right")
    return made


def subgroup_figure(found: Classification) -> Any:
    """AUC with DeLong's interval in each subgroup of the most honest part."""
    result = next(r for r in main_results(found) if r.subgroups and r.part == honest_part(found))
    rows = [("all patients", "", result.auc), *((g.property, g.value, g.auc) for g in result.subgroups)]
    made, axes = figure(6.6, 0.29 * len(rows) + 1.0)
    axis = axes[0, 0]
    for i, (name, value, area) in enumerate(rows):
        y = len(rows) - 1 - i
        colour = HELD_OUT_COLOUR if value == "held-out" else PART_COLOURS[result.part]
        if area.value is not None:
            if area.delong:
                axis.plot(area.delong, [y, y], color=colour, linewidth=1.6)
            axis.plot([area.value], [y], "s", color=colour, markersize=6)
        count = f"{area.positives}/{area.patients}"
        axis.text(
            1.03, y, f"{count:>7}   {said(area)}", fontsize=8, va="center", color=INK, family="monospace"
        )
        axis.text(-0.02, y, _named(name, value), fontsize=8.5, va="center", ha="right", color=INK)
    if result.auc.value is not None:
        axis.axvline(result.auc.value, color=PART_COLOURS[result.part], linewidth=0.8, linestyle=":")
    axis.axvline(0.5, color="#9aa1ab", linewidth=0.8)
    axis.set_xlim(0, 1)
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    words(axis, f"{model_title(found.main_model).capitalize()} in subgroups, {result.part}", "AUC", "")
    axis.text(
        1.03,
        len(rows) - 0.35,
        f"{found.positive}/all  AUC (95 %)",
        fontsize=7.5,
        color="#7a828e",
        va="bottom",
    )
    return made


def selection_figure(path: Sequence[tuple[str, int]]) -> Any:
    """How many features survive each step of the selection."""
    made, axes = figure(8.2, 0.42 * len(path) + 1.0)
    axis = axes[0, 0]
    steps, left = [step for step, _ in path], [count for _, count in path]
    places = np.arange(len(path))[::-1]
    axis.barh(places, left, color=PART_COLOURS["cross-validated"], height=0.62)
    for place, count in zip(places, left, strict=True):
        axis.annotate(f"{count}", (max(count, 1), place), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=9, color=INK)  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlim(1, max(*left, 2) * 2.2)
    axis.set_yticks(places, steps, fontsize=9)
    words(axis, "Features that survive each step", "features (logarithmic)", "")
    return made


def _named(name: str, value: str) -> str:
    return f"{value} scanners" if name == SCANNER_GROUP else f"{name} {value}".strip()


def main_results(found: Classification) -> list[ModelResult]:
    """The main model's results, by part."""
    return [result for result in found.models if result.main]


def honest_part(found: Classification) -> str:
    """The held-out test where there is one, else the cross-validation, else what is left."""
    results = main_results(found)
    usable = [result.part for result in results if result.roc] or [result.part for result in results]
    return next(part for part in ("test", "cross-validated", "resubstitution") if part in usable)


def said(area: Auc) -> str:
    """An area in words: 0.79 (0.70–0.88)."""
    if area.value is None:
        return "one class only"
    return f"{area.value:.2f}" + (f" ({area.delong[0]:.2f}–{area.delong[1]:.2f})" if area.delong else "")
