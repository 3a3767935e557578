"""Which figures an experiment gets, with the words under each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scanside.training.cohort.table import ROLES
from scanside.training.evaluation import figures_classification as of_probabilities
from scanside.training.evaluation.figures_segmentation import dice_figure, volume_figure
from scanside.training.evaluation.overlays import examples, overlay_figure
from scanside.training.evaluation.study import ROLE_TITLES
from scanside.training.evaluation.style import png, stamp

if TYPE_CHECKING:
    from scanside.training.evaluation.report import Evaluated


@dataclass(frozen=True)
class Picture:
    """A figure as it is written.

    Attributes:
        name: Where it belongs in the report.
    """

    name: str
    caption: str
    png: bytes

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.png"


def draw(done: Evaluated, *, repeats: int, seed: int) -> list[Picture]:
    """Draw every figure there is data for."""
    pictures = []
    for name, caption, made in (*_of_masks(done), *_of_probabilities(done, repeats, seed)):
        stamp(made, done.synthetic)
        pictures.append(Picture(name, caption, png(made)))
    return pictures


def _of_masks(done: Evaluated) -> Iterator[tuple[str, str, Any]]:
    cases = [case for case in done.cases if not case.lesion_free]
    if done.segmentation is None or not cases:
        return
    yield (
        "dice",
        "Dice of every case (dots), with quartiles (box), median (line) and mean (diamond), by size of the lesion. "
        "Black bars: the study's means on patients.",
        dice_figure(cases, done.cohort),
    )
    if any(case.part != "resubstitution" for case in cases):
        yield (
            "volume",
            "Bland–Altman plot of lesion volume: bias (line) and limits of agreement (dashed).",
            volume_figure(cases, done.segmentation),
        )
    for role in ROLES:
        for part in ("test", "cross-validated", "resubstitution"):
            chosen = examples([case for case in cases if (case.role, case.part) == (role, part)])
            if chosen:
                caption = (
                    f"{ROLE_TITLES[role]}, {part}: the cases with the best, the median and the worst Dice, in the "
                    "slice where the reference is largest. Solid green: reference; dashed pink: automatic."
                )
                yield f"overlays-{role}", caption, overlay_figure(done.masks, done.cohort, chosen)
                break


def _of_probabilities(done: Evaluated, repeats: int, seed: int) -> Iterator[tuple[str, str, Any]]:
    found = done.classification
    if found is None:
        return
    if found.selection_path:
        yield (
            "selection",
            "Selection path of the signature.",
            of_probabilities.selection_figure(found.selection_path),
        )
    if not any(result.roc for result in of_probabilities.main_results(found)):
        return
    yield (
        "roc",
        "ROC curves with AUC and DeLong's 95 % interval (band: bootstrap), and precision over recall (dotted: the "
        "prevalence).",
        of_probabilities.roc_figure(found, done.samples, repeats, seed),
    )
    if any(r.part != "resubstitution" and r.calibration for r in of_probabilities.main_results(found)):
        yield (
            "reliability",
            "Reliability of the probabilities in five groups of equal size, with Wilson's 95 % interval.",
            of_probabilities.reliability_figure(found),
        )
    yield (
        "decision",
        "Decision curve with its 95 % band: a model is of use where it lies above both other lines.",
        of_probabilities.decision_figure(found),
    )
    yield (
        "subgroups",
        "AUC by subgroup, with DeLong's 95 % interval. Small groups have wide intervals, and one in twenty misses.",
        of_probabilities.subgroup_figure(found),
    )
