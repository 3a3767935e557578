"""What an experiment folder holds for a bundle: read and checked before anything is written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.export.experiment_files import (
    CLASSIFIER,
    EXPERIMENT,
    FUSION,
    ClassifierDocument,
    ExperimentDocument,
    FusionDocument,
    read_file,
)
from scanside.runtime.bundle import Bundle, open_bundle, verify
from scanside.runtime.errors import InputError
from scanside.runtime.manifest import Agreement, Fusion
from scanside.runtime.study_model import StudyModel

FOLDER = "classifiers"
"""Folder of a bundle's classifiers."""


@dataclass(frozen=True, eq=False)
class StudyParts:
    """The parts of a study's bundle.

    Attributes:
        experiment: Which cohort it is of.
        segmenters: Role → verified bundle of that segmenter.
        radiomics: radiomics.yaml.
        agreement: How the lesion of each sequence is chosen.
        fusions: Which masks are decided together with another sequence's probabilities.
        models: In the order in which they are asked.
        report: The evaluation's report.json, where there is one.
    """

    path: Path
    experiment: ExperimentDocument
    segmenters: Mapping[str, Bundle]
    radiomics: bytes
    agreement: Agreement | None
    fusions: tuple[Fusion, ...]
    models: tuple["ModelParts", ...]
    report: Mapping[str, Any] | None


@dataclass(frozen=True, eq=False)
class ModelParts:
    """One model.

    Attributes:
        record: Its entry in the manifest; the path of its file is the bundle's.
        onnx: The classifier's network.
        reference: What `scanside train classifier` kept of scikit-learn's model, to be compared with.
    """

    record: StudyModel
    onnx: bytes
    reference: "Reference"


@dataclass(frozen=True, eq=False)
class Reference:
    """scikit-learn's model in numbers (classifier/<model>.npz).

    Attributes:
        features, probabilities: Inputs of training patients (N, n) and what `predict_proba` gave for them (N,).
        mean, scale: Of the standardisation (n,).
        weights, intercept: Of the calibrated logit of the standardised features, (n,) and a number.
    """

    features: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64]

    def probability(self, row: npt.NDArray[np.float64]) -> float:
        """Probability of the positive class for inputs (n,)."""
        return float(1 / (1 + np.exp(-(self.weights @ ((row - self.mean) / self.scale) + self.intercept))))


def read_parts(path: Path) -> StudyParts:
    """Read an experiment folder.

    Raises:
        InputError: Naming the part that is missing or damaged, and the command that makes it.
        BundleError: If a segmenter's bundle is damaged.
    """
    experiment = read_file(
        path / EXPERIMENT, ExperimentDocument, "scanside train segment COHORT -o EXPERIMENT"
    )
    bundles = sorted(path.glob("segmentation/*/bundle"))
    if not bundles:
        raise InputError(f"{path} holds no segmenter; run `scanside train segment` for each role first.")
    segmenters = {folder.parent.name: open_bundle(folder) for folder in bundles}
    for bundle in segmenters.values():
        verify(bundle)
    step = "scanside train classifier EXPERIMENT"
    agreement, models = _models(path / "classifier", step)
    report = path / "evaluation" / "report.json"
    return StudyParts(
        path=path,
        experiment=experiment,
        segmenters=segmenters,
        radiomics=_bytes(path / "signature" / "radiomics.yaml", "scanside train signature EXPERIMENT"),
        agreement=agreement,
        fusions=_fusions(path, segmenters),
        models=models,
        report=_json(report, "scanside evaluate EXPERIMENT") if report.exists() else None,
    )


def _fusions(path: Path, segmenters: Mapping[str, Bundle]) -> tuple[Fusion, ...]:
    """What `scanside train fusion` chose, of these very segmenters."""
    step, found = "scanside train fusion EXPERIMENT", []
    for file in (path / "segmentation" / role / FUSION for role in segmenters):
        if not file.exists():
            continue
        document = read_file(file, FusionDocument, step)
        if document.fusion is None:
            continue
        for role, sha256 in document.bundles.items():
            if role not in segmenters or segmenters[role].sha256 != sha256:
                raise InputError(
                    f"{file} was chosen with another segmenter of {role} than {path} holds; run `{step}` again, and "
                    "the steps after it."
                )
        found.append(document.fusion)
    return tuple(found)


def _models(folder: Path, step: str) -> tuple[Agreement | None, tuple[ModelParts, ...]]:
    """What `scanside train classifier` wrote."""
    document = read_file(folder / CLASSIFIER, ClassifierDocument, step)
    found = []
    for model in document.models:
        file = model.classifier.file
        moved = model.classifier.model_copy(update={"file": f"{FOLDER}/{file}"})
        try:
            with np.load((folder / file).with_suffix(".npz"), allow_pickle=False) as arrays:
                reference = Reference(**{field.name: arrays[field.name] for field in fields(Reference)})
        except (KeyError, OSError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise InputError(f"{folder} is damaged ({first}); run `{step}` again.") from error
        record = model.model_copy(update={"classifier": moved})
        found.append(ModelParts(record, _bytes(folder / file, step), reference))
    if not found:
        raise InputError(f"{folder} holds no model; run `{step}` again.")
    return document.agreement, tuple(found)


def _bytes(path: Path, step: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"There is no readable {path}; run `{step}` first.") from error


def _json(path: Path, step: str) -> dict[str, Any]:
    try:
        document = json.loads(_bytes(path, step))
    except ValueError as error:
        raise InputError(f"{path} is damaged (not JSON); run `{step}` again.") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is damaged (no JSON object); run `{step}` again.")
    return document
