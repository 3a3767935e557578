"""Dice of every lesion against its contrast, and what three observers reach there."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scanside.training.evaluation.ceiling.records import Ceiling, LesionCeiling
from scanside.training.evaluation.ceiling.scene import ROLES
from scanside.training.evaluation.strata import SMALL_MM
from scanside.training.evaluation.study import ROLE_TITLES
from scanside.training.evaluation.style import GRID, INK, MODEL_COLOURS, figure, stamp, words

_CURVES = (
    ("template", "only the position unknown (ceiling by noise)", "-"),
    ("grid", "the reader's mask on the network's grid", ":"),
    ("outline", "body and tissue known, shape unknown", "-"),
    ("clutter", "linear, anatomy unknown", "--"),
)
_WINDOW = 15
"""Lesions that a point of a curve is the mean of."""


def ceiling_figure(found: Ceiling) -> Any:
    """A panel per sequence: dots are the automatic masks, curves are means over lesions of like contrast."""
    made, axes = figure(11, 5.0, columns=2, sharey=True)
    for axis, role in zip(axes[0], ROLES, strict=True):
        own = sorted((one for one in found.lesions if one.role == role), key=lambda one: one.contrast)
        for (name, label, line), colour in zip(_CURVES, MODEL_COLOURS, strict=False):
            axis.plot(*_curve(own, name), line, color=colour, linewidth=1.8, label=label)
        if all(one.reached is not None for one in own):
            axis.plot(*_curve(own, "reached"), "-", color=INK, linewidth=2.2, label="reached, mean")
            for small, mark in ((False, "o"), (True, "v")):
                dots = [one for one in own if (one.lesion_mm < SMALL_MM) == small]
                label = f"reached, {'below' if small else 'from'} {SMALL_MM / 10:g} cm"
                axis.plot([one.contrast for one in dots], [one.reached for one in dots], mark, color=INK,
                          alpha=0.55, markersize=5, markeredgewidth=0, label=label)  # fmt: skip
        axis.grid(color=GRID, linewidth=0.7)
        axis.set_axisbelow(True)
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlim(left=0)
        words(axis, ROLE_TITLES[role], "contrast, standard deviations of the surroundings", "Dice")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    stamp(made, found.synthetic)
    return made


def _curve(lesions: Sequence[LesionCeiling], name: str) -> tuple[Any, Any]:
    """Moving means of contrast and of a Dice; lesions sorted by contrast."""
    width = min(_WINDOW, len(lesions))
    kernel = np.full(width, 1 / width)
    rows = np.array([[one.contrast, getattr(one, name)] for one in lesions], dtype=np.float64)
    x, y = (np.convolve(rows[:, column], kernel, mode="valid") for column in (0, 1))
    return x, y
