"""What the user can choose of a signature: how features are selected, how patients are divided."""

from dataclasses import dataclass, field
from typing import Literal

from scanside.training.signature.icc import Form


@dataclass(frozen=True)
class Selection:
    """How features are chosen.

    Attributes:
        features: How many.
        least_icc: Lower end of the ICC's 95 % interval that a feature must reach.
        icc_form: `1` when repetitions are random perturbations, `A` when the k-th is always the same reader.
        redundancy: |ρ| from which two features count as one.
        presence: Part of the patients that must have a feature. Those without a chosen feature get no probability,
            and they are the ones with small lesions, whose texture cannot be measured.
    """

    features: int = 9
    selector: Literal["mrmr", "lasso"] = "mrmr"
    least_icc: float = 0.75
    icc_form: Form = "1"
    redundancy: float = 0.9
    presence: float = 0.95
    combat: bool = False


@dataclass(frozen=True)
class Scheme:
    """How patients are divided.

    Attributes:
        folds: Outer folds; fewer when a class has fewer patients.
        repeats: How often everything is divided anew.
        inner: Inner folds.
        jobs: Processes.
    """

    folds: int = 5
    repeats: int = 5
    inner: int = 4
    seed: int = 0
    jobs: int = 1


@dataclass(frozen=True)
class Settings:
    """Everything the user can choose of the selection.

    Attributes:
        perturbations: Per training patient.
        canary_runs: Of each canary.
    """

    selection: Selection = field(default_factory=Selection)
    scheme: Scheme = field(default_factory=Scheme)
    perturbations: int = 4
    canary_runs: int = 20
