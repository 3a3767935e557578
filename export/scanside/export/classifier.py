"""A fitted scikit-learn classifier → ONNX in double, and the gate: equal probabilities, or nothing.

Only what converts exactly is accepted: a scaler and a logistic regression (a linear SVM with a sigmoid on its score is
one, too). skl2onnx converts other things without a word and wrongly: isotonic calibration, LDA, PowerTransformer.
"""

from typing import Any

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.runtime.errors import BundleError

INPUT, PROBABILITIES = "features", "probabilities"
TOLERANCE = 1e-6
"""Largest |Δp| between scikit-learn and ONNX Runtime; what is exported so reaches about 1e-16."""
OPSET, ML_OPSET, IR_VERSION = 18, 3, 9
"""What ONNX Runtime 1.20 and everything since runs."""


def to_onnx(pipeline: Any, n: int) -> bytes:
    """Convert a fitted Pipeline of StandardScaler and LogisticRegression.

    Args:
        n: Number of features.

    Returns:
        A model with the input `features` (N, n) float64 and the output `probabilities` (N, 2) float64.

    Raises:
        BundleError: If the pipeline holds anything else, or skl2onnx refuses it.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType
    from sklearn.linear_model import LogisticRegression

    kinds = [type(step).__name__ for _, step in pipeline.steps]
    if kinds != ["StandardScaler", LogisticRegression.__name__]:
        raise BundleError(
            f"A classifier of {' and '.join(kinds)} is not exported, because it may convert wrongly; "
            "give a StandardScaler and a LogisticRegression."
        )
    try:
        model = convert_sklearn(
            pipeline,
            name="classifier",
            initial_types=[(INPUT, DoubleTensorType([None, n]))],
            options={id(pipeline): {"zipmap": False}},
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
        )
    except Exception as error:  # skl2onnx raises classes of its own without a common base
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(
            f"skl2onnx cannot convert the classifier ({reason}); train it with another version."
        ) from error
    model.ir_version = min(model.ir_version, IR_VERSION)
    return bytes(model.SerializeToString())


def probabilities(model: bytes, rows: Float64) -> Float64:
    """What ONNX Runtime says: (N, 2) float64.

    Raises:
        BundleError: If it refuses the model, or the model is not in double.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        output = session.run([PROBABILITIES], {INPUT: rows})[0]
    except Exception as error:  # ONNX Runtime raises classes of its own that derive from nothing narrower
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"ONNX Runtime refuses the classifier ({reason}); train it again.") from error
    found = np.asarray(output)
    if found.dtype != np.float64 or found.shape != (len(rows), 2):
        raise BundleError(
            f"The exported classifier returns {found.dtype} of shape {found.shape}, not float64 of shape "
            f"({len(rows)}, 2); use another version of skl2onnx."
        )
    return found


def require_parity(model: bytes, pipeline: Any, rows: Float64) -> float:
    """See that ONNX Runtime and scikit-learn agree, on the rows and on extreme ones made of them.

    Args:
        rows: (N, n) float64, such as the training set.

    Returns:
        The largest |Δp|.

    Raises:
        BundleError: If they differ by more than `TOLERANCE` anywhere.
    """
    checked = np.concatenate([rows, extreme_rows(rows)])
    expected = pipeline.predict_proba(checked)
    difference = float(np.abs(probabilities(model, checked) - expected).max())
    if not difference <= TOLERANCE:
        raise BundleError(
            f"The exported classifier differs from scikit-learn's by {difference:.2g} in probability, above "
            f"{TOLERANCE:g}; nothing is exported, use another version of skl2onnx."
        )
    return difference


def extreme_rows(rows: Float64) -> Float64:
    """Rows far outside of the cohort: each feature alone 1000 spreads away, all zero, and everything scaled."""
    middle, spread = np.median(rows, axis=0), rows.std(axis=0)
    alone = np.concatenate(
        [middle + sign * 10.0**power * np.diag(spread) for sign in (-1, 1) for power in (0, 1, 3)]
    )
    scaled = np.concatenate([rows * factor for factor in (-1.0, 1e-6, 1e3)])
    return np.concatenate([alone, scaled, np.zeros((1, rows.shape[1])), np.full((1, rows.shape[1]), 1e9)])
