"""The report as data; `scanside schema evaluation` prints its JSON schema.

A number that cannot be computed is null, never NaN; an interval is null where there are too few patients for one.
"""

import math
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "scanside.evaluation/1"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Interval = tuple[float, float]
Curve = list[tuple[float, float]]


class Estimate(_Part):
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


class SegmentationRow(_Part):
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


class BlandAltman(_Part):
    """Agreement of volumes: difference as a part of the mean of both volumes."""

    role: str
    part: str
    patients: int
    bias: float
    limits: Interval
    """bias ± 1.96 SD."""


class AbsentMasks(_Part):
    """Masks that the experiment does not hold; the rows are about the others."""

    role: str
    part: str
    absent: int
    of: int
    patients: list[str]


class Detection(_Part):
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


class LesionFree(_Part):
    """What a segmenter says of patients without a lesion."""

    role: str
    part: str
    patients: int
    clean: int
    """With an empty mask."""
    specificity: Estimate
    """clean / patients, Wilson."""
    false_positives_per_scan: Estimate


class Segmentation(_Part):
    """How good the masks are. Rows and agreement of volumes are about patients with a lesion."""

    rows: list[SegmentationRow]
    bland_altman: list[BlandAltman]
    absent: list[AbsentMasks]
    detection: list[Detection] = []
    lesion_free: list[LesionFree] = []
    """Empty without such patients."""
    without_reference: dict[str, list[str]] = {}
    """Role → patients whom no reader outlined: nothing is said of their masks."""


class Auc(_Part):
    """An area under the ROC curve."""

    patients: int
    positives: int
    value: float | None
    """null with fewer than one patient of a class."""
    delong: Interval | None
    bootstrap: Interval | None
    """Patients drawn within each class."""


class Comparison(_Part):
    """Area of the signature's model minus that of another on the same patients (paired DeLong)."""

    patients: int
    difference: float | None
    interval: Interval | None
    p: float | None


class ReliabilityGroup(_Part):
    """A group of patients with similar probabilities."""

    patients: int
    predicted: float
    observed: float
    interval: Interval | None
    """Wilson."""


class Calibration(_Part):
    """Whether probabilities mean what they say."""

    brier: Estimate
    brier_of_prevalence: float
    slope: Estimate
    """Ideal 1; below 1 the probabilities are too extreme."""
    intercept: Estimate
    in_the_large: Estimate
    """Ideal 0; above 0 the probabilities are too low on the whole."""
    ece: Estimate
    groups: list[ReliabilityGroup]


class Confusion(_Part):
    """Patients at the chosen threshold; rates with Wilson's interval."""

    threshold: float | None
    """null where each model that answered has its own."""
    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    positive_predictive_value: Estimate
    negative_predictive_value: Estimate


class Indeterminate(_Part):
    """What happens when probabilities inside the band name no class."""

    band: Interval | None
    """null where each model that answered has its own."""
    indeterminate: int
    decided: int
    fraction: Estimate
    """Wilson."""
    coverage_positive: Estimate
    """Positive patients not called negative."""
    coverage_negative: Estimate
    """Negative patients not called positive."""
    confusion: Confusion | None
    """Of the decided ones; null when there is none."""
    auc: Auc


class WrongRegions(_Part):
    """Probabilities that were computed from something that is not the reader's lesion."""

    patients: int
    """With a probability."""
    wrong: int
    """In a role of the model that answered the region overlaps the reader's lesion by less than 0.1 of their union."""
    fraction: Estimate
    """Wilson."""


class DecisionCurve(_Part):
    """Net benefit a patient; treating no-one is 0."""

    threshold: list[float]
    model: list[float]
    low: list[float]
    high: list[float]
    treat_all: list[float]


class SubgroupAuc(_Part):
    """The signature's model in a subgroup."""

    property: str
    value: str
    auc: Auc


class DiagnosisAuc(_Part):
    """The positive class against one diagnosis of the others: a pooled area hides the hard one."""

    diagnosis: str
    auc: Auc


class AddedValue(_Part):
    """What images add to clinical data, on patients whom all of the models answer."""

    part: str
    patients: int
    difference: float | None
    """Area of the combined model minus that of clinical data alone."""
    interval: Interval | None
    p: float | None
    """Paired DeLong."""
    likelihood_ratio: float | None
    """Chi-squared, one degree: the radiomics model's logit beside the clinical model's. null where classes separate."""
    likelihood_ratio_p: float | None


class ModelResult(_Part):
    """Probabilities of one model on one part."""

    model: str
    part: str
    main: bool
    """Whether it is what the bundle answers, the others being compared with it."""
    statuses: dict[str, int]
    """Status → patients."""
    without_probability: int
    absent: int
    """Patients of the part with no row at all."""
    auc: Auc
    """Of the patients with a probability."""
    auc_unguarded: Auc
    """With patients unlike the training cohort, whose probability is withheld in use."""
    auc_undecided_as_half: Auc
    """Patients without a probability count as 0.5."""
    auc_undecided_as_wrong: Auc
    """Patients without a probability count as ranked wrongly: the lower bound."""
    against: list[DiagnosisAuc]
    average_precision: Estimate
    prevalence: float | None
    comparison: Comparison | None
    """Main model minus this one; null for the main model."""
    calibration: Calibration | None
    roc: Curve
    precision_recall: Curve
    confusion: Confusion | None
    """Models of the bundle only, as is the next."""
    indeterminate: Indeterminate | None
    wrong_regions: WrongRegions | None
    """null where the signature's step left no regions, and for baselines."""
    decision: DecisionCurve | None
    """Main model only, as is the next."""
    subgroups: list[SubgroupAuc]


class Canary(_Part):
    """The whole selection run where there is nothing to learn: its interval must hold 0.5."""

    name: str
    auc: float
    interval: Interval
    """As the step computed it: 99.9 % unless its record says otherwise, over runs."""
    passed: bool
    runs: int | None = None
    """null where the step did not say."""
    power: dict[str, float] = {}
    """Rise of the AUC by a leak → probability that the canary would have died of it."""
    smallest_leak: float | None = None
    """Rise of the AUC that is found with probability 0.8."""


class MaskAblation(_Part):
    """The whole selection, cross-validated, on other masks of the same training patients."""

    masks: str
    """`automatic`, `reference masks`, or learned on the one and applied to the other."""
    auc: Estimate
    """Mean over the divisions into folds; bootstrap over patients."""
    patients: int
    division_sd: float | None
    """Between divisions into folds, each with a seed of its own: what chance in the folds alone does."""


class LeftOut(_Part):
    """A centre of the training patients, predicted by the whole selection on all others."""

    model: str
    site: str
    patients: int
    auc: Estimate
    """Of its decision values, DeLong's interval."""


class Classification(_Part):
    """How good the probabilities are."""

    main_model: str
    positive: str
    negative: str
    models: list[ModelResult]
    added: list[AddedValue]
    """One a part; empty without clinical data."""
    features: list[str] | None
    selection_path: list[tuple[str, int]] | None
    """Step of the selection → features that survive it."""
    canaries: list[Canary] | None
    """null where the signature's step did not run them."""
    ablation: list[MaskAblation] = []
    """What the segmentation costs; empty where no reader's mask was measured."""
    left_out: list[LeftOut] = []
    """Leave one centre out; empty where the training patients are of one centre."""


class FrozenModel(_Part):
    """A model of the bundle, as it was frozen."""

    name: str
    threshold: float
    band: Interval


class FrozenBundle(_Part):
    """The bundle that was judged."""

    name: str
    version: str
    sha256: str
    created: str
    synthetic: bool
    """It was trained on a phantom."""
    models: list[FrozenModel]


class Joined(_Part):
    """Which cases could be judged."""

    results: int
    """Of this bundle."""
    classified: int
    """With a lesion whose diagnosis is known."""
    lesion_free: int
    pending: list[str]
    """With a result and no diagnosis yet."""
    without_result: list[str]
    """With a diagnosis and no result."""
    other_bundle: list[str]
    """With a result of another bundle: left out."""
    refused: dict[str, int]
    """Code of the reason → studies that were not suitable."""


class Centre(_Part):
    """The bundle at one centre."""

    site: str
    patients: int
    classified: int
    """With a lesion whose diagnosis is known; all of the following but Dice is about them."""
    positives: int
    without_probability: int
    named: int
    """With a class at the frozen threshold and band."""
    auc: Auc
    sensitivity: Estimate
    """Of the named ones, Wilson; as is the next."""
    specificity: Estimate
    unlike: Estimate
    """Measured patients whom the out-of-distribution guard withholds, Wilson."""
    dice: dict[str, Estimate]
    missed: dict[str, int]


class FeatureDrift(_Part):
    """A feature in the new patients, against the percentiles of the training cohort."""

    feature: str
    patients: int
    low: float
    """5th percentile of the training cohort."""
    median: float
    high: float
    """95th."""
    median_now: float | None
    shift: float | None
    """Of the median, as a part of the range from the 5th to the 95th percentile."""
    below: int
    above: int
    outside: Estimate
    """Wilson; 0.1 is expected."""
    drifted: bool
    """The interval of `outside` lies above what is expected."""


class Drift(_Part):
    """Whether new patients look like the training cohort."""

    expected_outside: float
    features: list[FeatureDrift]
    unlike: Estimate
    """Measured patients beyond the accepted distance, Wilson."""
    distance_median: float | None
    """Relative to the accepted distance."""
    covariates_outside: dict[str, int]
    """Covariate → patients outside the training cohort's smallest and largest value."""


class DecisionRow(_Part):
    """What became of the results that readers decided on in one way."""

    decision: str
    patients: int
    with_diagnosis: int
    named: int
    right: int
    wrong: int


class Reading(_Part):
    """Readers' decisions against pathology."""

    rows: list[DecisionRow]
    wrong_not_accepted: Estimate
    """Part of the wrongly named that no reader accepted though one decided, Wilson."""
    right_not_accepted: Estimate


class Frozen(_Part):
    """A bundle judged on patients that it was not made from."""

    bundle: FrozenBundle
    joined: Joined
    site_column: str
    centres: list[Centre]
    drift: Drift
    reading: Reading | None
    """null where no decision is known."""


class Published(_Part):
    """A figure of the study, beside ours."""

    quantity: str
    part: str
    published: float
    ours: Estimate | None
    """null where this experiment has no such figure."""
    patients: int | None
    """Of ours."""


class ChecklistRow(_Part):
    """A row of a reporting checklist."""

    item: str
    """As the checklist numbers it."""
    asks: str
    """What it asks, in our words."""
    state: Literal["met", "not met", "not applicable"]
    artefact: str | None
    """Where it is shown: a file, and what in it."""
    why: str | None
    """Why it is not met or not applicable."""


class Checklist(_Part):
    """A reporting checklist, filled in from this report; no score is made of it."""

    name: str
    met: int
    applicable: int
    rows: list[ChecklistRow]


class Machine(_Part):
    """Where it ran."""

    processor: str
    cores: int
    memory_gib: float | None


class CohortSummary(_Part):
    """Whom it is about."""

    name: str
    synthetic: bool
    sha256: str
    """Of cohort.csv when the experiment began."""
    train: int
    test: int
    diagnoses: dict[str, dict[str, int]]
    """Split → diagnosis → patients."""
    sizes: dict[str, dict[str, int]]
    scanners: dict[str, dict[str, int]]
    held_out_scanners: list[str]


class Report(_Part):
    """`scanside evaluate`."""

    schema_: Literal["scanside.evaluation/1"] = Field(alias="schema")
    notice: str
    synthetic: bool
    warnings: list[str]
    """What a reader must know before reading any number."""
    missing: list[str]
    """Parts of the evaluation that this experiment has no data for."""
    created: str
    command: list[str]
    seed: int
    bootstrap: int
    """Resamples of each interval."""
    seconds: float
    machine: Machine
    versions: dict[str, str]
    cohort: CohortSummary
    published: list[Published]
    segmentation: Segmentation | None
    classification: Classification | None
    frozen: Frozen | None = None
    """null for an experiment."""
    checklists: list[Checklist] = []
    """METRICS, CLEAR and TRIPOD+AI."""
    records: dict[str, Any]
    """Step of the experiment → its record, as the step wrote it."""
    figures: dict[str, str]
    """File in this folder → what it shows."""


def document(report: Report) -> dict[str, Any]:
    """The report as JSON, numbers at the six digits that mean something."""
    rounded: dict[str, Any] = _rounded(report.model_dump(mode="json", by_alias=True))
    return {"schema": rounded["schema"], **rounded}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
