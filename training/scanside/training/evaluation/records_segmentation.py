"""The report's part on masks."""

from typing import Literal

from pydantic import Field

from scanside.training.evaluation.record_parts import Curve, Estimate, Interval, Part


class SegmentationRow(Part):
    """Masks of some patients against their reference; definitions in docs/metrics.md."""

    role: str
    part: str
    scanners: Literal["all", "known", "held-out"]
    """Of the test part: scanners that occur in training, or do not."""
    size: str
    """`all` or a stratum of the lesion's longest diameter."""
    patients: int
    empty: int
    """Patients whose automatic mask is empty."""
    missed: int
    """Patients none of whose lesions was found."""
    dice: Estimate
    dice_sd: float | None
    dice_quartiles: tuple[float, float, float]
    nsd: dict[str, Estimate]
    """Surface Dice at a tolerance in mm."""
    hd95_mm: Estimate
    """Mean; an empty mask counts with the image's diagonal."""
    hd95_median_mm: float
    hd95_segmented_mm: Estimate
    """Mean over the patients with a mask that is not empty."""
    masd_mm: Estimate
    volume_error_ml: Estimate
    """Automatic minus reference."""
    absolute_volume_error_ml: Estimate
    relative_volume_error: Estimate
    absolute_relative_volume_error: Estimate
    volume_rmse_ml: Estimate | None = None
    """Root mean square of the volume errors."""
    lesions: int
    sensitivity: Estimate
    """Lesions found / lesions."""
    false_positives_per_scan: Estimate


class BlandAltman(Part):
    """Agreement of volumes: difference as a part of the mean of both volumes."""

    role: str
    part: str
    patients: int
    bias: float
    limits: Interval
    """bias ± 1.96 SD."""


class AbsentMasks(Part):
    """Masks that the experiment does not hold; the rows are about the others."""

    role: str
    part: str
    absent: int
    of: int
    patients: list[str]


class Detection(Part):
    """The free-response curve of one role and part."""

    role: str
    part: str
    patients: int
    """With those who have no lesion."""
    lesions: int
    score: str
    """What ranks the candidates."""
    average_precision: Estimate
    sensitivity_at: dict[str, Estimate]
    """False positives a scan → largest sensitivity at no more of them."""
    curve: Curve
    """False positives a scan, sensitivity; from the largest candidate to the smallest."""


class LesionFree(Part):
    """What a segmenter says of patients without a lesion."""

    role: str
    part: str
    patients: int
    clean: int
    """With an empty mask."""
    specificity: Estimate
    """clean / patients, Wilson."""
    false_positives_per_scan: Estimate


class FusedRow(Part):
    """Dice of the same patients with and without the other sequence's probabilities (`train fusion`)."""

    role: str
    part: str
    size: str
    """`all` or a stratum of the lesion's longest diameter."""
    patients: int
    missed_alone: int
    """Patients none of whose lesions the segmenter finds alone."""
    missed_together: int
    alone: Estimate
    together: Estimate
    difference: Estimate
    """Together minus alone, patient by patient."""


class Segmentation(Part):
    """How good the masks are. Rows and agreement of volumes are about patients with a lesion."""

    rows: list[SegmentationRow]
    bland_altman: list[BlandAltman]
    absent: list[AbsentMasks]
    detection: list[Detection] = Field(default_factory=list)
    lesion_free: list[LesionFree] = Field(default_factory=list)
    """Empty without such patients."""
    fused: list[FusedRow] = Field(default_factory=list)
    """Of roles whose masks are decided together with another sequence."""
    without_reference: dict[str, list[str]] = Field(default_factory=dict)
    """Role → patients whom no reader outlined: nothing is said of their masks."""
