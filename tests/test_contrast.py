"""The contrast of a lesion, as docs/measure_contrast.py measures it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_contrast", ROOT / "docs" / "measure_contrast.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("sign", [-1, 1])
def test_contrast_is_counted_in_deviations_of_the_surroundings_alone(script: ModuleType, sign: int) -> None:
    random = np.random.default_rng(1)
    image = random.normal(100, 10, (12, 40, 40)).astype(np.float32)
    image[:, :8] = 5000  # farther away than the surroundings reach
    lesion = np.zeros(image.shape, bool)
    lesion[5:7, 18:24, 18:24] = True
    image[lesion] += sign * 30
    assert script.contrast(image, lesion, (2.0, 1.0, 1.0)) == pytest.approx(3.0, abs=0.4)


def test_every_patient_is_in_one_stratum_of_each_kind(script: ModuleType) -> None:
    rows = [
        {"contrast": c, "diagnosis": d, "lesion_mm": mm, "dice": 0.5}
        for c, d, mm in ((0.0, "PDAC", 10.0), (1.0, "SPN", 20.0), (2.9, "SPN", 40.0), (7.0, "PDAC", 41.0))
    ]
    found = script.strata(rows)
    assert {name: len(members) for name, members in found.items()} == {
        "all": 4,
        "contrast 0 to 1": 1,
        "contrast 1 to 2": 1,
        "contrast 2 to 3": 1,
        "contrast from 3": 1,
        "PDAC": 2,
        "SPN": 2,
        "< 20 mm": 1,
        "20–40 mm": 2,
        "> 40 mm": 1,
    }
    assert script.summary("x", [0.0, 1.0])["zero"] == 1
