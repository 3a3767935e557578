"""Memory that lacks and networks that do not compute, told by sessions that fail in exactly those ways."""

import numpy as np
import pytest

from scanside.runtime.arrays import Float32
from scanside.runtime.backends.guard import Guarded
from scanside.runtime.backends.session import Closing, SessionSpec
from scanside.runtime.errors import BackendError, DeviceMemoryError, ExitCode
from tests.support.sentences import assert_one_sentence

SHAPE = (1, 3, 4, 5)


class Small(Closing):
    """A device that holds `room` tiles; what it computes depends on each tile alone."""

    def __init__(self, room: int, batch: int = 1, constant: float | None = None) -> None:
        self.spec = SessionSpec(SHAPE, 2, "cuda", "fp32", batch)
        self.room, self.constant = room, constant
        self.sizes: list[int] = []
        self.closed = False

    def run(self, tiles: Float32) -> Float32:
        self.check(tiles)
        self.sizes.append(len(tiles))
        if len(tiles) > self.room:
            raise DeviceMemoryError(f"cuda needs {len(tiles)} GiB of device memory.")
        output = np.concatenate([tiles * 2, tiles - 1], axis=1)
        return output if self.constant is None else np.full_like(output, self.constant)

    def close(self) -> None:
        self.closed = True


def tiles(count: int) -> Float32:
    return np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("room", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("batch", [1, 2, 8])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9])
def test_whatever_fits_the_result_is_the_same(room: int, batch: int, count: int) -> None:
    given = tiles(count)
    output = Guarded(Small(room, batch)).run(given)
    np.testing.assert_array_equal(output, Small(99).run(given))


def test_the_smaller_batch_is_kept() -> None:
    session = Small(room=2, batch=8)
    guarded = Guarded(session)
    guarded.run(tiles(8))
    assert session.sizes == [8, 4, 2, 2, 2, 2]
    session.sizes.clear()
    guarded.run(tiles(8))
    assert session.sizes == [2, 2, 2, 2]


def test_parts_have_one_shape() -> None:
    session = Small(room=8, batch=4)
    Guarded(session).run(tiles(6))
    assert session.sizes == [4, 4]


def test_one_tile_that_does_not_fit_is_refused_with_the_memory_it_needs() -> None:
    guarded = Guarded(Small(room=0, batch=8))
    with pytest.raises(BackendError) as caught:
        guarded.run(tiles(4))
    assert_one_sentence(str(caught.value), "1 GiB", "--device cpu")
    assert caught.value.exit_code == ExitCode.BACKEND


@pytest.mark.parametrize("constant", [0.0, 3.5, -1e4])
def test_a_constant_output_is_refused_by_name(constant: float) -> None:
    with pytest.raises(BackendError) as caught:
        Guarded(Small(9, constant=constant)).run(tiles(1))
    assert_one_sentence(str(caught.value), "constant", "cuda", "fp32")


def test_air_may_give_a_constant() -> None:
    guarded = Guarded(Small(9, constant=0.0))
    guarded.run(np.zeros((1, *SHAPE), np.float32))
    with pytest.raises(BackendError, match="constant"):  # the first tile that shows anything is looked at
        guarded.run(tiles(1))


def test_one_working_channel_is_enough() -> None:
    session = Small(9)
    session.run = lambda given: np.concatenate([given, given * 0], axis=1)  # type: ignore[method-assign]
    Guarded(session).run(tiles(1))


def test_other_failures_pass_through_and_closing_closes() -> None:
    session = Small(9)
    guarded = Guarded(session)
    with pytest.raises(BackendError, match="takes float32 tiles"):
        guarded.run(tiles(1)[..., :-1])
    with guarded:
        pass
    assert session.closed
