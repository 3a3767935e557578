"""What every part of the report is made of."""

import math
from typing import Self

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen part of the report that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Interval = tuple[float, float]
Curve = list[tuple[float, float]]


class Estimate(Part):
    """A value with its 95 % interval."""

    value: float | None
    interval: Interval | None
    """Percentile bootstrap over patients unless said otherwise."""

    @classmethod
    def of(cls, value: float, interval: Interval | None = None) -> Self:
        """Null for a value that is not finite."""
        if not math.isfinite(value):
            return cls(value=None, interval=None)
        return cls(value=float(value), interval=interval)


class Auc(Part):
    """An area under the ROC curve."""

    patients: int
    positives: int
    value: float | None
    """null with fewer than one patient of a class."""
    delong: Interval | None
    bootstrap: Interval | None
    """Patients drawn within each class."""
