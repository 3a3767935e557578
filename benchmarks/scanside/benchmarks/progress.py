"""Progress of long work on stderr, a line a step, with the time left."""

import sys
import time


class Progress:
    """Counts steps of about equal length and says how long the rest will take."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done, self._start = steps, 0, time.monotonic()

    def say(self, words: str) -> None:
        """Words that are no step."""
        print(f"{words} …", file=sys.stderr, flush=True)

    def step(self, words: str) -> None:
        """One step is done."""
        self._done += 1
        left = (time.monotonic() - self._start) / self._done * (self._steps - self._done)
        rest = f"; about {duration(left)} left" if self._done < self._steps else ""
        print(f"[{self._done}/{self._steps}] {words}{rest}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds in words, such as `2 min 5 s`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
