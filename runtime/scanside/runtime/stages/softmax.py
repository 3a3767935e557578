"""Softmax and sigmoid bit for bit as PyTorch computes them on a CPU, in numpy.

Where two members of an ensemble contradict each other with certainty, the last bit of a probability decides the
label, and numpy's float32 `exp` differs from PyTorch's in every fourth. PyTorch's is SLEEF's `expf` with an error of at
most 1.0 units in the last place; its fused multiply-adds are done here in float64, whose product of two float32 is
exact, and rounded. PyTorch computes the last few voxels of each thread's share with the C library instead, so that its
own bits there depend on its number of threads.

Source: PyTorch `aten/src/ATen/native/cpu/SoftMaxKernel.cpp` (`vec_softmax`); SLEEF `sleefsimdsp.c` (`xexpf`). Compared
with PyTorch in tests/runtime/stages/test_softmax.py.
"""

import numpy as np

from scanside.runtime.arrays import Float32

_CHUNK = 1 << 18
"""Voxels at a time: bounds the work space in float64 to some MB."""
_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = float(np.float32(-0.693145751953125)), float(np.float32(-1.428606765330187045e-06))
_POLYNOMIAL = tuple(
    float(np.float32(value))
    for value in (
        0.000198527617612853646278381,
        0.00139304355252534151077271,
        0.00833336077630519866943359,
        0.0416664853692054748535156,
        0.166666671633720397949219,
        0.5,
    )
)
_LOWEST, _HIGHEST = np.float32(-104), np.float32(100)


def softmax(logits: Float32) -> Float32:
    """Softmax over axis 0. Overwrites `logits`, which is (K, …) float32."""
    for part in _parts(logits):
        part -= part.max(axis=0)
        total = np.zeros(part.shape[1], np.float32)
        for channel in part:
            channel[:] = exp(channel)
            total += channel
        part /= total
    return logits


def sigmoid(logits: Float32) -> Float32:
    """Sigmoid of each value. Overwrites `logits`, which is (K, …) float32."""
    for part in _parts(logits):
        for channel in part:
            channel[:] = 1 / (1 + exp(-channel))
    return logits


def exp(values: Float32) -> Float32:
    """SLEEF's `expf` with an error below 1.0 units in the last place.

    Args:
        values: (n,) float32, finite.
    """
    power = np.rint(values * _LOG2E)
    wide = power.astype(np.float64)
    rest = (wide * _LN2_HIGH + values).astype(np.float32)
    rest = (wide * _LN2_LOW + rest).astype(np.float32)
    rest_wide = rest.astype(np.float64)
    found = np.full_like(values, _POLYNOMIAL[0])
    for coefficient in _POLYNOMIAL[1:]:
        found = (found * rest_wide + coefficient).astype(np.float32)
    found = ((rest * rest) * found.astype(np.float64) + rest_wide).astype(np.float32) + np.float32(1)
    with np.errstate(over="ignore", under="ignore"):
        found = np.ldexp(found, power.astype(np.int32))
    found[values < _LOWEST] = 0
    found[values > _HIGHEST] = np.inf
    return found


def _parts(logits: Float32) -> list[Float32]:
    """Views of (K, n) that cover the array; it must be contiguous."""
    flat = logits.reshape(logits.shape[0], -1)
    if not np.shares_memory(flat, logits):
        raise ValueError("logits are not contiguous")
    return [flat[:, start : start + _CHUNK] for start in range(0, flat.shape[1], _CHUNK)]
