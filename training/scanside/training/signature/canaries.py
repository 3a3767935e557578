"""Leakage canaries: where there is nothing to learn, an honest procedure says AUC 0.5.

Two cohorts are made of the real one: labels permuted among the patients, and features replaced by stable noise. The
whole procedure, selection included, runs on several of each. Were a single step fitted outside the folds, the mean AUC
would rise (selecting 9 of 3200 noise features on all 165 patients gives 0.83) and the step fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from scanside.runtime.errors import CaseError
from scanside.training.signature.cases import Cases, keep
from scanside.training.signature.nested import Labels

LEVEL = 0.999
"""Of the intervals: two honest canaries die once in 500 cohorts. Which leak kills depends on the runs' spread: on
165 patients and 20 runs one worth 0.05 is found in 12 to 24 % of cohorts. The report says it (evaluation/power.py)."""
Procedure = Callable[[Cases, Labels, int], float]
"""(patients, labels, seed) → mean AUC within the outer folds."""


@dataclass(frozen=True)
class Canary:
    """One kind of emptiness.

    Attributes:
        name: `permuted labels` or `noise features`.
        auc: Mean over the runs.
        low, high: 99.9 % interval of that mean (Student's t over the runs).
        runs: AUC of each run.
    """

    name: str
    auc: float
    low: float
    high: float
    runs: tuple[float, ...]

    @property
    def alive(self) -> bool:
        """Whether the interval covers 0.5."""
        return self.low <= 0.5 <= self.high


def run_canaries(
    procedure: Procedure,
    cases: Cases,
    y: Labels,
    seed: int,
    runs: int = 10,
    listener: Callable[[], None] = lambda: None,
) -> tuple[Canary, Canary]:
    """Run the procedure where there is nothing to learn.

    Args:
        cases, y: The real patients who can enter a fit.
        listener: Called after every run.
    """
    random = np.random.default_rng([seed, 0xCA])
    found: dict[str, list[float]] = {"permuted labels": [], "noise features": []}
    for run in range(runs):
        found["permuted labels"].append(procedure(cases, random.permutation(y), seed + run))
        listener()
        found["noise features"].append(procedure(noise_like(cases, random), y, seed + run))
        listener()
    permuted, noise = (_canary(name, values) for name, values in found.items())
    return permuted, noise


def require_alive(canaries: Sequence[Canary]) -> None:
    """See that every canary lives.

    Raises:
        CaseError: If one does not: an estimate made by this procedure would be worth nothing.
    """
    for canary in canaries:
        if not canary.alive:
            raise CaseError(
                f"The leakage canary with {canary.name} gives AUC {canary.auc:.2f} ({canary.low:.2f} to "
                f"{canary.high:.2f}) where it must be 0.5: information leaks between folds, so nothing is written; "
                "look for a step that is fitted outside the folds, or for the same patient under two ids."
            )


def noise_like(cases: Cases, random: np.random.Generator, disagreement: float = 0.1) -> Cases:
    """The same patients with Gaussian noise as features, hardly different between repetitions (so that it is stable).

    What is absent stays absent; what stands beside the features is shuffled.
    """
    noise = keep(cases, np.arange(cases["values"].shape[1], dtype=np.intp))
    values = random.standard_normal(cases["values"].shape)
    measured: npt.NDArray[np.float64] = values[:, None] + disagreement * random.standard_normal(
        cases["measured"].shape
    )
    measured[:, 0] = values
    noise["values"] = np.where(np.isnan(cases["values"]), np.nan, values)
    noise["measured"] = np.where(np.isnan(cases["measured"]), np.nan, measured)
    noise["beside"] = random.permutation(cases["beside"])
    return noise


def _canary(name: str, runs: Sequence[float]) -> Canary:
    mean = float(np.mean(runs))
    error = max(float(np.std(runs, ddof=1) / np.sqrt(len(runs))), 1e-3)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(runs) - 1)) * error
    return Canary(name, mean, mean - half, mean + half, tuple(runs))
