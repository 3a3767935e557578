"""The report as data; `scanside schema evaluation` prints its JSON schema.

A number that cannot be computed is null, never NaN; an interval is null where there are too few patients for one.
"""

import math
from typing import Any, Literal

from pydantic import Field

from scanside.training.evaluation.frozen.records import Frozen
from scanside.training.evaluation.record_parts import Auc, Curve, Estimate, Interval, Part
from scanside.training.evaluation.records_segmentation import Segmentation

SCHEMA = "scanside.evaluation/1"


class Comparison(Part):
    """Area of the signature's model minus that of another on the same patients (paired DeLong)."""

    patients: int
    difference: float | None
    interval: Interval | None
    p: float | None


class ReliabilityGroup(Part):
    """A group of patients with similar probabilities."""

    patients: int
    predicted: float
    observed: float
    interval: Interval | None
    """Wilson."""


class Calibration(Part):
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


class Confusion(Part):
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


class Indeterminate(Part):
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


class WrongRegions(Part):
    """Probabilities that were computed from something that is not the reader's lesion."""

    patients: int
    """With a probability."""
    wrong: int
    """In a role of the model that answered the region overlaps the reader's lesion by less than 0.1 of their union."""
    fraction: Estimate
    """Wilson."""


class DecisionCurve(Part):
    """Net benefit a patient; treating no-one is 0."""

    threshold: list[float]
    model: list[float]
    low: list[float]
    high: list[float]
    treat_all: list[float]


class SubgroupAuc(Part):
    """The signature's model in a subgroup."""

    property: str
    value: str
    auc: Auc


class DiagnosisAuc(Part):
    """The positive class against one diagnosis of the others: a pooled area hides the hard one."""

    diagnosis: str
    auc: Auc


class AddedValue(Part):
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


class ModelResult(Part):
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


class Canary(Part):
    """The whole selection run where there is nothing to learn: its interval must hold 0.5."""

    name: str
    auc: float
    interval: Interval
    """As the step computed it: 99.9 % unless its record says otherwise, over runs."""
    passed: bool
    runs: int | None = None
    """null where the step did not say."""
    power: dict[str, float] = Field(default_factory=dict)
    """Rise of the AUC by a leak → probability that the canary would have died of it."""
    smallest_leak: float | None = None
    """Rise of the AUC that is found with probability 0.8."""


class MaskAblation(Part):
    """The whole selection, cross-validated, on other masks of the same training patients."""

    masks: str
    """`automatic`, `reference masks`, or learned on the one and applied to the other."""
    auc: Estimate
    """Mean over the divisions into folds; bootstrap over patients."""
    patients: int
    division_sd: float | None
    """Between divisions into folds, each with a seed of its own: what chance in the folds alone does."""


class LeftOut(Part):
    """A centre of the training patients, predicted by the whole selection on all others."""

    model: str
    site: str
    patients: int
    auc: Estimate
    """Of its decision values, DeLong's interval."""


class Classification(Part):
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
    ablation: list[MaskAblation] = Field(default_factory=list)
    """What the segmentation costs; empty where no reader's mask was measured."""
    left_out: list[LeftOut] = Field(default_factory=list)
    """Leave one centre out; empty where the training patients are of one centre."""


class Published(Part):
    """A figure of the study, beside ours."""

    quantity: str
    part: str
    published: float
    ours: Estimate | None
    """null where this experiment has no such figure."""
    patients: int | None
    """Of ours."""


class ChecklistRow(Part):
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


class Checklist(Part):
    """A reporting checklist, filled in from this report; no score is made of it."""

    name: str
    met: int
    applicable: int
    rows: list[ChecklistRow]


class Machine(Part):
    """Where it ran."""

    processor: str
    cores: int
    memory_gib: float | None


class CohortSummary(Part):
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


class Report(Part):
    """What `scanside evaluate` found: segmentation, classification, and how both were measured."""

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
    checklists: list[Checklist] = Field(default_factory=list)
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
