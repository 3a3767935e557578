"""Example cases: the image with both outlines, for the best, the median and the worst Dice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scanside.runtime.arrays import Float64, Mask
from scanside.runtime.errors import GeometryError
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.load import load_case
from scanside.runtime.images.orient import orientation
from scanside.runtime.study.names import amount
from scanside.runtime.volume import Geometry
from scanside.training.cohort.table import UNKNOWN, Cohort
from scanside.training.evaluation.cases import Case, Masks, read_mask
from scanside.training.evaluation.study import ROLE_TITLES
from scanside.training.evaluation.style import INK, figure

REFERENCE_COLOUR, AUTOMATIC_COLOUR = "#37d67a", "#ff4fa3"
_RULER_MM = 20.0
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_HALF_MM = 55.0
"""Half the side of the picture."""


@dataclass(frozen=True)
class Slice:
    """One slice of a case, cut around the lesion.

    Attributes:
        image: (Y, X) float32.
        reference, automatic: (Y, X) bool.
        spacing: (Y, X), mm.
        number: Slice of the volume, from 1.
        of: Slices of the volume.
        sides: What of the patient lies at the left, right, upper and lower edge, such as `R`, `L`, `A`, `P`.
        height_mm: Patient position of its middle, towards the head.
    """

    image: Float64
    reference: Mask
    automatic: Mask
    spacing: tuple[float, float]
    number: int
    of: int
    sides: tuple[str, str, str, str]
    height_mm: float


def examples(cases: Sequence[Case]) -> list[tuple[str, Case]]:
    """The best, the median and the worst of some cases by Dice; fewer when there are fewer."""
    ranked = sorted(cases, key=lambda case: (case.dice, case.patient))
    if len(ranked) < 3:
        return [("case", case) for case in ranked[::-1]]
    return [("best", ranked[-1]), ("median", ranked[len(ranked) // 2]), ("worst", ranked[0])]


def overlay_figure(masks: Masks, cohort: Cohort, chosen: Sequence[tuple[str, Case]]) -> Any:
    """Pictures of the chosen cases of one role, side by side."""
    made, axes = figure(3.9 * len(chosen), 4.95, columns=len(chosen))
    rows = {patient.patient: patient for patient in cohort.patients}
    for axis, (name, case) in zip(axes[0], chosen, strict=True):
        cut = largest_slice(masks, cohort, case)
        _draw(axis, cut)
        row = rows[case.patient]
        axis.set_title(
            f"{name}: Dice {case.dice:.2f}\n{row.diagnosis or UNKNOWN}, {_length(row.lesion_mm)}, "
            f"scanner {row.scanner}, "
            f"slice {cut.number}/{cut.of}",
            fontsize=9, color=INK, loc="left",
        )  # fmt: skip
        axis.set_xlabel(case.patient, fontsize=8, color="#7a828e")
    axes[0, 0].set_ylabel(ROLE_TITLES[chosen[0][1].role], fontsize=10, color=INK)
    for colour, style, words in (
        (REFERENCE_COLOUR, "-", "reference"),
        (AUTOMATIC_COLOUR, "--", "automatic"),
    ):
        axes[0, -1].plot([], [], color=colour, linestyle=style, linewidth=1.8, label=words)
    axes[0, -1].legend(loc="lower left", fontsize=8, facecolor="#222", labelcolor="white", framealpha=0.6)
    return made


def largest_slice(masks: Masks, cohort: Cohort, case: Case) -> Slice:
    """The slice in which the reference is largest (the mask, where the reference is empty), cut to 11 cm."""
    path = cohort.image(case.patient, case.role)
    volume = load_case(CaseInput(case.patient, (path,)), 1).volume
    reference, _ = read_mask(cohort.mask(case.patient, case.role))
    automatic, _ = read_mask(masks.mask(case.part, case.role, case.patient), masks.label(case.role))
    if volume.geometry.shape != reference.shape:
        raise GeometryError(
            f"{path} has {volume.geometry.shape} voxels, its mask {reference.shape}; run `scanside cohort check`."
        )
    shown = reference if reference.any() else automatic
    z = int(shown.sum(axis=(1, 2)).argmax())
    ys, xs = np.nonzero(shown[z])
    _, sy, sx = volume.geometry.spacing
    window = (
        _window(int(ys.mean()) if len(ys) else shown.shape[1] // 2, _HALF_MM / sy, shown.shape[1]),
        _window(int(xs.mean()) if len(xs) else shown.shape[2] // 2, _HALF_MM / sx, shown.shape[2]),
    )
    return Slice(
        image=volume.data[0, z][window].astype(np.float64),
        reference=reference[z][window],
        automatic=automatic[z][window],
        spacing=(sy, sx),
        number=z + 1,
        of=shown.shape[0],
        sides=_sides(volume.geometry),
        height_mm=_height(volume.geometry, z),
    )


def _length(lesion_mm: float | None) -> str:
    return "size unknown" if lesion_mm is None else f"{lesion_mm:.0f} mm"


def _sides(geometry: Geometry) -> tuple[str, str, str, str]:
    letters = orientation(geometry)
    across, down = letters[0], letters[1]
    return _OPPOSITE[across], across, _OPPOSITE[down], down


def _height(geometry: Geometry, z: int) -> float:
    steps = np.array([geometry.shape[2] / 2 - 0.5, geometry.shape[1] / 2 - 0.5, z]) * geometry.spacing[::-1]
    return float((np.array(geometry.origin) + geometry.direction_matrix @ steps)[2])


def _draw(axis: Any, cut: Slice) -> None:
    low, high = np.percentile(cut.image, [1, 99.5])
    axis.imshow(
        cut.image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=cut.spacing[0] / cut.spacing[1],
        interpolation="bilinear",
    )  # fmt: skip
    for mask, colour, style in (
        (cut.reference, REFERENCE_COLOUR, "solid"),
        (cut.automatic, AUTOMATIC_COLOUR, "dashed"),
    ):
        if mask.any():
            padded = np.pad(mask, 1).astype(float)
            across, down = np.arange(-1, mask.shape[1] + 1), np.arange(-1, mask.shape[0] + 1)
            axis.contour(
                across, down, padded, levels=[0.5], colors=[colour], linewidths=1.5, linestyles=style
            )
    if not cut.automatic.any():
        axis.text(0.03, 0.09, "no automatic outline in this slice", transform=axis.transAxes, fontsize=8,
                  color=AUTOMATIC_COLOUR)  # fmt: skip
    _label(axis, cut, high - low, (low + high) / 2)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def _label(axis: Any, cut: Slice, width: float, level: float) -> None:
    """Sides, place, window and a ruler: a picture says by itself what it shows."""
    left, right, up, down = cut.sides
    for words, x, y in ((left, 0.02, 0.5), (right, 0.98, 0.5), (up, 0.5, 0.98), (down, 0.5, 0.02)):
        how = {"ha": "left" if x < 0.5 else "right" if x > 0.5 else "center",
               "va": "bottom" if y < 0.5 else "top" if y > 0.5 else "center"}  # fmt: skip
        axis.text(x, y, words, transform=axis.transAxes, fontsize=8, color="white", **how)
    place = f"{'S' if cut.height_mm >= 0 else 'I'}{abs(cut.height_mm):.1f} mm\nW {amount(width)} L {amount(level)}"
    axis.text(0.02, 0.98, place, transform=axis.transAxes, fontsize=7, color="white", va="top")
    length = _RULER_MM / cut.spacing[1]
    rows, columns = cut.image.shape
    end, y = 0.97 * columns, 0.9 * rows
    axis.plot([end - length, end], [y, y], color="white", linewidth=1.5, marker="|")
    axis.text(
        end - length / 2,
        y - 0.02 * rows,
        f"{_RULER_MM:g} mm",
        color="white",
        fontsize=7,
        ha="center",
        va="bottom",
    )


def _window(centre: int, half: float, size: int) -> slice:
    """A stretch of about 2 · half around a centre, moved inside the image."""
    length = min(round(2 * half), size)
    start = min(max(centre - length // 2, 0), size - length)
    return slice(start, start + length)
