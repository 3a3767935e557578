"""An earlier result of the same patient, as a report puts it beside the one that it reports."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class Size:
    """The lesion that was measured in a segmenter's mask.

    Attributes:
        volume_ml, longest_diameter_mm: None where no lesion was segmented, which is not a negative finding.
    """

    role: str
    volume_ml: float | None
    longest_diameter_mm: float | None


@dataclass(frozen=True)
class Prior:
    """What was measured then, and when.

    Attributes:
        day: Of the study.
        sizes: One for each segmenter.
        algorithm: Name and version of the bundle.
        same_algorithm: Whether it was this very bundle: sizes of two are not one series of measurements.
        archive: Name of the archive whose report states it; None where this appliance computed it.
    """

    day: date
    sizes: tuple[Size, ...]
    algorithm: str
    same_algorithm: bool
    archive: str | None = None


def size_words(size: Size) -> str:
    """As `10.10 ml, 28 mm`."""
    if size.volume_ml is None or size.longest_diameter_mm is None:
        return "no lesion segmented"
    return f"{size.volume_ml:.2f} ml, {size.longest_diameter_mm:.0f} mm"
