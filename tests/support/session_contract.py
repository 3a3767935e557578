"""What every `Session` must do, whatever runs behind it.

A backend's test module subclasses `SessionTests`, names its backend, precision and tolerance, and inherits the
tests. Expected values come from the PyTorch network itself, never from another session.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch

import tests.support.calm  # noqa: F401
from scanside.export.mixed import to_mixed
from scanside.runtime.backends import table
from scanside.runtime.backends.session import Session
from scanside.runtime.errors import BackendError
from tests.support.onnx_exports import to_onnx
from tests.support.phantoms import smooth
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import Tiny, make_network

Float = npt.NDArray[np.float32]
NETWORKS = {
    "3d": (Tiny(), 2),
    "2d": (Tiny(patch=(32, 24), spacing=(1.0, 1.0), architecture="residual"), 1),
}


@cache
def model(name: str, precision: str) -> bytes:
    """The ONNX bytes of a tiny network."""
    tiny, channels = NETWORKS[name]
    exported = to_onnx(make_network(tiny, channels), channels, tiny.patch)
    return bytes((to_mixed(exported) if precision == "mixed" else exported).SerializeToString())


def tiles(name: str, count: int, seed: int = 0) -> Float:
    tiny, channels = NETWORKS[name]
    return np.stack([smooth((channels, *tiny.patch), seed + i) for i in range(count)])


@cache
def _torch_output(name: str, count: int, seed: int) -> Float:
    tiny, channels = NETWORKS[name]
    with torch.inference_mode():
        output: Float = make_network(tiny, channels)(torch.from_numpy(tiles(name, count, seed))).numpy()
    return output


class SessionTests:
    """The contract. Subclasses set the three class attributes."""

    device: str
    precision: str = "fp32"
    tolerance: float
    """Largest error relative to the largest output of the PyTorch network."""

    @pytest.fixture(params=list(NETWORKS))
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def session(self, name: str) -> Iterator[Session]:
        with self.open(name) as opened:
            yield opened

    def open(self, name: str) -> Session:
        file = "mixed" if self.precision == "mixed" else "fp32"
        return table.open_session(self.device, model(name, file), self.precision, threads=1)

    def assert_close(self, output: Float, name: str, count: int, seed: int = 0) -> None:
        expected = _torch_output(name, count, seed)
        assert output.shape == expected.shape
        assert np.abs(output - expected).max() <= self.tolerance * np.abs(expected).max()

    def test_spec_says_what_was_opened(self, session: Session, name: str) -> None:
        tiny, channels = NETWORKS[name]
        assert session.spec.input_shape == (channels, *tiny.patch)
        assert session.spec.heads == tiny.heads
        assert (session.spec.device, session.spec.precision) == (self.device, self.precision)

    @pytest.mark.parametrize("count", [1, 3])
    def test_output_is_that_of_the_network(self, session: Session, name: str, count: int) -> None:
        output = session.run(tiles(name, count))
        assert output.dtype == np.float32
        self.assert_close(output, name, count)

    def test_output_is_fresh_and_writable(self, session: Session, name: str) -> None:
        first = session.run(tiles(name, 1))
        assert first.flags.writeable and first.flags.c_contiguous
        kept = first.copy()
        second = session.run(tiles(name, 1, seed=9))
        np.testing.assert_array_equal(first, kept)
        self.assert_close(second, name, 1, seed=9)
        first += 1
        self.assert_close(session.run(tiles(name, 1)), name, 1)

    def test_input_is_not_changed(self, session: Session, name: str) -> None:
        given = tiles(name, 1)
        session.run(given)
        np.testing.assert_array_equal(given, tiles(name, 1))

    def test_input_may_change_after_the_run(self, session: Session, name: str) -> None:
        given = tiles(name, 1)
        output = session.run(given)
        given[...] = 0
        self.assert_close(output, name, 1)

    def test_same_input_same_bits(self, session: Session, name: str) -> None:
        first = session.run(tiles(name, 1))
        for _ in range(3):
            np.testing.assert_array_equal(session.run(tiles(name, 1)), first)

    def test_two_sessions_do_not_disturb_each_other(self, session: Session, name: str) -> None:
        first = session.run(tiles(name, 1))
        with self.open(name) as other:
            np.testing.assert_array_equal(other.run(tiles(name, 1)), first)
        np.testing.assert_array_equal(session.run(tiles(name, 1)), first)

    def test_wrong_tiles_are_refused(self, session: Session, name: str) -> None:
        right = tiles(name, 1)
        for wrong in (
            right[0],
            right[..., :-1],
            np.concatenate([right, right], axis=1),
            right.astype(np.float64),
            right.astype(np.float16),
        ):
            with pytest.raises(BackendError) as caught:
                session.run(wrong)
            assert str(caught.value).endswith(".")
        self.assert_close(session.run(right), name, 1)

    def test_closed_is_closed(self, name: str) -> None:
        session = self.open(name)
        session.close()
        session.close()
        with pytest.raises(BackendError, match="closed"):
            session.run(tiles(name, 1))

    def test_context_manager_closes(self, name: str) -> None:
        with self.open(name) as session:
            session.run(tiles(name, 1))
        with pytest.raises(BackendError, match="closed"):
            session.run(tiles(name, 1))

    @pytest.mark.parametrize("damage", ["garbage", "empty", "truncated"])
    def test_a_damaged_model_is_refused(self, damage: str) -> None:
        whole = model("3d", "fp32")
        given = {"garbage": b"not a network at all" * 50, "empty": b"", "truncated": whole[: len(whole) // 2]}
        with pytest.raises(BackendError) as caught:
            table.open_session(self.device, given[damage], self.precision)
        assert_one_sentence(str(caught.value))
