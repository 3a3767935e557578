"""Golden studies: the steps after segmentation, replayed with the reference's features and probability.

A golden study holds masks, so that radiomics and classifier are judged by what they do themselves.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32
from scanside.runtime.bundle import Bundle
from scanside.runtime.classify import ClassifierSession
from scanside.runtime.errors import BundleError
from scanside.runtime.manifest import MODELS_SINCE, GoldenStudy
from scanside.runtime.study_model import StudyModel
from scanside.runtime.volume import Geometry, Volume

if TYPE_CHECKING:
    from scanside.runtime.radiomics.config import RadiomicsConfig

FEATURE_TOLERANCE = 1e-6
"""Largest relative difference of a feature from the reference's (docs/exactness.md)."""

PROBABILITY_TOLERANCE = 1e-6
"""Largest difference of the probability from the reference's (docs/exactness.md)."""


@dataclass(frozen=True, eq=False)
class StudyCase:
    """A golden study in memory.

    Attributes:
        images: Sequence → image of one channel.
        masks: Role → region of interest (Z, Y, X) uint8, on the grid of the images measured with it.
        features: Feature of any model's signature → the reference's value.
        covariates: Covariate of any model → a made-up value, as the classifier takes it.
        probabilities: Model → the reference's probability of the positive class.
        odds: Role → a segmenter's made-up probabilities (Z, Y, X) of a lesion, on the grid of the role's images; only
            where a fusion of the bundle asks for them.
        fused: Role → the mask (Z, Y, X) that the reference decides from them.
    """

    name: str
    images: Mapping[str, Volume]
    masks: Mapping[str, npt.NDArray[np.uint8]]
    features: Mapping[str, float]
    covariates: Mapping[str, float]
    probabilities: Mapping[str, float]
    odds: Mapping[str, Float32] = field(default_factory=dict)
    fused: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The .npz file of the bundle; deterministic for the same arrays."""
        arrays: dict[str, Any] = {
            "features": np.array(list(self.features.values())),
            "names": np.array(list(self.features)),
            "covariates": np.array(list(self.covariates.values()), dtype=np.float64),
            "covariate_names": np.array(list(self.covariates), dtype=np.str_),
            "probabilities": np.array(list(self.probabilities.values())),
            "models": np.array(list(self.probabilities)),
        }
        for sequence, volume in self.images.items():
            whole = volume.data[0].astype(np.int16)
            arrays[f"image_{sequence}"] = whole if np.array_equal(whole, volume.data[0]) else volume.data[0]
            geometry = volume.geometry
            arrays[f"grid_{sequence}"] = np.array([*geometry.spacing, *geometry.origin, *geometry.direction])
        for role, mask in self.masks.items():
            arrays[f"mask_{role}"] = mask
        arrays |= {f"odds_{role}": values for role, values in self.odds.items()}
        arrays |= {f"fused_{role}": mask for role, mask in self.fused.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()


@dataclass(frozen=True)
class StudyComparison:
    """A golden study on this machine.

    Attributes:
        worst_feature: The feature that differs most.
        feature_error: By how much, relative to the reference's value.
        probability_error: Largest difference of a model's probability.
        fused_differing: Voxels of masks that two sequences decide, other than the reference's; None without any.
        problem: Why it is rejected, or None.
    """

    case: str
    features: int
    worst_feature: str
    feature_error: float
    probability_error: float
    problem: str | None
    fused_differing: int | None = None

    @property
    def found(self) -> str:
        """What was found, without a full stop."""
        fused = f"{self.fused_differing} voxels of masks that two sequences decide differ, "
        return (
            f"{'' if self.fused_differing is None else fused}{self.features} features differ by at most "
            f"{self.feature_error:.1e} of their value, the probability by {self.probability_error:.1e}"
        )


def load_study(bundle: Bundle, study: GoldenStudy) -> StudyCase:
    """Read a golden study, verified.

    Raises:
        BundleError: If it is damaged.
    """
    try:
        with np.load(io.BytesIO(bundle.read(study.file)), allow_pickle=False) as arrays:
            images = {
                name.removeprefix("image_"): _volume(arrays[name], arrays[name.replace("image_", "grid_", 1)])
                for name in arrays.files
                if name.startswith("image_")
            }
            masks, odds, fused = (_under(arrays, prefix) for prefix in ("mask_", "odds_", "fused_"))
            features = _named(arrays["names"], arrays["features"])
            if bundle.manifest.schema_version < MODELS_SINCE:
                covariates, said = {}, {bundle.manifest.models[0].name: float(arrays["probability"])}
            else:
                covariates = _named(arrays["covariate_names"], arrays["covariates"])
                said = _named(arrays["models"], arrays["probabilities"])
            return StudyCase(study.name, images, masks, features, covariates, said, odds, fused)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"Golden study {study.file} of {bundle.path} is not readable; export it again."
        ) from error


def replay_study(bundle: Bundle, case: StudyCase) -> StudyComparison:
    """Measure and classify a golden study with the bundle's recipe and judge it."""
    from scanside.runtime.radiomics.config import load_config
    from scanside.runtime.radiomics.extract import extract

    manifest = bundle.manifest
    assert manifest.radiomics is not None  # the manifest has both of radiomics and models
    names = tuple(dict.fromkeys(name for model in manifest.models for name in model.signature.features))
    config = load_config(bundle.read(manifest.radiomics))
    values = extract(case.images, case.masks, config, names)
    errors = {name: _relative(values[name].value, case.features[name]) for name in names}
    worst = max(errors, key=lambda name: errors[name])
    difference = max(_difference(bundle, model, case) for model in manifest.models)
    differing = _fused_differing(bundle, case, config) if manifest.fusions else None
    problem = None
    if differing:
        problem = f"{differing} voxels of masks that two sequences decide differ"
    elif not errors[worst] <= FEATURE_TOLERANCE:
        problem = f"feature {worst} differs by {errors[worst]:.2g} of its value"
    elif not difference <= PROBABILITY_TOLERANCE:
        problem = f"the probability differs by {difference:.2g}"
    return StudyComparison(case.name, len(names), worst, errors[worst], difference, problem, differing)


def _fused_differing(bundle: Bundle, case: StudyCase, config: "RadiomicsConfig") -> int:
    """Voxels of fused masks that are not the reference's: none may be, for none lies near its limit."""
    from scanside.runtime.study.fusion import decided, odds

    count = 0
    for fusion in bundle.manifest.fusions:
        said = {
            role: odds(case.odds[role], grid_of(role, case.images, config))
            for role in (fusion.role, fusion.other)
        }
        plan = bundle.manifest.segmenters[fusion.role].plan
        mask = decided(said[fusion.role], said[fusion.other], fusion, plan)
        count += int(np.count_nonzero(mask != case.fused[fusion.role]))
    return count


def grid_of(role: str, images: Mapping[str, Volume], config: "RadiomicsConfig") -> Geometry:
    """Where the images lie that are measured with a role's mask: all of them on one grid."""
    return next(images[name].geometry for name, part in config.sequences.items() if part.role == role)


def _under(arrays: Any, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file whose name begins so, by the rest of the name."""
    return {name.removeprefix(prefix): arrays[name] for name in arrays.files if name.startswith(prefix)}


def _difference(bundle: Bundle, model: StudyModel, case: StudyCase) -> float:
    """How far a model's probability of the reference's own features is from the reference's."""
    known = {**case.features, **case.covariates}
    row = np.array([known[name] for name in model.inputs], dtype=np.float64)
    return abs(ClassifierSession(bundle, model).probability(row) - case.probabilities[model.name])


def _named(names: npt.NDArray[Any], values: npt.NDArray[Any]) -> dict[str, float]:
    return dict(zip(names.tolist(), map(float, values.tolist()), strict=True))


def _relative(value: float | None, reference: float) -> float:
    """|value - reference| / |reference|; infinite for an absent value."""
    if value is None:
        return math.inf
    return abs(value - reference) / max(abs(reference), 1e-12)


def _volume(data: npt.NDArray[Any], grid: npt.NDArray[np.float64]) -> Volume:
    spacing, origin, direction = grid[:3].tolist(), grid[3:6].tolist(), tuple(grid[6:].tolist())
    geometry = Geometry(data.shape, (*spacing,), (*origin,), direction)
    return Volume(data[None].astype(np.float32), geometry)
