"""Members' probabilities → their mean → labels, as `nnUNetv2_ensemble` merges saved files."""

from dataclasses import replace

import numpy as np

from scanside.runtime.arrays import Float32, LabelMask
from scanside.runtime.errors import CaseError
from scanside.runtime.events import CaseFailed, CaseFinished, Event, Listener
from scanside.runtime.machine import memory_gib
from scanside.runtime.plan import Labels
from scanside.runtime.stages.decide import decide_probabilities

_ARRAYS = 4
"""Full-resolution arrays of all classes that exist at once: the sum so far, and a member's on their way into place."""


def add_member(total: Float32 | None, probabilities: Float32) -> Float32:
    """The sum so far with one member's probabilities (K, Z, Y, X) float32. Overwrites `total`; None begins one."""
    if total is None:
        return probabilities
    total += probabilities
    return total


def label_mean(total: Float32, members: int, labels: Labels) -> LabelMask:
    """Labels (Z, Y, X) of the mean. `total`, the sum of all members' (K, Z, Y, X), becomes the mean.

    Source: nnU-Net v2 `ensembling/ensemble.py:average_probabilities` (float32, added in the members' order, divided
    once), `label_handling.py:convert_probabilities_to_segmentation`.
    """
    total /= members
    return decide_probabilities(total, labels).astype(labels.mask_dtype)


def require_memory(shape: tuple[int, int, int], labels: Labels) -> None:
    """See that the probabilities fit into this machine: unlike labels, they need all classes at full resolution.

    Raises:
        CaseError: If they are larger than the installed memory.
    """
    needed = _ARRAYS * labels.heads * int(np.prod(shape)) * 4 / 2**30
    installed = memory_gib()
    if installed is not None and needed > installed:
        raise CaseError(
            f"An ensemble averages probabilities at full resolution, which takes {needed:.0f} GiB for this image of "
            f"{' × '.join(map(str, shape))} voxels and {labels.heads} classes; this machine has {installed:g} GiB. Run "
            "one member with --role, or use a larger machine."
        )


def under_name(listener: Listener, role: str) -> Listener:
    """A listener that hears of a member's stages under its name."""

    def heard(event: Event) -> None:
        if isinstance(event, CaseFinished | CaseFailed):
            listener(event)
        else:
            listener(replace(event, stage=f"{role}: {event.stage}"))

    return heard
