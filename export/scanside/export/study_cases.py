"""Golden studies: masks with the reference's features and probability, for `scanside selftest`.

One is always made up, so that no patient's image is in a bundle by default; others may be given.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.export.fusion_reference import reference_mask
from scanside.export.radiomics_reference import reference_features
from scanside.export.study_parts import StudyParts
from scanside.runtime.arrays import Float32, Uint8
from scanside.runtime.errors import BundleError, InputError
from scanside.runtime.golden_study import StudyCase, grid_of
from scanside.runtime.radiomics.config import RadiomicsConfig, load_config
from scanside.runtime.radiomics.names import sequence_of
from scanside.runtime.study.fusion import asked_for, fuse
from scanside.runtime.study_model import Covariate
from scanside.runtime.volume import Geometry, Volume, stack

FIRST_GRID = Geometry((12, 84, 96), (6.0, 1.4, 1.3), (-60.0, -55.0, 20.0))
OTHER_GRID = Geometry((11, 52, 58), (6.5, 2.3, 2.2), (-62.0, -57.0, 18.0))
"""Grids of the made-up study: slices of 6 mm, one grid a role, as T2WI and DWI have."""
_CLEAR, _DRAWS = 1e-4, 200
"""How far every voxel's sum of log-odds has to lie from its limit, and how often a study is made up until it does."""


def golden_studies(parts: StudyParts, given: Sequence[Path]) -> list[StudyCase]:
    """The made-up study and the given ones, measured by pyradiomics and classified by scikit-learn's coefficients.

    Raises:
        InputError: If the reference cannot measure a study.
    """
    config = load_config(parts.radiomics)
    cases = [_case("study-synthetic", *_made_up(config), config, parts)]
    for number, path in enumerate(given, start=1):  # by number: a folder's name may say whose study it is
        cases.append(_case(f"study-golden-{number}", *_segmented(path, parts), config, parts))
    return cases


def _case(
    name: str,
    images: Mapping[str, Volume],
    masks: Mapping[str, Uint8],
    config: RadiomicsConfig,
    parts: StudyParts,
) -> StudyCase:
    records = [model.record for model in parts.models]
    names = tuple(dict.fromkeys(name for record in records for name in record.signature.features))
    features = reference_features(images, masks, config, names)
    covariates = {one.name: _made_up_covariate(one) for record in records for one in record.covariates}
    known = {**features, **covariates}
    probabilities = {
        model.record.name: model.reference.probability(
            np.array([known[name] for name in model.record.inputs])
        )
        for model in parts.models
    }
    said, fused = _fused(images, config, parts)
    return StudyCase(name, images, masks, features, covariates, probabilities, said, fused)


def _fused(
    images: Mapping[str, Volume], config: RadiomicsConfig, parts: StudyParts
) -> tuple[dict[str, Float32], dict[str, Uint8]]:
    """Made-up probabilities on the study's grids and the reference's masks; drawn until no sum is near its limit."""
    if not parts.fusions:
        return {}, {}
    names = sorted(asked_for(parts.fusions))
    grids = {role: grid_of(role, images, config) for role in names}
    for seed in range(_DRAWS):
        random = np.random.default_rng(seed)
        said = {role: _probabilities(grids[role], random) for role in names}
        fused, near = {}, np.inf
        for one in parts.fusions:
            bundle = parts.segmenters[one.role]
            plan = bundle.manifest.segmenters[bundle.role(None)].plan
            own, other = ((said[role], grids[role]) for role in (one.role, one.other))
            fused[one.role], distance = reference_mask(own, other, one, plan)
            near = min(near, distance)
        if near > _CLEAR and all(mask.any() and not mask.all() for mask in fused.values()):
            return said, fused
    raise BundleError(
        "No bundle was written: no made-up study keeps every voxel clear of the fusion's limit; choose another fusion."
    )


def _probabilities(grid: Geometry, random: np.random.Generator) -> Float32:
    """(Z, Y, X) float32, sure in the middle of a lesion, sure far away, undecided around it."""
    noise = ndimage.gaussian_filter(random.standard_normal(grid.shape), (0.4, 2.0, 2.0))
    logit = 12 * (1 - _distance(grid, 0.5)) + 3 * noise / noise.std()
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -12, 12))), np.float32)


def _made_up_covariate(covariate: Covariate) -> float:
    """A number in the middle of the training cohort's; of two values the one that counts 1."""
    return (covariate.low + covariate.high) / 2 if covariate.values is None else 1.0


def _made_up(config: RadiomicsConfig) -> tuple[dict[str, Volume], dict[str, Uint8]]:
    """A body of smooth structures with a lesion; not anatomy: it tests that two programs compute the same."""
    seed = int.from_bytes(hashlib.sha256(config.model_dump_json().encode()).digest()[:4], "little")
    random = np.random.default_rng(seed)
    roles = list(dict.fromkeys(recipe.role for recipe in config.sequences.values()))
    grids = {role: FIRST_GRID if index == 0 else OTHER_GRID for index, role in enumerate(roles)}
    images = {
        sequence: Volume(_structures(grids[recipe.role], random), grids[recipe.role])
        for sequence, recipe in config.sequences.items()
    }
    masks = {role: (_distance(grid, 0.3) < 1).astype(np.uint8) for role, grid in grids.items()}
    return images, masks


def _structures(grid: Geometry, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """(1, Z, Y, X): air, a body, a lesion with texture; whole numbers, as a scanner stores them."""
    fields = [ndimage.gaussian_filter(random.standard_normal(grid.shape), (0.4, s, s)) for s in (1.0, 3.0)]
    texture = sum(field / field.std() for field in fields)
    body, lesion = _distance(grid, 0.9) < 1, _distance(grid, 0.3) < 1
    grey = np.where(body, 600 + 80 * texture, 20.0) + np.where(lesion, 350 + 60 * texture, 0.0)
    return np.round(np.clip(grey, 0, None))[None].astype(np.float32)


def _distance(grid: Geometry, part: float) -> npt.NDArray[np.float64]:
    """1 on an ellipsoid around the middle that fills `part` of each axis."""
    axes = [(np.arange(n) - (n - 1) / 2) / (part * n / 2) for n in grid.shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(z**2 + y**2 + x**2)


def _segmented(path: Path, parts: StudyParts) -> tuple[dict[str, Volume], dict[str, Uint8]]:
    """A given study, with the masks of this experiment's own segmenters."""
    from scanside.runtime.choose import open_segmenter
    from scanside.runtime.stages.lesions import one_lesion
    from scanside.runtime.study.lesion_agreement import choose_regions
    from scanside.runtime.study.pipeline import segmented_role
    from scanside.runtime.study.read import read_study
    from scanside.runtime.study.records import Segmented

    features = (name for model in parts.models for name in model.record.signature.features)
    measured = {sequence_of(name) for name in features}
    plans = {
        role: bundle.manifest.segmenters[bundle.role(None)].plan for role, bundle in parts.segmenters.items()
    }
    seen = {channel.name for plan in plans.values() for channel in plan.channels}
    found = read_study(path, sorted(measured | seen)).images
    said: dict[str, Segmented] = {}
    for role, bundle in parts.segmenters.items():
        names = [channel.name for channel in plans[role].channels]
        volume = stack([found[name].volume for name in names], names)
        with open_segmenter(bundle) as segmenter:
            made = segmenter.segment(volume, case=path.name, probabilities=role in asked_for(parts.fusions))
        said[role] = segmented_role(role, plans[role], made, volume.geometry)
    said = fuse(said, parts.fusions, plans)
    lesions = {role: one.lesion for role, one in said.items()}
    grids = {role: one.geometry for role, one in said.items()}
    for role in (role for role, lesion in lesions.items() if not lesion.any()):
        raise InputError(f"The {role} segmenter finds no lesion in {path}; give another golden study.")
    near = None if parts.agreement is None else parts.agreement.near_mm
    regions = choose_regions(lesions, grids, np.inf if near is None else near)
    masks: dict[str, Uint8] = {
        role: one_lesion(lesions[role], number) for role, number in regions.measured.items()
    }
    return {name: found[name].volume for name in sorted(measured)}, masks
