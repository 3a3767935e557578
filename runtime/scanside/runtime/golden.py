"""Golden cases: replaying small cases with the reference's labels on this machine.

The bundle holds, beside nnU-Net's labels, the margin of each voxel (how far its decision was from another label),
so that a machine without nnU-Net can tell a rounding tie from a wrong result.
"""

import io
import math
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import BundleError
from scanside.runtime.manifest import Golden
from scanside.runtime.segmenter import Segmenter
from scanside.runtime.volume import Geometry, Volume


@dataclass(frozen=True)
class Policy:
    """What a target may differ by (docs/exactness.md).

    Attributes:
        margin: A differing voxel must have had a reference margin (logits) below this.
        fraction: Differing voxels, as a part of all; at least `floor` voxels are allowed, since a small golden
            case would otherwise allow none.
        floor: See `fraction`.
        dice: Lowest Dice of a label between the two masks.
        logits: Largest root mean square of Δ logit, relative to that of the logits; checked at export only. The
            largest single difference says little: near an image's corner nnU-Net's float16 sums keep one or two
            quanta, and a difference in the last digit moves the mean by half.
    """

    margin: float
    fraction: float
    floor: int
    dice: float
    logits: float


EXACT = Policy(margin=0.05, fraction=1e-5, floor=2, dice=0.999, logits=2e-3)
APPROXIMATE = Policy(margin=0.5, fraction=2e-3, floor=20, dice=0.999, logits=2e-2)
# Golden cases are mostly synthetic, with labels of a few voxels: whether this machine computes int8 rightly is seen
# from all voxels. What int8 costs is measured on real images at export, where each label's mean Dice is judged.
QUANTISED = Policy(margin=2.0, fraction=2e-2, floor=20, dice=0.0, logits=0.1)
INT8_DICE = 0.995
"""Lowest mean Dice of a label between int8 and fp32 over the images that int8 was calibrated on."""


def policy(precision: str) -> Policy:
    """The policy of a precision."""
    return {"fp32": EXACT, "int8": QUANTISED}.get(precision, APPROXIMATE)


@dataclass(frozen=True, eq=False)
class GoldenCase:
    """A golden case in memory.

    Attributes:
        labels, margin: The reference's, (Z, Y, X).
        previous: For the second stage of a cascade, the mask the reference's first stage gave it: a tie that
            falls the other way in the first stage would change more of the second than any policy may allow.
    """

    name: str
    volume: Volume
    labels: npt.NDArray[np.unsignedinteger]
    margin: npt.NDArray[np.float16]
    previous: npt.NDArray[np.unsignedinteger] | None = None

    def encode(self) -> bytes:
        """The .npz file of the bundle; deterministic for the same arrays."""
        geometry = self.volume.geometry
        buffer = io.BytesIO()
        image = self.volume.data
        with np.errstate(invalid="ignore"):  # beyond int16: kept as float32
            whole = image.astype(np.int16)
        arrays: dict[str, Any] = {
            "image": whole if np.array_equal(whole, image) else image,
            "spacing": np.array(geometry.spacing),
            "labels": self.labels,
            "margin": self.margin,
        }
        if self.previous is not None:
            arrays["previous"] = self.previous
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()


@dataclass(frozen=True)
class Comparison:
    """One golden case on one device.

    Attributes:
        voxels, differing: Counts.
        worst_margin: Largest reference margin among the differing voxels; None when none differ.
        dice: Lowest Dice over the labels that occur in either mask.
        ms: Time of the case.
        problem: Why the policy rejects it, or None.
    """

    case: str
    device: str
    precision: str
    voxels: int
    differing: int
    worst_margin: float | None
    dice: float
    ms: float
    problem: str | None


def load_golden(bundle: Bundle, case: Golden) -> GoldenCase:
    """Read a golden case, verified."""
    try:
        with np.load(io.BytesIO(bundle.read(case.file)), allow_pickle=False) as arrays:
            image = arrays["image"].astype(np.float32)
            spacing = tuple(float(value) for value in arrays["spacing"])
            labels, margin = arrays["labels"], arrays["margin"]
            previous = arrays.get("previous")
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"Golden case {case.file} of {bundle.path} is not readable; export it again."
        ) from error
    geometry = Geometry(image.shape[1:], (spacing[0], spacing[1], spacing[2]))
    return GoldenCase(case.name, Volume(image, geometry), labels, margin, previous)


def replay(segmenter: Segmenter, case: GoldenCase) -> Comparison:
    """Run a golden case the way that any case runs, and judge it."""
    start = time.perf_counter()
    result = segmenter.segment(case.volume, case=case.name, previous=case.previous)
    ms = (time.perf_counter() - start) * 1000
    device, precision = segmenter.device.obtained, segmenter.options.precision
    return compare(case, result.mask, device, precision, ms)


def compare(
    case: GoldenCase,
    mask: npt.NDArray[np.unsignedinteger],
    device: str,
    precision: str,
    ms: float,
) -> Comparison:
    """Judge a mask of a golden case under the policy of its precision."""
    rule = policy(precision)
    wrong = mask != case.labels
    differing = int(wrong.sum())
    worst = float(case.margin[wrong].max()) if differing else None
    score = lowest_dice(mask, case.labels)
    allowed = max(rule.floor, math.floor(rule.fraction * mask.size))
    problem = None
    if worst is not None and worst > rule.margin:
        problem = f"a differing voxel had a margin of {worst:.3g}, above {rule.margin:g}"
    elif differing > allowed:
        problem = f"{differing} voxels differ, more than {allowed}"
    elif score < rule.dice and differing > rule.floor:
        problem = f"Dice of a label is {score:.5f}, below {rule.dice}"
    return Comparison(case.name, device, precision, int(mask.size), differing, worst, score, ms, problem)


def lowest_dice(mask: npt.NDArray[np.unsignedinteger], reference: npt.NDArray[np.unsignedinteger]) -> float:
    """Lowest Dice over the foreground labels that occur in either mask; 1 when there is none."""
    return min(label_dice(mask, reference).values(), default=1.0)


def label_dice(
    mask: npt.NDArray[np.unsignedinteger], reference: npt.NDArray[np.unsignedinteger]
) -> dict[int, float]:
    """Dice of each foreground label that occurs in either mask."""
    scores = {}
    for value in np.union1d(np.unique(mask), np.unique(reference)):
        if value:
            ours, theirs = mask == value, reference == value
            scores[int(value)] = 2 * int((ours & theirs).sum()) / (int(ours.sum()) + int(theirs.sum()))
    return scores


def first_problem(results: Iterable[Comparison]) -> str | None:
    """The first golden case that is not what it must be, and why; None where all are."""
    return next((f"golden case {one.case}: {one.problem}" for one in results if one.problem), None)


def replay_all(segmenter: Segmenter) -> list[Comparison]:
    """Replay every golden case of the segmenter's role."""
    cases = [case for case in segmenter.bundle.manifest.golden if case.role == segmenter.role]
    return [replay(segmenter, load_golden(segmenter.bundle, case)) for case in cases]
