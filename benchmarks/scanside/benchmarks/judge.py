"""Every peer's masks against nnunetv2's, each by the parity policy of its own precision."""

import math
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scanside.benchmarks.agreement import BOUND, dice, margins
from scanside.benchmarks.kinds import NNUNET, PeerKind
from scanside.benchmarks.peers_results import Agreement
from scanside.benchmarks.source import Source
from scanside.benchmarks.staging import StagedCase
from scanside.runtime.arrays import LabelMask
from scanside.runtime.golden import GoldenCase, compare, policy
from scanside.runtime.volume import Volume

if TYPE_CHECKING:
    from scanside.benchmarks.reference import FromFolder


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
            bound = policy(
                kind.precision
            ).margin  # int8 has none: then it is told how many are ties of float32
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
    def _reference(self) -> "FromFolder":
        from scanside.benchmarks.reference import FromFolder  # torch: only now, and only where labels differ

        return FromFolder(self._source, mirroring=self._mirroring)
