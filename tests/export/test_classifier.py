"""Classifier → ONNX: equal in double, on badly scaled features too, and nothing else gets out."""

import numpy as np
import onnx
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler

from scanside.export.classifier import (
    INPUT,
    PROBABILITIES,
    extreme_rows,
    probabilities,
    require_parity,
    to_onnx,
)
from scanside.runtime.errors import BundleError
from tests.support.sentences import assert_one_sentence


def _rows(features: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """From thousandths to millions, one with a large offset."""
    random = np.random.default_rng(0)
    y = np.arange(165) % 2
    rows = (random.standard_normal((165, features)) + 0.5 * y[:, None]) * 10.0 ** np.linspace(-3, 6, features)
    rows[:, 0] += 1e4
    return rows, y


def _fitted(classifier: object, scaler: object | None = None) -> tuple[Pipeline, np.ndarray]:
    rows, y = _rows()
    pipeline = Pipeline([("scale", scaler or StandardScaler()), ("classify", classifier)])
    return pipeline.fit(rows, y), rows


def test_equal_in_double_on_badly_scaled_and_extreme_rows() -> None:
    pipeline, rows = _fitted(LogisticRegression(C=10))
    model = to_onnx(pipeline, 9)
    assert require_parity(model, pipeline, rows) < 1e-12
    checked = np.concatenate([rows, extreme_rows(rows)])
    assert np.abs(probabilities(model, checked) - pipeline.predict_proba(checked)).max() < 1e-12
    assert np.abs(extreme_rows(rows)).max() >= 1e9


@pytest.mark.parametrize("features", [1, 2, 20])
def test_any_number_of_features(features: int) -> None:
    rows, y = _rows(features)
    pipeline = Pipeline([("a", StandardScaler()), ("b", LogisticRegression())]).fit(rows, y)
    assert require_parity(to_onnx(pipeline, features), pipeline, rows) < 1e-12


def test_the_model_is_what_the_bundle_promises() -> None:
    pipeline, rows = _fitted(LogisticRegression())
    model = onnx.load_from_string(to_onnx(pipeline, 9))
    onnx.checker.check_model(model)
    (features,) = model.graph.input
    assert features.name == INPUT
    assert features.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
    assert PROBABILITIES in [output.name for output in model.graph.output]
    assert {entry.domain: entry.version for entry in model.opset_import}[""] <= 21
    assert model.ir_version <= 10  # ONNX Runtime 1.20
    assert probabilities(model.SerializeToString(), rows[:1]).shape == (1, 2)


def test_the_same_classifier_gives_the_same_bytes() -> None:
    assert to_onnx(_fitted(LogisticRegression())[0], 9) == to_onnx(_fitted(LogisticRegression())[0], 9)


@pytest.mark.parametrize(
    ("classifier", "scaler"),
    [
        (CalibratedClassifierCV(LogisticRegression(), method="isotonic"), None),
        (LogisticRegression(), PowerTransformer()),
    ],
)
def test_what_converts_wrongly_is_refused(classifier: object, scaler: object | None) -> None:
    pipeline, _ = _fitted(classifier, scaler)
    with pytest.raises(BundleError, match="may convert wrongly") as error:
        to_onnx(pipeline, 9)
    assert_one_sentence(str(error.value), "StandardScaler")


def test_the_gate_closes_on_another_classifier() -> None:
    pipeline, rows = _fitted(LogisticRegression())
    other, _ = _fitted(LogisticRegression(C=0.5))
    with pytest.raises(BundleError, match="differs from scikit-learn's") as error:
        require_parity(to_onnx(other, 9), pipeline, rows)
    assert_one_sentence(str(error.value))


def test_a_damaged_model_is_refused() -> None:
    with pytest.raises(BundleError) as error:
        probabilities(b"not a model", np.zeros((1, 9)))
    assert_one_sentence(str(error.value))
