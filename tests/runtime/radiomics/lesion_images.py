"""Synthetic abdomens with one ellipsoid lesion, and short configurations, for the tests of radiomics."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.radiomics.config import (
    ImageTypeSetting,
    Minimum,
    RadiomicsConfig,
    SequenceConfig,
    Setting,
)
from scanside.runtime.volume import Geometry, Volume

Mask = npt.NDArray[np.uint8]
TURNED = (0.96, -0.28, 0.0, 0.28, 0.96, 0.0, 0.0, 0.0, 1.0)
"""A rotation about z, exactly orthonormal."""


def abdomen(
    seed: int = 0,
    shape: tuple[int, int, int] = (20, 96, 104),
    spacing: tuple[float, float, float] = (6.0, 1.3, 1.2),
    diameter: float = 34.0,
    direction: tuple[float, ...] = TURNED,
) -> tuple[Volume, Mask]:
    """An elliptic body with smooth texture and Rician noise, and a brighter lesion off its centre."""
    random = np.random.default_rng(seed)
    z, y, x = (np.arange(n) * s - n * s / 2 for n, s in zip(shape, spacing, strict=True))
    body = (
        (y[:, None] / (0.42 * shape[1] * spacing[1])) ** 2 + (x / (0.45 * shape[2] * spacing[2])) ** 2
    ) < 1
    texture = ndimage.gaussian_filter(random.normal(size=shape), (0.5, 2, 2))
    mask = z[:, None, None] ** 2 + (y[:, None] - 9) ** 2 * 1.4 + (x + 12) ** 2 < (diameter / 2) ** 2
    signal = body * (300 + 60 * texture / texture.std()) + 150 * mask
    noisy = np.hypot(signal + random.normal(size=shape) * 20, random.normal(size=shape) * 20)
    volume = Volume(
        noisy[None].astype(np.float32), Geometry(shape, spacing, (-61.3, -47.0, 112.5), direction)
    )
    return volume, mask.astype(np.uint8)


def one_sequence(**changes: Any) -> RadiomicsConfig:
    """A configuration of one sequence, `x`, whose mask has the role `x`."""
    settings = {"binCount": 16, "force2D": True, "padDistance": 8} | changes.pop("setting", {})
    fields = {
        "role": "x",
        "minimum": Minimum(),
        "setting": Setting(**settings),
        "image_types": {"Original": ImageTypeSetting()},
        "feature_classes": {"shape": (), "firstorder": (), "glcm": (), "ngtdm": ()},
    } | changes
    return RadiomicsConfig(sequences={"x": SequenceConfig(**fields)})
