"""Float16 rounding by integer arithmetic against numpy's cast, bit by bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from scanside.runtime.stages.float16 import HALF_MAX, decode_half, encode_half, exceeds_half, round_to_half
from tests.support.properties import examples

ALL = np.arange(65536, dtype=np.uint16).view(np.float16)
FINITE = ALL[np.isfinite(ALL)]
LARGEST_ROUNDED = float(np.nextafter(np.float32(65520), np.float32(0)))


def as_numpy_rounds(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def rounded(values: np.ndarray) -> np.ndarray:
    copy = np.array(values, dtype=np.float32)
    round_to_half(copy)
    return copy


def assert_same_bits(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.dtype == theirs.dtype
    kind = {2: np.uint16, 4: np.uint32}[ours.dtype.itemsize]
    np.testing.assert_array_equal(
        np.ascontiguousarray(ours).view(kind), np.ascontiguousarray(theirs).view(kind)
    )


def test_every_half_survives() -> None:
    wide = FINITE.astype(np.float32)
    assert_same_bits(decode_half(FINITE), wide)
    assert_same_bits(encode_half(wide), FINITE)
    assert_same_bits(rounded(wide), wide)


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_ties_and_their_neighbours(step: int) -> None:
    """The midpoint of every two neighbouring halves, and the floats just beside it."""
    ordered = np.sort(FINITE[FINITE >= 0].astype(np.float32))
    middle = (ordered[:-1] + ordered[1:]) / 2
    values = middle if step == 0 else np.nextafter(middle, np.float32(step * np.inf), dtype=np.float32)
    for signed in (values, -values):
        assert_same_bits(rounded(signed), as_numpy_rounds(signed))


def test_just_below_overflow() -> None:
    values = np.array([HALF_MAX, 65519.0, LARGEST_ROUNDED], dtype=np.float32)
    for signed in (values, -values):
        assert not exceeds_half(signed)
        assert_same_bits(rounded(signed), as_numpy_rounds(signed))


@pytest.mark.parametrize("value", [65520.0, -65520.0, 1e30, np.inf, -np.inf, np.nan])
def test_overflow_is_noticed(value: float) -> None:
    assert exceeds_half(np.array([0.0, value, 1.0], dtype=np.float32))


@examples(200)
@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(max_dims=3, max_side=40),
        elements=st.floats(-LARGEST_ROUNDED, LARGEST_ROUNDED, width=32),
    )
)
def test_any_float(values: np.ndarray) -> None:
    assert_same_bits(rounded(values), as_numpy_rounds(values))
    assert_same_bits(encode_half(rounded(values)), values.astype(np.float16))


@examples(100)
@given(
    arrays.arrays(
        np.float32, st.integers(1, 200), elements=st.floats(-1.125 * 2.0**-14, 1.125 * 2.0**-14, width=32)
    )
)
def test_subnormals_and_the_sign_of_zero(values: np.ndarray) -> None:
    assert_same_bits(rounded(values), as_numpy_rounds(values))


def test_a_view_is_rounded_in_place() -> None:
    values = np.linspace(-3, 3, 4 * 6 * 8, dtype=np.float32).reshape(4, 6, 8)
    expected = values.copy()
    expected[1, 2:5, 1:7] = as_numpy_rounds(values[1, 2:5, 1:7])
    round_to_half(values[1, 2:5, 1:7])
    assert_same_bits(values, expected)


def test_decoding_a_strided_array() -> None:
    half = FINITE.reshape(-1, 2)[:, 1]
    assert_same_bits(decode_half(half), half.astype(np.float32))
