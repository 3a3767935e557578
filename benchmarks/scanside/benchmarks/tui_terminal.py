"""The operator's terminal in a pseudo-terminal: keys go in, bytes come out, both on this machine's clock.

Nothing of the terminal's code is imported: what is measured is the process that an operator starts.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from pathlib import Path

import psutil

from scanside.benchmarks.processes import MIB, SCANSIDE, high_water_mark
from scanside.runtime.errors import CaseError

SIZE = (160, 50)
"""Columns and rows of the terminal."""
_CELL, _WHO = b"\x1b[16t", b"\x1b[c"
GRAPHICS = {
    "half blocks": {_WHO: b"\x1b[?62;22c"},
    "sixel": {_CELL: b"\x1b[6;20;10t", _WHO: b"\x1b[?62;4;22c"},
}
"""What a program asks → the answer: how large is a cell in pixels, and what kind of terminal are you? The first has
colours and no pixels, the second has Sixel."""
_QUESTION = re.compile(b"|".join(map(re.escape, (_CELL, _WHO))))
_QUIET = 0.04
"""A burst of output has ended when nothing came for so long, s."""
_PATIENCE = 5.0
"""How long a key may take until it counts as one that draws nothing, s."""


class Terminal:
    """The command in a pseudo-terminal."""

    def __init__(
        self, config: Path, size: tuple[int, int] = SIZE, graphics: str = "half blocks", *arguments: str
    ) -> None:
        """Start it.

        Args:
            arguments: Of the command instead of `-c` and the configuration, beside which settings stand in any case.
        """
        self._master, slave = pty.openpty()
        self._answers = GRAPHICS[graphics]
        columns, rows = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.began = time.monotonic()
        self._process = psutil.Popen(
            [*SCANSIDE, "tui", *(arguments or ("-c", str(config)))],
            stdin=slave,
            stdout=slave,
            stderr=slave,  # where Textual draws
            env=os.environ
            | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "XDG_CONFIG_HOME": str(config.parent)},
            start_new_session=True,
        )
        os.close(slave)
        self._text = b""

    def read(self, seconds: float) -> bytes:
        """What comes within a time; empty when nothing does."""
        if not select.select([self._master], [], [], seconds)[0]:
            return b""
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            raise CaseError(
                "The terminal has ended while it was measured; run `scanside tui` by hand."
            ) from None
        for question in _QUESTION.findall(data):
            os.write(self._master, self._answers.get(question, b""))
        self._text = (self._text + data)[-(1 << 20) :]
        return data

    def wait(self, words: bytes, seconds: float = 60.0) -> float:
        """Until words have been sent; returns when, on the monotonic clock."""
        deadline = time.monotonic() + seconds
        while words not in self._text:
            if time.monotonic() > deadline:
                raise CaseError(f"The terminal did not show {words!r} within {seconds:g} s.")
            self.read(0.05)
        return time.monotonic()

    @property
    def keyboard(self) -> int:
        """Where keys are written."""
        return self._master

    def bytes_per_second(self, seconds: float) -> float:
        """What is sent while nobody types, within a minute of the clock: its change is what may be drawn at rest."""
        left = 60 - time.time() % 60
        if left < seconds + 2:
            self.settle(left + 2)
        begin, count = time.monotonic(), 0
        while time.monotonic() - begin < seconds:
            count += len(self.read(0.05))
        return round(count / (time.monotonic() - begin), 1)

    def settle(self, seconds: float) -> None:
        """Take what comes for a time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.read(0.05)

    def press(self, key: bytes) -> float | None:
        """Press a key; returns the seconds to the last byte that came of it, or None when none came in time."""
        while self.read(0.0):
            pass
        begin = time.monotonic()
        os.write(self._master, key)
        last = None
        while self.read(_PATIENCE if last is None else _QUIET):
            last = time.monotonic()
        return None if last is None else last - begin

    def cpu_seconds(self) -> float:
        """Processor time of the process so far."""
        return float(sum(self._process.cpu_times()[:2]))

    def cpu(self, seconds: float) -> float:
        """Part of one core that it takes when nobody does anything."""
        before, begin = self.cpu_seconds(), time.monotonic()
        self.settle(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - begin)

    def memory_mib(self) -> float:
        """Largest resident set so far."""
        return high_water_mark(self._process.pid) / MIB

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)  # a demonstration ends its service first
        except psutil.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._master)
