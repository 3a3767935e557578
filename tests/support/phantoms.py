"""Images with structure: smooth blobs, some noise, and a border of zeros to crop."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.volume import Geometry, Volume


def smooth(shape: Sequence[int], seed: int, grain: float = 5.0) -> npt.NDArray[np.float32]:
    """A smooth random field of mean 0 and deviation 1."""
    field = np.random.default_rng(seed).standard_normal(tuple(shape))
    field = ndimage.gaussian_filter(field, [size / grain / 2 for size in shape])
    return ((field - field.mean()) / max(float(field.std()), 1e-12)).astype(np.float32)


def image(
    shape: Sequence[int],
    *,
    channels: int = 1,
    seed: int = 0,
    mean: float = 300.0,
    deviation: float = 80.0,
    border: int = 2,
) -> npt.NDArray[np.float32]:
    """(C, *shape) float32 whole numbers, zero in a border of `border` voxels, with a hole of zeros inside and one
    corner cut off, so that neither box nor mask of what is not zero is trivial."""
    random = np.random.default_rng(seed)
    data = np.stack(
        [
            mean + deviation * (smooth(shape, 10 * seed + c) + 0.15 * random.standard_normal(tuple(shape)))
            for c in range(channels)
        ]
    )
    inside = np.zeros(tuple(shape), dtype=bool)
    inside[tuple(slice(min(border, n // 4), n - min(border, n // 4)) for n in shape)] = True
    middle = tuple(slice(n // 2, n // 2 + max(1, n // 8)) for n in shape)
    inside[middle] = False
    inside &= sum(np.indices(tuple(shape)) / np.reshape(shape, (-1, *[1] * len(shape)))) > 0.9
    return np.where(inside, np.rint(data), 0).astype(np.float32)


def volume(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    *,
    channels: int = 1,
    seed: int = 0,
    **how: float,
) -> Volume:
    """`image` on a grid."""
    return Volume(image(shape, channels=channels, seed=seed, **how), Geometry(shape, spacing))  # type: ignore[arg-type]


def logits(shape: Sequence[int], heads: int, seed: int = 0, scale: float = 4.0) -> npt.NDArray[np.float16]:
    """(K, *shape) float16 logits whose argmax has sizeable regions."""
    return np.stack([scale * smooth(shape, 100 * seed + head) for head in range(heads)]).astype(np.float16)
