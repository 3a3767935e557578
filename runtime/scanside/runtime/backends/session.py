"""The `Session` protocol: one opened network on one device."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from scanside.runtime.arrays import Float32
from scanside.runtime.errors import BackendError


@dataclass(frozen=True)
class SessionSpec:
    """What a session takes, gives and runs on.

    Attributes:
        input_shape: (C, *patch), without the batch axis.
        heads: Output channels K.
        device: The backend obtained, verified after opening.
        precision: The precision obtained: `fp32`, `mixed`, `bf16` or `int8`.
        batch: How many tiles one run takes to advantage; more are run in parts.
        engine: sha256 of the compiled engine that runs, where there is one.
        memory: Bytes of the device that a run of `batch` tiles takes beside the weights, where the engine states it.
    """

    input_shape: tuple[int, ...]
    heads: int
    device: str
    precision: str
    batch: int = 1
    engine: str | None = None
    memory: int | None = None


class Session(Protocol):
    """One network, ready to run. A context manager that closes itself."""

    spec: SessionSpec

    def run(self, tiles: Float32) -> Float32:
        """Run the network.

        Args:
            tiles: (N, C, *patch) float32, C-contiguous.

        Returns:
            (N, K, *patch) float32: a fresh, writable array that later runs do not touch.

        Raises:
            BackendError: If the shape is wrong or the backend fails.
            DeviceMemoryError: If the device has not enough memory for so many tiles at once.
        """
        ...

    def close(self) -> None:
        """Free the network. Running afterwards raises BackendError."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LentSession(Session, Protocol):
    """A session that also runs between arrays of its device: what a backend's `on_device` needs."""

    def between(self, image: Any, logits: Any) -> None:
        """`image` (N, C, *patch) → `logits` (N, K, *patch), which is filled: C-contiguous float32 of the device."""
        ...

    def scratch(self, batch: int) -> int:
        """Bytes of the device that a run of so many tiles takes between input and output."""
        ...


class Closing:
    """Context management for sessions, and the checks they share."""

    spec: SessionSpec

    def close(self) -> None:
        """Free the network."""

    def check(self, tiles: Float32) -> None:
        """Refuse tiles that are not (N, C, *patch) float32 of the network's shape."""
        if tiles.dtype != np.float32 or tiles.shape[1:] != self.spec.input_shape:
            raise BackendError(
                f"The network takes float32 tiles of shape (N, {', '.join(map(str, self.spec.input_shape))}), "
                f"not {tiles.dtype} {tiles.shape}."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
