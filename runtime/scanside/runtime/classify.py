"""Signature → probability: the last step of a study.

A probability never stands alone: it comes with its interval, its class or the word indeterminate, and it is absent,
with its reason, where a feature is absent or the patient is unlike the training cohort.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import BackendError, BundleError
from scanside.runtime.extras import install_command
from scanside.runtime.remark import Remark
from scanside.runtime.study_model import Classifier, Knots, StudyModel, Typical

Verdict = Literal["ok", "indeterminate", "unsuitable input"]


@dataclass(frozen=True)
class Probability:
    """A calibrated probability of the positive class.

    Attributes:
        name: The class it is the probability of, such as `PDAC`.
        value: The probability.
        low, high: Interval of the calibration at this value.
        calibrated: How it was calibrated.
        predicted: The class named at the bundle's threshold, or None inside the indeterminate band.
    """

    name: str
    value: float
    low: float
    high: float
    calibrated: str
    predicted: str | None


@dataclass(frozen=True)
class Classification:
    """What the classifier says of a study.

    Attributes:
        model: Name of the bundle's model that answered.
        status: `ok`, `indeterminate`, or `unsuitable input` without a probability.
        reason: Why it is not ok; None when it is.
        probability: None where none may be given.
        distance: Mahalanobis distance from the training cohort, relative to the limit; None without features.
    """

    model: str
    status: Verdict
    reason: str | None
    probability: Probability | None
    distance: float | None


class ClassifierSession:
    """One model of a bundle, opened with ONNX Runtime on the CPU."""

    def __init__(self, bundle: Bundle, model: StudyModel) -> None:
        """Open the model.

        Raises:
            BundleError: If its classifier does not take the model's inputs.
            BackendError: If ONNX Runtime is not installed or refuses the file.
        """
        self.model = model
        self.record: Classifier = model.classifier
        self._session = _open(bundle.read(self.record.file))
        self._check(bundle)

    def classify(self, inputs: Mapping[str, float | None]) -> Classification:
        """Classify one patient.

        Args:
            inputs: Value of each feature and covariate of the model; None where there is none.
        """
        values = [inputs.get(name) for name in self.model.inputs]
        absent = [name for name, value in zip(self.model.inputs, values, strict=True) if value is None]
        if absent:
            more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            reason = Remark(f"The signature lacks {absent[0]}{more}.", "input-absent")
            return Classification(self.model.name, "unsuitable input", reason, None, None)
        row = np.array(values, dtype=np.float64)
        distance = float(relative_distances(self.record.typical, row[None])[0])
        if not distance <= 1:
            words = (
                f"The features are unlike the training cohort ({distance:.1f} times the accepted distance), "
                "so no probability is given."
            )
            reason = Remark(words, "unlike-training")
            return Classification(self.model.name, "unsuitable input", reason, None, distance)
        return self._judge(self.probability(row), distance)

    def probability(self, row: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
        """Probability of the positive class for one row (n,) float64, without any guard.

        Raises:
            BackendError: If the classifier returns no probability.
        """
        output = self._session.run(["probabilities"], {"features": row[None]})[0]
        value = float(np.asarray(output)[0, 1])
        if not 0 <= value <= 1:
            raise BackendError(
                f"The classifier returned {value}, which is no probability; export the bundle again."
            )
        return value

    def _judge(self, value: float, distance: float) -> Classification:
        record = self.record
        low, high = (
            float(np.interp(value, record.band.value, ends)) for ends in (record.band.low, record.band.high)
        )
        below, above = record.indeterminate
        inside = below < value < above
        predicted = None if inside else record.positive if value >= record.threshold else record.negative
        probability = Probability(record.positive, value, low, high, record.calibration, predicted)
        if not inside:
            return Classification(self.model.name, "ok", None, probability, distance)
        words = (
            f"The probability lies in the indeterminate band {below:.2f} to {above:.2f}; no class is named."
        )
        reason = Remark(words, "indeterminate-band")
        return Classification(self.model.name, "indeterminate", reason, probability, distance)

    def _check(self, bundle: Bundle) -> None:
        inputs = [(i.name, i.type, list(i.shape)[1:]) for i in self._session.get_inputs()]
        outputs = [o.name for o in self._session.get_outputs()]
        if (
            inputs != [("features", "tensor(double)", [len(self.model.inputs)])]
            or "probabilities" not in outputs
        ):
            raise BundleError(
                f"Classifier {self.record.file} of bundle {bundle.path} does not take the "
                f"{len(self.model.inputs)} inputs of its model; export the bundle again."
            )


def relative_distances(typical: Typical, rows: Float64) -> Float64:
    """Distance of patients (n, p) from the training cohort over the limit, (n,); NaN where an input is absent."""
    away = on_scale(typical.knots, rows) - np.array(typical.centre)
    squared = np.einsum("ij,jk,ik->i", away, np.array(typical.precision), away)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)) / typical.limit)


def on_scale(knots: Sequence[Knots] | None, rows: Float64) -> Float64:
    """Inputs (n, p) on the scale of their knots; as they are without any."""
    if knots is None:
        return rows
    return np.stack([_bent(one, column) for one, column in zip(knots, rows.T, strict=True)], axis=1)


def _bent(knots: Knots, column: Float64) -> Float64:
    """Linear between the knots and, as between the two outermost ones, beyond them."""
    values, scores = np.array(knots.values), np.array(knots.scores)
    below = scores[0] + (column - values[0]) * (scores[1] - scores[0]) / (values[1] - values[0])
    above = scores[-1] + (column - values[-1]) * (scores[-1] - scores[-2]) / (values[-1] - values[-2])
    inner = np.interp(column, values, scores)
    return np.where(column < values[0], below, np.where(column > values[-1], above, inner))


def _open(model: bytes) -> Any:
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise BackendError(
            f"The classifier needs ONNX Runtime, which is not installed; run: {install_command('cpu')}."
        ) from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # nine numbers; also bit-identical on every machine
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own that derive from nothing narrower
        raise BackendError(f"ONNX Runtime refuses the classifier ({str(error).splitlines()[0]}).") from error
