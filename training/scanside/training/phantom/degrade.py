"""What a real scanner adds: coil sensitivity, point spread, ghosts, Rician noise."""

from typing import Any

import numpy as np
from scipy import ndimage

from scanside.runtime.arrays import Float32
from scanside.runtime.volume import Geometry
from scanside.training.phantom.motion import axes_of


def bias_field(rng: np.random.Generator, geometry: Geometry, strength: float) -> Float32:
    """(Z, Y, X) smooth factor around 1: a random quadratic over a 360 × 260 × 200 mm body, exponentiated.

    Args:
        rng: Source of the coefficients.
        geometry: The grid.
        strength: About how far it strays, as a part.
    """
    x, y, z = axes_of(geometry)
    u, v, w = x[None, None, :] / 180, y[None, :, None] / 130, z[:, None, None] / 100
    c = np.clip(rng.standard_normal(7), -2, 2).astype(np.float32)
    centre = np.float32(0.8 + 0.4 * rng.random())
    wave = 0.4 * (c[0] * u + c[1] * v + c[2] * w) + 0.3 * (
        c[3] * u * v + c[4] * (u * u - v * v) + c[5] * v * w
    )
    surface = centre * (u * u + v * v - 0.5)  # coils lie on the surface: the middle is darker
    return np.exp(np.float32(strength) * (wave + np.float32(0.8) * surface)).astype(np.float32)


def point_spread(image: Float32, blur: float) -> Float32:
    """Blur along the phase-encoding axis (y) of (..., Z, Y, X); `blur` in voxels."""
    return ndimage.gaussian_filter1d(image, blur, axis=-2, mode="nearest") if blur > 0 else image


def ghost(image: Float32, level: float) -> Float32:
    """Add the N/2 ghost of EPI: the image once more, half a field of view along y."""
    return image + np.float32(level) * np.roll(image, image.shape[-2] // 2, axis=-2)


def breathing_ghosts(
    image: Float32, weight: Float32, travel_px: float, distance_px: int, phase: float
) -> Float32:
    """Magnitude of an image whose lines were acquired while it moved along y by `travel_px` · cos(ωt + phase).

    First order of exp(−ik·a·cos ωt): a/2 · ∂image/∂y appears at both sides, at + and − the distance, with phases of
    + and − that of the breath. Source: Wood and Henkelman, Med Phys 12:143 (1985).

    Args:
        image: (Z, Y, X).
        weight: Broadcasts against it: how much of the motion each row takes part in.
        travel_px: Amplitude of the motion, voxels; small against the structures.
        distance_px: How far the ghosts lie, voxels.
        phase: Of the breath when the middle of k-space was acquired, radians.
    """
    edges = np.float32(travel_px / 2) * weight * np.gradient(image, axis=-2)
    before, after = (np.roll(edges, way * distance_px, axis=-2) for way in (-1, 1))
    in_phase = image - np.float32(np.cos(phase)) * (before + after)
    return np.hypot(in_phase, np.float32(np.sin(phase)) * (before - after)).astype(np.float32)


def rician(rng: np.random.Generator, image: Float32, sigma: float) -> Float32:
    """Magnitude of a complex image with Gaussian noise of standard deviation `sigma` in both parts."""
    noise: Any = rng.standard_normal((2, *image.shape), dtype=np.float32)
    return np.hypot(image + np.float32(sigma) * noise[0], np.float32(sigma) * noise[1]).astype(np.float32)
