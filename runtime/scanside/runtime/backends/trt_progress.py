"""How far the build of a TensorRT engine is."""

from collections.abc import Callable
from typing import Any


def monitor(lib: Any, progress: Callable[[float], None]) -> Any:
    """An `IProgressMonitor` of the library that turns its nested phases into one part of the whole.

    Args:
        lib: The library.
        progress: Told the part that is done, 0 to 1, never falling.
    """

    class Monitor(lib.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.phases: dict[str, tuple[str | None, int, int]] = {}
            self.told = -1.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases[name] = (parent, max(steps, 1), 0)
            self._tell()

        def step_complete(self, name: str, step: int) -> bool:
            parent, steps, _ = self.phases[name]
            self.phases[name] = (parent, steps, step + 1)
            self._tell()
            return True

        def phase_finish(self, name: str) -> None:
            self.phases.pop(name, None)
            if not self.phases:
                progress(1.0)

        def _tell(self) -> None:
            part, weight, phase = 0.0, 1.0, None
            while True:
                inner = [(name, row) for name, row in self.phases.items() if row[0] == phase]
                if not inner:
                    break
                phase, (_, steps, done) = inner[-1]
                part += weight * min(done, steps) / steps
                weight /= steps
            if self.told < part < 1:
                self.told = part
                progress(part)

    return Monitor()
