"""Times of a case's stages, announced as they begin and end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from scanside.runtime.events import Listener, StageFinished, StageProgress, StageStarted


@dataclass
class Clock:
    """Announces stages and keeps their times."""

    case: str
    listener: Listener
    ms: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce and time what is done inside the block."""
        self.listener(StageStarted(self.case, name))
        start = time.perf_counter()
        yield
        self.ms[name] = (time.perf_counter() - start) * 1000
        self.listener(StageFinished(self.case, name, self.ms[name]))

    def progress(self, name: str, done: int, total: int) -> None:
        """Announce a part of a stage."""
        self.listener(StageProgress(self.case, name, done, total))
