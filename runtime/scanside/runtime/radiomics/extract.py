"""Images and masks → feature values, or the reason why there is none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Uint8
from scanside.runtime.errors import InputError
from scanside.runtime.radiomics.body import scaling
from scanside.runtime.radiomics.config import Minimum, RadiomicsConfig, SequenceConfig
from scanside.runtime.radiomics.engine import pyradiomics
from scanside.runtime.radiomics.filters import Settings, filtered, settings_of
from scanside.runtime.radiomics.names import ORIGINAL, TEXTURE, Class, FeatureName, choose
from scanside.runtime.radiomics.region import Region, region
from scanside.runtime.volume import Volume

_NEED_DEPTH = frozenset({"Flatness", "LeastAxisLength"})
"""Shape features that a single slice makes 0, whatever the lesion."""
_NEED_SPREAD = frozenset({"Skewness", "Kurtosis"})
"""First-order features that are 0/0 where all grey values are one; pyradiomics says 0."""
_BINNED = frozenset({"Entropy", "Uniformity"})
"""First-order features of discretised grey values."""


@dataclass(frozen=True)
class FeatureValue:
    """A value, or why there is none. Exactly one of the two is None.

    Attributes:
        value: Finite.
        reason: In words, for a person: `the lesion has 41 voxels, and texture needs 64`.
    """

    value: float | None
    reason: str | None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a feature has either a value or a reason")


def extract(
    images: Mapping[str, Volume],
    masks: Mapping[str, Uint8],
    config: RadiomicsConfig,
    features: Sequence[str] | None = None,
) -> dict[str, FeatureValue]:
    """Measure features with pyradiomics: only those asked for, on only the filtered images they need.

    Args:
        images: By sequence, one channel each; ADC in 1e-6 mm²/s.
        masks: By role, (Z, Y, X) on the grid of the role's images, the lesion > 0: `lesions.main_lesion`.
        features: Names; None for every feature of the configuration.

    Returns:
        By name, in the order asked. A value that cannot be computed is absent with its reason, never 0.

    Raises:
        InputError: If a mask is not on the grid of its image, or an image has several channels.
        UsageError: If a feature is not in the configuration.
    """
    wanted = choose(config, features)
    values: dict[FeatureName, FeatureValue] = {}
    for sequence in dict.fromkeys(name.sequence for name in wanted):
        names = [name for name in wanted if name.sequence == sequence]
        measured = config.sequences[sequence]
        image, mask = images.get(sequence), masks.get(measured.role)
        if image is None:
            values |= _absent(names, f"there is no {sequence} image")
        elif mask is None or not np.any(mask):
            values |= _absent(names, f"no lesion is segmented on {measured.role}")
        else:
            if image.channels != 1:
                raise InputError(f"The image of {sequence} has {image.channels} channels; give one.")
            if mask.shape != image.geometry.shape:
                raise InputError(
                    f"The mask '{measured.role}' of shape {mask.shape} is not on the grid of {sequence}, "
                    f"{image.geometry.shape}; resample it first."
                )
            values |= _sequence(image, mask, measured, names)
    return {str(name): values[name] for name in wanted}


def _sequence(
    image: Volume, mask: Uint8, config: SequenceConfig, names: list[FeatureName]
) -> dict[FeatureName, FeatureValue]:
    scale = scaling(image, config.normalise)
    if scale is None:
        return _absent(names, "all grey values of the image are one")
    margin = any(name.image != ORIGINAL for name in names)
    bins = any(name.kind in TEXTURE or name.feature in _BINNED for name in names)
    found = region(image.data[0], image.geometry, mask, scale, config.setting, margin, bins)
    if found is None:
        return _absent(names, "nothing of the lesion is left on the resampled grid")
    values: dict[FeatureName, FeatureValue] = {}
    shapes = [name for name in names if name.kind == "shape"]
    values |= _shape(found, settings_of(config), shapes)
    grey = [name for name in names if name.kind != "shape"]
    try:
        grey_region = _resegmented(found, config)
    except ValueError:
        return values | _absent(grey, "too few voxels of the lesion are in the range of resegmentation")
    for title, picture, settings in filtered(grey_region, config, {name.image for name in grey}):
        here = [name for name in grey if name.image == title]
        values |= _image(picture, grey_region, settings, config.minimum, here)
    return values | _absent(
        (name for name in grey if name not in values), "the image is too small for this filter"
    )


def _shape(found: Region, settings: Settings, names: list[FeatureName]) -> dict[FeatureName, FeatureValue]:
    if not names:
        return {}
    inside = found.inside
    if np.count_nonzero(inside) < 2:
        return _absent(names, "the lesion is a single voxel")
    flat = inside.any(axis=(1, 2)).sum() < 2
    deep = [name for name in names if flat and name.feature in _NEED_DEPTH]
    rest = [name for name in names if name not in deep]
    mask = found.cut(found.mask)
    return _absent(deep, "the lesion lies in one slice") | _compute("shape", mask, mask, settings, rest)[0]


def _image(
    image: Any, found: Region, settings: Settings, minimum: Minimum, names: list[FeatureName]
) -> dict[FeatureName, FeatureValue]:
    """All features of one image's box: the filter has run once for all classes."""
    mask = found.cut(found.mask)
    grey = _grey_values(image, mask)
    values: dict[FeatureName, FeatureValue] = {}
    for kind in dict.fromkeys(name.kind for name in names):
        here = [name for name in names if name.kind == kind]
        reason = _unfit(kind, found, grey, minimum)
        if reason is None:
            got, levels = _compute(kind, image, mask, settings, here)
            if kind in TEXTURE and levels < 2:
                got = _absent(here, "the lesion has one grey level after discretisation")
        else:
            got = _absent(here, reason)
        values |= got
    if grey.min() == grey.max():
        values |= _absent(
            (name for name in names if name.kind == "firstorder" and name.feature in _NEED_SPREAD),
            "all grey values of the lesion are one",
        )
    return values


def _unfit(kind: Class, found: Region, grey: npt.NDArray[np.float64], minimum: Minimum) -> str | None:
    """Why a class cannot be measured here, or None."""
    if not np.isfinite(grey).all():
        return "the filtered image is not finite"
    if kind not in TEXTURE:
        few = grey.size < minimum.first_order_voxels
        return (
            f"the lesion has {_voxels(grey.size)}, and {minimum.first_order_voxels} are needed"
            if few
            else None
        )
    if grey.size < minimum.voxels:
        return f"the lesion has {_voxels(grey.size)}, and texture needs {minimum.voxels}"
    slices = int(found.inside.any(axis=(1, 2)).sum())
    if slices < minimum.slices:
        return f"the lesion lies in {slices} slice{'s'[: slices > 1]}, and texture needs {minimum.slices}"
    if grey.min() == grey.max():
        return "all grey values of the lesion are one"
    return None


def _compute(
    kind: Class, image: Any, mask: Any, settings: Settings, names: list[FeatureName]
) -> tuple[dict[FeatureName, FeatureValue], int]:
    """Features of one class, and the number of grey levels in the lesion (0 for shape)."""
    if not names:
        return {}, 0
    with np.errstate(all="ignore"):
        engine = pyradiomics().getFeatureClasses()[kind](image, mask, **settings)
        for name in names:
            engine.enableFeatureByName(name.feature)
        got = engine.execute()
    levels = engine.coefficients.get("grayLevels", ())
    return {name: _checked(got[name.feature]) for name in names}, len(levels)


def _checked(value: Any) -> FeatureValue:
    number = float(value)
    if not np.isfinite(number):
        return FeatureValue(None, "its formula has no finite value for this lesion")
    return FeatureValue(number, None)


def _resegmented(found: Region, config: SequenceConfig) -> Region:
    """The region without grey values out of range; shape is measured before.

    Raises:
        ValueError: If at most one voxel is left.
    """
    if config.setting.resegmentRange is None:
        return found
    operations = pyradiomics().imageoperations
    return found.with_mask(operations.resegmentMask(found.image, found.mask, **settings_of(config)))


def _grey_values(image: Any, mask: Any) -> npt.NDArray[np.float64]:
    import SimpleITK as sitk

    return np.asarray(sitk.GetArrayFromImage(image)[sitk.GetArrayFromImage(mask) == 1], dtype=np.float64)


def _absent(names: Iterable[FeatureName], reason: str) -> dict[FeatureName, FeatureValue]:
    return {name: FeatureValue(None, reason) for name in names}


def _voxels(count: int) -> str:
    return f"{count} voxel{'s'[: count != 1]}"
