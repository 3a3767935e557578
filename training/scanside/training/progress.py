"""One line on stderr while something long runs: how far it is and how long it still takes."""

import sys
import time


class Progress:
    """Counts steps; on a terminal the line renews itself, elsewhere a line appears every half minute."""

    def __init__(self, words: str, total: int) -> None:
        """Count `total` steps of `words`, such as `measuring features`."""
        self._words, self._total, self._done = words, total, 0
        self._started = time.monotonic()
        self._said = self._started
        self._terminal = sys.stderr.isatty()

    def __call__(self) -> None:
        """A step is done."""
        self._done += 1
        now = time.monotonic()
        last = self._done == self._total
        if now - self._said < (0.2 if self._terminal else 30) and not (last and self._terminal):
            return
        self._said = now
        left = (now - self._started) / self._done * (self._total - self._done)
        line = f"{self._words}: {self._done} of {self._total}, {duration(left)} left"
        if self._terminal:
            print(f"\r{line}\x1b[K", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Time left, in words: seconds, or minutes from a minute and a half on."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
