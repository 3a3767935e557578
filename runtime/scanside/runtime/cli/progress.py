"""Progress on a terminal, drawn from the pipeline's events; silent elsewhere."""

import sys
from types import TracebackType
from typing import Self

from scanside.runtime.events import CaseFailed, CaseFinished, Event, StageProgress, StageStarted


class ProgressBars:
    """A bar for the cases and one for the tiles of the case at hand, with the time left, on stderr.

    Attributes:
        shown: Whether stderr is a terminal that can show them.
    """

    def __init__(self, cases: int) -> None:
        """Prepare for `cases` cases; nothing is drawn before the `with` block."""
        self.shown = sys.stderr.isatty()
        self._bars = None
        if self.shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._all = self._bars.add_task("cases", total=cases, visible=cases > 1)
            self._one = self._bars.add_task("reading", total=None)

    def __call__(self, event: Event) -> None:
        """Listen to an event."""
        if self._bars is None:
            return
        if isinstance(event, StageStarted):
            self._bars.update(self._one, description=f"{event.case}: {event.stage}")
        elif isinstance(event, StageProgress):
            self._bars.update(self._one, total=event.total, completed=event.done)
        elif isinstance(event, CaseFinished | CaseFailed):
            self._bars.advance(self._all)

    def say(self, sentence: str) -> None:
        """Put a sentence on stderr, above the bars where they are drawn."""
        if self._bars is None:
            print(sentence, file=sys.stderr, flush=True)
        else:
            self._bars.console.print(sentence, markup=False, highlight=False)

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
