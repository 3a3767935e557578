"""What a study came to, in the words that reports, ledgers and screens share."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from scanside.runtime.record import Part, Words

Status = Literal["ok", "indeterminate", "no lesion segmented", "unsuitable input"]
"""What an operator can act on. `no lesion segmented` is not `negative`."""
Chance = Annotated[float, Field(ge=0, le=1)]


class Probability(Part):
    """A calibrated probability with its interval. Never read it without the report's `status`."""

    of: Words = Field(alias="class")
    """The class it is the probability of."""
    value: Chance
    low: Chance
    high: Chance
    calibrated: str
    """How, and on how many patients."""
    predicted: str | None
    """The class named; null when indeterminate."""


class StudyOutcome(Part):
    """What a study came to; the whole is in its result.json."""

    status: Status
    reason: str | None
    """Why it is not ok."""
    probability: Probability | None
    """Null where none may be given."""
    synthetic: bool
    """The model was trained on a phantom, not on patients."""


class FeatureOutcome(Part):
    """A feature of an image."""

    value: float | None
    reason: str | None
    """Why there is no value; null when there is one."""


Features = Mapping[str, FeatureOutcome]
