"""The deployed classifier is exactly the winner's score through the sigmoid, whatever the family."""

import numpy as np
import pytest

from scanside.export.classifier import require_parity, to_onnx
from scanside.training.classifier.fit import calibrate, deploy
from scanside.training.signature.cases import BESIDE, make_cases
from scanside.training.signature.nested import cross_validate
from scanside.training.signature.pipeline import FAMILIES, Model, build, candidates
from scanside.training.signature.settings import Scheme, Selection

SCHEME = Scheme(folds=3, repeats=2, inner=2)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        *(("radiomics", family) for family in FAMILIES),
        ("combined", "linear svm"),
        ("clinical", "logistic l2"),
    ],
)
def test_scaler_linear_sigmoid(name: str, family: str) -> None:
    random = np.random.default_rng(0)
    y = np.arange(60) % 2
    values = (random.standard_normal((60, 12)) + 0.8 * y[:, None]) * 10.0 ** np.resize([-3, 0, 5], 12)
    beside = random.standard_normal((60, len(BESIDE))) * 10 + 50
    cases = make_cases(values, values[:, None], beside)
    cases["values"][3, 2] = np.nan
    selection = Selection(features=3)
    model = {
        "radiomics": Model("radiomics", selection),
        "combined": Model("combined", selection, beside=("age", "sex")),
        "clinical": Model("clinical", radiomics=False, beside=("age", "sex")),
    }[name]
    own = candidates((family,))
    outcome = cross_validate(cases, y, np.ones(60, bool), model, own, SCHEME)
    sigmoid = calibrate(outcome, family, y)
    found = deploy(cases, y, model, (2, 7, 5), own, sigmoid, SCHEME)

    fixed = Model(
        name, selection, model.radiomics, model.beside, given=(2, 7, 5) if model.radiomics else None
    )
    peer = build(fixed, found.candidate).fit(cases, y)
    expected = found.sigmoid(peer.decision_function(cases))
    assert found.probability(cases) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    absent = model.radiomics
    assert np.flatnonzero(np.isnan(expected)).tolist() == ([3] if absent else [])
    assert len(found.rows) == 60 - absent
    assert found.dropped == int(absent)
    width = 3 * model.radiomics + len(model.beside)
    assert require_parity(to_onnx(found.pipeline, width), found.pipeline, found.rows) < 1e-12
