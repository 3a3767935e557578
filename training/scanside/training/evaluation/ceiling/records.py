"""ceiling.json; `scanside schema ceiling` prints its JSON schema."""

from typing import Literal

from pydantic import Field

from scanside.runtime.record import Document, Part
from scanside.training.evaluation.record_parts import Estimate

SCHEMA = "scanside.ceiling/1"


class LesionCeiling(Part):
    """One lesion on one sequence; Dice and shares from 0 to 1."""

    patient: str
    role: str
    diagnosis: str
    lesion_mm: float
    voxels: int
    contrast: float
    """Of lesion mean and surroundings, in standard deviations of the surroundings (2 to 10 mm)."""
    noise_contrast: float
    """Root mean square of what the lesion changes in its voxels, over the noise; of the sequences' images together."""
    d_prime: float
    """Detectability of the exactly known lesion in noise alone."""
    blind: float
    """Dice of the best mask before anything is seen."""
    grid: float
    """Dice of the reader's mask with itself, after the way to the network's spacing and back."""
    template_right: float
    """How often the observer that lacks the position alone names the right place."""
    template: float
    """Its Dice."""
    outline: float
    """Dice of the observer that knows the body and the lesion's tissue, not its shape."""
    clutter_right: float
    """How often the linear observer that does not know the anatomy names the right place."""
    clutter: float
    """Its Dice."""
    reached: float | None
    """Dice of the automatic mask; null where none was given."""
    missed: bool | None
    """Whether the automatic mask misses the lesion."""


class Stratum(Part):
    """Means over some lesions of a sequence; intervals by percentile bootstrap over patients."""

    role: str
    name: str
    patients: int
    reached: Estimate | None
    missed: int | None
    blind: float
    grid: Estimate
    template: Estimate
    outline: Estimate
    clutter: Estimate
    template_right: float
    outline_below: int
    """Lesions whose outline observer stays below the reached mask; 0 where none was given."""
    clutter_right: Estimate
    d_prime_lowest: float
    d_prime_median: float


class Together(Part):
    """Patients by how many of the sequences show the lesion in the right place: both, one, none."""

    who: Literal["template", "clutter", "segmenters"]
    both: int
    one: int
    none: int


class FoundBySegmenters(Part):
    """Of the lesions of a sequence that the segmenters missed: how many each observer places right (in most draws)."""

    role: str
    missed: int
    template: int
    clutter: int


class Oracle(Part):
    """Area under the ROC curve of the lesions' true parameters on test patients, fitted on the training patients."""

    train: int
    test: int
    auc: float
    delong: tuple[float, float] | None


class Ceiling(Document):
    """What an observer that knows the phantom could reach, beside what was reached."""

    schema_: Literal["scanside.ceiling/1"] = Field(default="scanside.ceiling/1", alias="schema")
    notice: str
    synthetic: Literal[True] = True
    created: str
    command: list[str]
    phantom_version: int
    seed: int
    patients: int
    train: int
    draws: int
    """Draws of noise per lesion and observer."""
    network_mm: dict[str, tuple[float, float, float]]
    """Spacing (Z, Y, X) of the network of each sequence."""
    versions: dict[str, str]
    strata: list[Stratum]
    together: list[Together]
    missed: list[FoundBySegmenters]
    oracle: Oracle | None
    """null where training or test patients are all of one class."""
    lesions: list[LesionCeiling]
