"""A table of features with a known signal."""

import csv
from pathlib import Path

import numpy as np
import pytest

FEATURES, PATIENTS = 24, 60


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Features of two segmentations, and labels; some features badly scaled."""
    folder = tmp_path_factory.mktemp("tables")
    random = np.random.default_rng(5)
    y = (np.arange(PATIENTS) % 5 < 3).astype(int)
    scale = 10.0 ** np.resize([-3, 0, 2, 6], FEATURES)
    first = random.standard_normal((PATIENTS, FEATURES))
    first[:, :4] += 1.0 * y[:, None]
    second = first + 0.1 * random.standard_normal(first.shape)
    second[:, 4] = random.standard_normal(PATIENTS)  # not stable
    names = ["original_shape_MeshVolume", *(f"feature_{number}" for number in range(1, FEATURES))]
    found = {}
    for name, values in {"first": first, "second": second}.items():
        rows = [[f"p{i}", *map(repr, map(float, row * scale + 5 * scale))] for i, row in enumerate(values)]
        found[name] = _write(folder / f"{name}.csv", [["id", *names], *rows])
    labels = [[f"p{i}", str(label)] for i, label in enumerate(y)]
    return {**found, "labels": _write(folder / "labels.csv", [["id", "PDAC"], *labels])}


def _write(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path
