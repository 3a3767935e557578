"""Softmax and sigmoid beside PyTorch's own: not one bit differs."""

import numpy as np
import pytest

from scanside.runtime.stages.softmax import exp, sigmoid, softmax

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("classes", [2, 3, 15])
@pytest.mark.parametrize("spread", [0.1, 4, 15, 60])
def test_same_bits_as_pytorch(classes: int, spread: float) -> None:
    # A whole number of vectors for every thread: PyTorch computes what is left over in another way.
    rng = np.random.default_rng(classes)
    logits = (rng.normal(size=(classes, 32, 33, 64)) * spread).astype(np.float16).astype(np.float32)
    theirs = torch.softmax(torch.from_numpy(logits), 0).numpy()
    np.testing.assert_array_equal(softmax(logits.copy()), theirs)
    np.testing.assert_array_equal(sigmoid(logits.copy()), torch.sigmoid(torch.from_numpy(logits)).numpy())


def test_ends_of_the_range() -> None:
    values = np.array([-65504, -104.1, -103.9, -88, -87.3, -1e-6, 0, 1e-6, 88.7, 89, 101], np.float32)
    expected = np.exp(values.astype(np.float64))
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(exp(values), expected.astype(np.float32), rtol=2e-7, atol=1.5e-45)
    assert exp(values)[0] == 0 and np.isinf(exp(values)[-1])


def test_what_is_not_contiguous_is_not_left_half_done() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        softmax(np.zeros((3, 4, 5), np.float32).transpose(0, 2, 1))
