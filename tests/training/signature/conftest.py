"""Made-up patients: numbers with a known truth, and tiny images on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.training.cohort.table import Patient, write_cohort_table
from scanside.training.experiment import Experiment, start_experiment
from scanside.training.signature.cases import Cases, make_cases

DIAGNOSES = ("PDAC", "PNEN", "PDAC", "SPN")
SPACING = {"t2w": (6.0, 1.0, 1.0), "dwi": (6.0, 2.0, 2.0)}
RECIPE = b"""schema: scanside.radiomics/1
sequences:
  t2w:
    role: t2w
    setting: {binCount: 16, force2D: true, weightingNorm: no_weighting}
    image_types: {Original: {}}
    feature_classes: {shape: [Sphericity, VoxelVolume], firstorder: [Mean, Entropy, Skewness], glcm: [Contrast]}
  adc:
    role: dwi
    setting: {binWidth: 50.0, force2D: true, weightingNorm: no_weighting}
    image_types: {Original: {}}
    feature_classes: {firstorder: [Mean, Variance, 10Percentile]}
"""


@pytest.fixture
def patients() -> Callable[..., tuple[Cases, np.ndarray]]:
    """Draws n patients with p features of which the first `signal` tell the class, measured k times."""

    def draw(
        n: int = 80, p: int = 30, k: int = 3, signal: int = 3, shift: float = 0.8, seed: int = 0
    ) -> tuple[Cases, np.ndarray]:
        random = np.random.default_rng(seed)
        y = np.arange(n) % 2
        values = random.standard_normal((n, p))
        values[:, :signal] += shift * y[:, None]
        measured = values[:, None] + 0.1 * random.standard_normal((n, k, p))
        measured[:, 0] = values
        return make_cases(values, measured), y

    return draw


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Ten tiny patients, the two last for testing, with automatic masks; the fourth's DWI lesion was missed."""
    people = []
    for number in range(10):
        name = f"p{number}"
        diagnosis = DIAGNOSES[number % 4]
        split = "train" if number < 8 else "test"
        people.append(Patient(name, split, diagnosis, 40.0 + number, "MF"[number % 2], "A", 3.0, 20.0))
        _study(tmp_path, name, split, diagnosis == "PDAC", number)
    write_cohort_table(
        tmp_path / "cohort",
        people,
        name="tiny",
        synthetic=True,
        description="Balls in noise.",
        provenance={},
    )
    (tmp_path / "recipe.yaml").write_bytes(RECIPE)
    return start_experiment(tmp_path / "experiment", tmp_path / "cohort", synthetic=True)


def _study(root: Path, name: str, split: str, dark: bool, number: int) -> None:
    random = np.random.default_rng(number)
    for role, sequences in {"t2w": ("t2w",), "dwi": ("dwi", "adc")}.items():
        spacing = SPACING[role]
        shape = (6, 40, 40) if role == "t2w" else (6, 24, 24)
        z, y, x = (np.arange(n) * mm for n, mm in zip(shape, spacing, strict=True))
        radius = 9.0 + number % 3
        distance = np.sqrt((z[:, None, None] - 15) ** 2 + (y[:, None] - y.mean()) ** 2 + (x - x.mean()) ** 2)
        inside = distance < radius
        for sequence in sequences:
            image = 900 + 60 * random.standard_normal(shape) + np.where(inside, 150 if dark else 400, 0)
            _write(root / "cohort" / name / f"{sequence}.nii.gz", image.astype(np.float32), spacing)
        part = "cross-validated" if split == "train" else "test"
        missed = name == "p3" and role == "dwi"
        automatic = (distance < radius - 0.7) & (not missed)
        _write(root / "cohort" / name / f"{role}_mask.nii.gz", inside.astype(np.uint8), spacing)
        _write(
            root / "experiment" / "masks" / part / role / f"{name}.nii.gz",
            automatic.astype(np.uint8),
            spacing,
        )


def _write(path: Path, data: np.ndarray, spacing: tuple[float, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(data)
    image.SetSpacing(spacing[::-1])
    sitk.WriteImage(image, str(path))
