"""What panels are made of, and how a sentence stands in them."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from scanside.runtime.appliance.store.states import State
from scanside.tui.case.data import CaseData
from scanside.tui.case.stack import Spot
from scanside.tui.case.text import (
    Line,
)
from scanside.tui.format import (
    Tone,
    spoken,
)
from scanside.tui.tones import toned

COMING = (State.RECEIVING, State.QUEUED, State.PAUSED, State.RUNNING)
"""States of a case that has no result yet."""


@dataclass(frozen=True)
class Glance:
    """What panels are made of.

    Attributes:
        spot: The lesion that is looked at.
        width: Cells there are.
        spans: Lesion → its first and last slice, from 0, of those whose images were read.
    """

    data: CaseData
    spot: Spot | None
    width: int
    spans: Mapping[Spot, tuple[int, int]] = field(default_factory=dict)


def wrapped(
    words: str, width: int, tone: Tone = Tone.PLAIN, indent: str = "", bold: bool = False
) -> list[Line]:
    """A sentence in lines of a panel, with the names that people have for sequences."""
    parts = textwrap.wrap(spoken(words), max(width, 12)) or [""]
    return [toned(indent + part, tone, bold) for part in parts]
