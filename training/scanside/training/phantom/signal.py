"""Closed-form signal equations: turbo spin echo and IVIM diffusion-weighted spin echo EPI; the ADC fit."""

from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32

Real = float | npt.NDArray[np.floating[Any]]


def spin_echo(t1: Real, t2: Real, density: Real, te: float, tr: float) -> Any:
    """PD · (1 − e^(−TR/T1)) · e^(−TE/T2). Times in ms; relative units, broadcast over arrays."""
    return density * (1 - np.exp(-tr / np.asarray(t1))) * np.exp(-te / np.asarray(t2))


def ivim(d: Real, f: Real, d_star: Real, b: float) -> Any:
    """Signal fraction left at b: (1 − f) e^(−bD) + f e^(−bD*). D and D* in 1e-3 mm²/s, b in s/mm².

    Source: Le Bihan et al., Radiology 168:497 (1988).
    """
    return (1 - f) * np.exp(-b * 1e-3 * np.asarray(d)) + f * np.exp(-b * 1e-3 * np.asarray(d_star))


def adc(low: Float32, high: Float32, b_low: float, b_high: float, floor: float) -> Float32:
    """Two-point ADC, 1e-6 mm²/s, from magnitude images on one grid; 0 where the low-b signal is below `floor`.

    Clipped to 0..4000, as scanners do.
    """
    ratio = np.maximum(low, 1e-3) / np.maximum(high, 1e-3)
    fitted = np.log(ratio) / (b_high - b_low) * 1e6
    return np.where(low > floor, np.clip(fitted, 0, 4000), 0).astype(np.float32)
