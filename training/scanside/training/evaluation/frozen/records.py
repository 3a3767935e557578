"""The report's part on a bundle that was judged on patients it was not made from."""

from scanside.training.evaluation.record_parts import Auc, Estimate, Interval, Part


class FrozenModel(Part):
    """A model of the bundle, as it was frozen."""

    name: str
    threshold: float
    band: Interval


class FrozenBundle(Part):
    """The bundle that was judged."""

    name: str
    version: str
    sha256: str
    created: str
    synthetic: bool
    """It was trained on a phantom."""
    models: list[FrozenModel]


class Joined(Part):
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


class Centre(Part):
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


class FeatureDrift(Part):
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


class Drift(Part):
    """Whether new patients look like the training cohort."""

    expected_outside: float
    features: list[FeatureDrift]
    unlike: Estimate
    """Measured patients beyond the accepted distance, Wilson."""
    distance_median: float | None
    """Relative to the accepted distance."""
    covariates_outside: dict[str, int]
    """Covariate → patients outside the training cohort's smallest and largest value."""


class DecisionRow(Part):
    """What became of the results that readers decided on in one way."""

    decision: str
    patients: int
    with_diagnosis: int
    named: int
    right: int
    wrong: int


class Reading(Part):
    """Readers' decisions against pathology."""

    rows: list[DecisionRow]
    wrong_not_accepted: Estimate
    """Part of the wrongly named that no reader accepted though one decided, Wilson."""
    right_not_accepted: Estimate


class Frozen(Part):
    """A bundle judged on patients that it was not made from."""

    bundle: FrozenBundle
    joined: Joined
    site_column: str
    centres: list[Centre]
    drift: Drift
    reading: Reading | None
    """null where no decision is known."""
