"""What is asked before anything is changed, and what is answered. Records; no widget is known here."""

from dataclasses import dataclass
from enum import StrEnum


class Need(StrEnum):
    """Whether a reason is given with the answer."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        title: The question.
        lines: What is judged, and what will happen then; a paragraph each.
        warnings: What speaks against it.
        button: The word of consent.
        need: Whether a reason may or has to be given.
    """

    title: str
    lines: tuple[str, ...]
    warnings: tuple[str, ...]
    button: str
    need: Need = Need.NONE


@dataclass(frozen=True)
class Answer:
    """Yes, with a reason or None."""

    reason: str | None = None
