"""What stands between every network and whoever runs it: parts of a batch that the memory holds, and a first look."""

from typing import Any, cast

import numpy as np

from scanside.runtime.arrays import Float32
from scanside.runtime.backends.session import Closing, LentSession, Session
from scanside.runtime.errors import BackendError, DeviceMemoryError


class Guarded(Closing):
    """A session that runs in smaller parts where the device lacks memory, and refuses a constant output.

    A network normalises and convolves each tile of a batch for itself, so that parts give what the whole gives, to
    within the rounding of the kernels that the device takes for another batch: the same that the golden cases judge.
    """

    def __init__(self, session: Session) -> None:
        self._session, self.spec = session, session.spec
        self._part = max(1, session.spec.batch)
        self._looked = False

    def run(self, tiles: Float32) -> Float32:
        """See `Session.run`.

        Raises:
            DeviceMemoryError: If not even one tile fits.
            BackendError: If the first output says that the network does not compute.
        """
        while True:
            try:
                output = self._in_parts(tiles)
                break
            except DeviceMemoryError as error:
                if self._part == 1 or len(tiles) == 1:
                    raise DeviceMemoryError(
                        f"{str(error).rstrip('.')}; free memory on the device, or use --device cpu."
                    ) from error
                self._part = min(self._part, len(tiles)) // 2
        self._look(tiles, output)
        return output

    def between(self, image: Any, logits: Any) -> None:
        """See `LentSession.between`; whoever fills the arrays tries smaller ones where memory lacks."""
        cast(LentSession, self._session).between(image, logits)
        if not self._looked:
            self._look(image, logits)

    def scratch(self, batch: int) -> int:
        """See `LentSession.scratch`."""
        return cast(LentSession, self._session).scratch(batch)

    def close(self) -> None:
        """Free the network."""
        self._session.close()

    def _in_parts(self, tiles: Float32) -> Float32:
        if len(tiles) <= self._part:
            return self._session.run(tiles)
        parts = []
        for start in range(0, len(tiles), self._part):
            part = tiles[start : start + self._part]
            missing = self._part - len(part)
            if missing:  # one shape for all parts: a device prepares its kernels for each shape anew
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.float32)])
            parts.append(self._session.run(part)[: self._part - missing])
        return np.concatenate(parts)

    def _look(self, tiles: Any, output: Any) -> None:
        """The all-black mask of a broken engine, caught at the first tile that shows anything; on any device."""
        if self._looked or float(tiles[0].min()) == float(tiles[0].max()):
            return
        self._looked = True
        first = output[0].reshape(len(output[0]), -1)
        if not (first.max(axis=1) != first.min(axis=1)).any():
            raise BackendError(
                f"The network gives a constant on {self.spec.device} in {self.spec.precision}: it does not compute "
                "here; use another device or --precision fp32."
            )
