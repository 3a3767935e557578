"""Platt's calibration: a sigmoid of two parameters on scores of patients whom the model did not see.

Own, because the fitted classifier must be exactly scaler → linear → sigmoid: then calibration is another slope and
intercept, and the ONNX model has nothing that converts wrongly (isotonic calibration does).
Source: Platt 1999, with his targets; Lin, Lin & Weng 2007.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.special import expit

from scanside.runtime.arrays import Float64

FLATTEST = 1e-3
"""Least slope per standard deviation of the scores: scores that tell nothing give everyone nearly the same
probability, but never one that falls as the score rises."""


@dataclass(frozen=True)
class Sigmoid:
    """p = 1 / (1 + exp(-(slope · score + intercept)))."""

    slope: float
    intercept: float

    def __call__(self, scores: Float64) -> Float64:
        """Probabilities of scores of any shape; NaN stays NaN."""
        return np.asarray(expit(self.slope * scores + self.intercept), dtype=np.float64)

    def after(self, first: "Sigmoid") -> "Sigmoid":
        """This one on the logits of another one's probabilities, as one sigmoid of its scores."""
        return Sigmoid(self.slope * first.slope, self.slope * first.intercept + self.intercept)


def fit_sigmoid(scores: Float64, y: npt.NDArray[np.int_], weights: Float64 | None = None) -> Sigmoid:
    """Fit slope and intercept by weighted maximum likelihood.

    Args:
        scores: (n,) out-of-fold decision values.
        y: (n,), 0 or 1.
        weights: (n,), such as 1 / repeats; they sum to the number of patients.
    """
    weights = np.ones(len(y)) if weights is None else weights
    positives, negatives = float(weights[y == 1].sum()), float(weights[y == 0].sum())
    targets = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    centre, spread = float(np.average(scores, weights=weights)), float(np.std(scores)) or 1.0
    z = (scores - centre) / spread

    def loss(parameters: Float64) -> tuple[float, Float64]:
        eta = parameters[0] * z + parameters[1]
        value = float(weights @ (np.logaddexp(0, eta) - targets * eta))
        slope = weights * (expit(eta) - targets)
        return value, np.array([slope @ z, slope.sum()])

    start = np.array([1.0, np.log((positives + 1) / (negatives + 1))])
    found = optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(FLATTEST, None), (None, None)]
    )
    slope = float(found.x[0]) / spread
    return Sigmoid(slope, float(found.x[1]) - slope * centre)
