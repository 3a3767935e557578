"""Three observers of a scene, from one that knows nearly everything to one that knows no anatomy (docs/adr/0039).

Arrays are (C, Z, Y, X) or (Z, Y, X). A position is a shift of the lesion by whole voxels that brings its middle into
the gland; every position is as probable as any other. Noise is white and Gaussian, as before the
magnitude is taken: whoever sees the magnitude alone sees no more.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from scanside.runtime.arrays import Float64, Mask
from scanside.runtime.masks.overlap import dice
from scanside.training.evaluation.ceiling.scene import Scene
from scanside.training.evaluation.lesion_hits import MINIMUM_IOU

DRAWS = 4
"""Draws of noise that every mean is over."""
_SMOOTH = 2.0
"""Standard deviation of the smoothing of the clutter's spectrum, in its bins."""
_WIDTHS = (0.0, 1.0, 2.0)
"""How far evidence is pooled in plane, standard deviations in voxels; the best of them counts."""
_SURE = 0.999


@dataclass(frozen=True)
class Seen:
    """What an observer reaches, mean over draws of noise.

    Attributes:
        right: How often its most probable position hits the lesion (intersection over union of `MINIMUM_IOU`).
        dice: Of the mask that has the highest expected Dice for what it knows.
    """

    right: float
    dice: float


def d_prime(signal: npt.NDArray[Any], sigma: npt.NDArray[np.float64]) -> float:
    """Detectability of an exactly known signal in white noise: the root of the sum of (signal / sigma)².

    Args:
        signal: (C, ...).
        sigma: (C,).
    """
    power = (signal.astype(np.float64) ** 2).reshape(len(sigma), -1).sum(axis=1)
    return float(np.sqrt((power / sigma**2).sum()))


def best_mask(chance: Float64, voxels: float) -> Mask:
    """The mask of highest expected Dice: the k most probable voxels, with the k where 2·sum / (k + voxels) is largest.

    Exact for a lesion whose number of voxels is known; for independent voxels, the usual approximation with the
    expected number.

    Args:
        chance: (Z, Y, X) probability of lesion.
        voxels: How many are lesion.
    """
    order = np.argsort(-chance, axis=None, kind="stable")
    sums = np.cumsum(chance.ravel()[order])
    count = int(np.argmax(2 * sums / (np.arange(1, sums.size + 1) + voxels))) + 1
    made = np.zeros(chance.size, dtype=bool)
    made[order[:count]] = True
    return made.reshape(chance.shape)


class Places:
    """The positions of a scene's lesion, and sums over them by Fourier transforms."""

    def __init__(self, scene: Scene) -> None:
        mask = scene.mask
        self.shape = mask.shape
        self.middle = tuple(round(axis) for axis in ndimage.center_of_mass(mask))
        self.allowed = scene.gland.copy()
        self.allowed[self.middle] = True
        reach = [int(places.max() - places.min()) + 14 for places in np.nonzero(mask)]
        self.padded = tuple(
            fft.next_fast_len(n + more, True) for n, more in zip(mask.shape, reach, strict=True)
        )
        self.voxels = int(np.count_nonzero(mask))
        self._mask, self._shape = mask, self.centred(mask[None].astype(np.float32))[0]

    def transform(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(C, Z, Y, X) → its half spectrum, padded with 0."""
        return np.asarray(fft.rfftn(image.astype(np.float32), self.padded, axes=(-3, -2, -1)))

    def back(self, spectrum: npt.NDArray[Any]) -> Float64:
        """The (Z, Y, X) of a half spectrum, without what was padded."""
        whole = fft.irfftn(spectrum, self.padded, axes=(-3, -2, -1))
        return np.asarray(whole[tuple(slice(0, n) for n in self.shape)], dtype=np.float64)

    def centred(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Half spectrum of a (C, Z, Y, X) template whose middle is brought to the first voxel."""
        whole = np.zeros((len(image), *self.padded), dtype=np.float32)
        whole[(slice(None), *(slice(0, n) for n in self.shape))] = image
        rolled = np.roll(whole, [-place for place in self.middle], axis=(-3, -2, -1))
        return np.asarray(fft.rfftn(rolled, axes=(-3, -2, -1)))

    def lesion_chance(self, position: Float64) -> Float64:
        """(Z, Y, X) probability of lesion in each voxel for a (Z, Y, X) probability of the position of its middle."""
        return np.clip(self.back(self.transform(position[None])[0] * self._shape), 0, 1)

    @property
    def prior(self) -> Float64:
        """(Z, Y, X) probability of lesion before anything was seen."""
        return self.lesion_chance(self.allowed / self.allowed.sum())

    def judged(self, evidence: Float64) -> tuple[bool, float]:
        """Whether the most probable position hits, and the Dice of the best mask.

        Args:
            evidence: (Z, Y, X) logarithm of the likelihood of each position.
        """
        shifted = np.where(self.allowed, evidence, -np.inf)
        position = np.exp(shifted - shifted.max())
        position /= position.sum()
        place = np.unravel_index(int(np.argmax(position)), self.shape)
        there = self._moved(tuple(int(p) for p in place))
        overlap = np.count_nonzero(there & self._mask)
        hit = overlap >= MINIMUM_IOU * np.count_nonzero(there | self._mask)
        if position[place] > _SURE:
            return bool(hit), dice(there, self._mask)
        return bool(hit), dice(best_mask(self.lesion_chance(position), self.voxels), self._mask)

    def _moved(self, place: tuple[int, ...]) -> Mask:
        moved = np.zeros_like(self._mask)
        where = np.argwhere(self._mask) + np.subtract(place, self.middle)
        inside = ((where >= 0) & (where < self.shape)).all(axis=1)
        moved[tuple(where[inside].T)] = True
        return moved


def template_observer(scene: Scene, places: Places, rng: np.random.Generator, draws: int = DRAWS) -> Seen:
    """Knows body, shape, size and signal, noise apart; not the position. Nobody who knows less does better."""
    signal = lesion_signal(scene)
    return _searched(scene, places, signal, places.centred(signal / _per_voxel(scene) ** 2), rng, draws)


def clutter_observer(scene: Scene, places: Places, rng: np.random.Generator, draws: int = DRAWS) -> Seen:
    """Knows shape, size, mean signals and the spectrum of anatomy and noise, not the anatomy: a linear observer.

    The matched filter for noise with the spectrum of this body without its lesion (Hotelling's observer for clutter
    that is stationary). No bound: a network is not linear, and knows what bowel looks like.
    """
    prior = places.prior > 0
    mean = scene.bare[:, prior].mean(axis=1)[:, None, None, None]
    lesion = scene.clean[:, scene.mask].mean(axis=1)[:, None, None, None]
    whitened = _whitened(
        places, places.centred((lesion - mean) * scene.fraction), scene.bare - mean, scene.sigma
    )
    return _searched(scene, places, scene.clean - mean, whitened, rng, draws)


def outline_observer(scene: Scene, places: Places, rng: np.random.Generator, draws: int = DRAWS) -> float:
    """Knows the body behind the lesion, and the mean and spread of its tissue, but not its shape: Dice.

    Voxel by voxel, from the prior of `Places`; evidence is pooled in plane over the best of three widths.
    """
    inside = scene.clean[:, scene.mask].astype(np.float64)
    lesion, spread = inside.mean(axis=1), inside.std(axis=1)
    prior = np.clip(places.prior, 0, 1 - 1e-9)
    region = prior > 1e-9
    odds = np.full(prior.shape, -np.inf)
    odds[region] = np.log(prior[region] / (1 - prior[region]))
    reached = np.zeros((draws, len(_WIDTHS)))
    for draw in range(draws):
        image = _noisy(scene, scene.clean, rng)
        evidence = np.zeros(prior.shape)
        for c, sigma in enumerate(scene.sigma):
            apart = (image[c] - scene.bare[c]) ** 2 - (image[c] - lesion[c]) ** 2
            evidence += apart / (2 * (sigma**2 + spread[c] ** 2))
        for w, width in enumerate(_WIDTHS):
            pooled = ndimage.gaussian_filter(evidence, (0, width, width)) * max(1.0, 4 * np.pi * width**2)
            chance = 1 / (1 + np.exp(-np.clip(pooled + odds, -500, 500)))
            reached[draw, w] = dice(best_mask(chance, float(chance.sum())), scene.mask)
    return float(reached.mean(axis=0).max())


def blind(places: Places) -> float:
    """Expected Dice of the best mask before anything was seen, over all positions alike."""
    prior = places.prior
    made = best_mask(prior, places.voxels)
    return float(2 * prior[made].sum() / (np.count_nonzero(made) + places.voxels))


def _searched(
    scene: Scene,
    places: Places,
    image: npt.NDArray[Any],
    template: npt.NDArray[Any],
    rng: np.random.Generator,
    draws: int,
) -> Seen:
    """A linear search of the gland, over draws of noise."""
    seen = []
    for _ in range(draws):
        data = places.transform(_noisy(scene, image, rng))
        seen.append(places.judged(places.back((np.conj(template) * data).sum(axis=0))))
    right, overlap = np.array(seen, dtype=np.float64).mean(axis=0)
    return Seen(float(right), float(overlap))


def _per_voxel(scene: Scene) -> npt.NDArray[np.float64]:
    return scene.sigma[:, None, None, None]


def _noisy(scene: Scene, image: npt.NDArray[Any], rng: np.random.Generator) -> Float64:
    return np.asarray(image + _per_voxel(scene) * rng.standard_normal(image.shape, dtype=np.float32))


def lesion_signal(scene: Scene) -> npt.NDArray[Any]:
    """(C, Z, Y, X) what the lesion changes in its place: in its voxels, and six more in plane; not its ghosts."""
    wide = ndimage.binary_dilation(scene.fraction > 0, np.ones((1, 13, 13)))
    return np.where(wide, scene.clean - scene.bare, 0)


def _whitened(
    places: Places, template: npt.NDArray[Any], clutter: npt.NDArray[Any], sigma: npt.NDArray[np.float64]
) -> npt.NDArray[Any]:
    """Inverse of the (C, C) spectrum of clutter and noise, times a template; per frequency."""
    whole = fft.fftn(clutter, places.padded, axes=(-3, -2, -1)) / np.sqrt(clutter[0].size)
    half = template.shape[-1]
    spectrum = np.empty((len(sigma), len(sigma), *template.shape[1:]), dtype=np.complex128)
    for i, j in np.ndindex(len(sigma), len(sigma)):
        cross = whole[i] * np.conj(whole[j])
        real, imaginary = (
            ndimage.gaussian_filter(part, _SMOOTH, mode="wrap") for part in (cross.real, cross.imag)
        )
        spectrum[i, j] = (real + 1j * imaginary)[..., :half] + (sigma[i] ** 2 if i == j else 0)
    columns = np.moveaxis(template, 0, -1)[..., None].astype(np.complex128)
    solved = np.linalg.solve(np.moveaxis(spectrum, (0, 1), (-2, -1)), columns)
    return np.moveaxis(solved[..., 0], -1, 0)
