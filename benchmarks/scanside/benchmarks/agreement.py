"""Label maps compared with nnunetv2's: differing voxels, Dice, and the margins that explain a difference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scanside.benchmarks.kinds import NNUNET, PeerKind
from scanside.benchmarks.results import Margins
from scanside.benchmarks.source import CHECKPOINT, Source, StagedCase
from scanside.runtime.arrays import LabelMask
from scanside.runtime.golden import EXACT, GoldenCase, compare, policy
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.load import load_case
from scanside.runtime.images.orient import reorient, restore_orientation
from scanside.runtime.masks import overlap
from scanside.runtime.record import Part
from scanside.runtime.volume import Volume

if TYPE_CHECKING:
    from scanside.export.reference import Prediction

BOUND = EXACT.margin
"""Logit margin up to which a differing voxel counts as a rounding tie: the parity gate's own bound."""


class Agreement(Part):
    """A peer's mask against nnunetv2's.

    Attributes:
        dice: Label → Dice between the two masks; None where neither has the label.
        margins: None when no voxel differs.
        problem: Why the parity policy of the peer's precision rejects the mask; None where it accepts it.
    """

    voxels: int
    differing: int
    dice: dict[str, float | None]
    margins: Margins | None
    problem: str | None


def dice(
    mask: LabelMask, reference: LabelMask, names: Mapping[str, int | tuple[int, ...]]
) -> dict[str, float | None]:
    """Dice of each foreground label or region; None where it is in neither mask."""
    scores: dict[str, float | None] = {}
    for name, value in names.items():
        values = value if isinstance(value, tuple) else (value,)
        if values == (0,):
            continue
        ours, theirs = np.isin(mask, values), np.isin(reference, values)
        scores[name] = overlap.dice(ours, theirs) if ours.any() or theirs.any() else None
    return scores


def margins(
    mask: LabelMask, reference: LabelMask, margin: npt.NDArray[np.float16], bound: float = BOUND
) -> Margins | None:
    """The reference's margins where the masks differ; None when they do not.

    Args:
        margin: (Z, Y, X): how far the reference's decision was from another label, logits.
        bound: Up to which a difference counts as explained.
    """
    values = margin[mask != reference].astype(np.float64)
    if not values.size:
        return None
    # A voxel outside the box that was segmented has no margin (inf); a difference there is never a tie.
    values = np.minimum(values, 1e9)
    return Margins(
        largest=float(values.max()),
        smallest=float(values.min()),
        bound=bound,
        explained=int((values <= bound).sum()),
    )


class FromFolder:
    """nnunetv2's predictor with its margins, for the folds of a source."""

    def __init__(self, source: Source, *, mirroring: bool) -> None:
        from scanside.export.model_folder import (
            read_model_folder,
        )  # torch: only now, and only where labels differ
        from scanside.export.network import build_network
        from scanside.export.reference import Reference

        folder = read_model_folder(
            source.model, folds=source.folds, checkpoint=CHECKPOINT, trust_pickles=False
        )
        self._plan = source.plan
        network = build_network(folder, self._plan.input_channels, self._plan.labels.heads)
        self._reference = Reference(folder, network, self._plan, mirroring=mirroring)

    def predict(self, case: CaseInput) -> "tuple[Volume, Prediction, bool | None]":
        """nnunetv2's result for a case.

        Returns:
            The image as the runtime reads it; nnunetv2's prediction on its grid; and whether nnU-Net's own reader,
            whose array the prediction was made of, gave the same array. None where its reader reorients the image
            on reading: the runtime's array then serves both.
        """
        volume = load_case(case, len(self._plan.channels)).volume
        if self._plan.reorient:
            turned, _ = reorient(volume, self._plan.reorient)
            found = self._reference.predict(turned.data, turned.geometry.spacing)
            labels = restore_orientation(found.labels, turned.geometry, volume.geometry)
            margin = restore_orientation(found.margin, turned.geometry, volume.geometry)
            return volume, replace(found, labels=labels, margin=margin), None
        reader = self._reference.predictor.plans_manager.image_reader_writer_class()
        data, properties = reader.read_images([str(path) for path in case.channels])
        found = self._reference.predict(data, tuple(properties["spacing"]))
        same = data.shape == volume.data.shape and bool((data == volume.data).all())
        return volume, found, same


class Judge:
    """Compares masks; asks nnunetv2 for its margins only where they differ."""

    def __init__(self, source: Source, *, mirroring: bool) -> None:
        self._source, self._mirroring = source, mirroring
        self._margin = cache(self._predicted)

    def compare(
        self, case: StagedCase, volume: Volume, masks: Mapping[PeerKind, Sequence[LabelMask]]
    ) -> dict[str, Agreement]:
        """Peer → agreement with nnunetv2; of several masks the two that differ most. Empty without nnunetv2's.

        Args:
            volume: The case's image.
            masks: Each peer's different masks of the case.
        """
        references = masks.get(NNUNET)
        if references is None:
            return {}
        found = {}
        for kind, own in masks.items():
            if kind != NNUNET:
                pairs = [(mask, reference) for mask in own for reference in references]
                worst = max(pairs, key=lambda pair: int((pair[0] != pair[1]).sum()))
                found[kind.name] = self._agreement(case, volume, kind, *worst)
        return found

    def _agreement(
        self, case: StagedCase, volume: Volume, kind: PeerKind, mask: LabelMask, reference: LabelMask
    ) -> Agreement:
        differing = int((mask != reference).sum())
        explained = problem = None
        if differing:
            margin = self._margin(case)
            bound = policy(kind.precision).margin  # int8 has none: ties of float32 are told then
            explained = margins(mask, reference, margin, bound if math.isfinite(bound) else BOUND)
            golden = GoldenCase(case.name, volume, reference, margin)
            problem = compare(golden, mask, kind.device, kind.precision, 0.0).problem
        return Agreement(
            voxels=int(mask.size),
            differing=differing,
            dice=dice(mask, reference, self._source.plan.labels.names),
            margins=explained,
            problem=problem,
        )

    def _predicted(self, case: StagedCase) -> npt.NDArray[np.float16]:
        return self._reference.predict(case.case)[1].margin

    @cached_property
    def _reference(self) -> FromFolder:
        return FromFolder(self._source, mirroring=self._mirroring)
