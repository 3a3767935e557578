"""Real pixels: what a terminal answers decides, and what it is sent shows the picture."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from textual.geometry import Size

from scanside.tui.case.cells import Mark
from scanside.tui.case.graphics import Cells, Graphics, Terminal, found, understood
from scanside.tui.case.surface import lettered

ANSWERS = {
    "sixel": [(rb"\x1b\[c", b"\x1b[?62;4;22c")],
    "kitty": [
        (rb"\x1b_G(?:[^;]*,)?i=(\d+)[^;]*;AAAA\x1b\\", b"\x1b_Gi=%s;OK\x1b\\"),
        (rb"\x1b\[c", b"\x1b[?62;22c"),
    ],
    "cells": [(rb"\x1b\[c", b"\x1b[?62;22c")],
}
PROGRAM = """
import numpy as np
from textual.app import App
from scanside.tui.case.graphics import probe
from scanside.tui.case.surface import surface
terminal = probe()
print("found", terminal.graphics, terminal.cell, flush=True)

class Shows(App):
    CSS = "Characters, Pixels { width: 30; height: 10; }"
    def compose(self):
        self.surface = surface(terminal)
        yield self.surface
    def on_mount(self):
        self.call_after_refresh(self.paint)
    def paint(self):
        rows, columns = self.surface.pixels
        self.surface.show(np.full((rows, columns, 3), (200, 40, 40), np.uint8), [])
        self.call_after_refresh(self.set_timer, 0.2, self.exit)  # once it has been drawn

Shows().run()
"""
SHOWN = {
    "sixel": rb"\x1bP[0-9;]*q",
    "kitty": rb"\x1b_G[^\x1b]*a=[tT]|\x1b_G[^\x1b]*;iVBOR",
    "cells": "▀".encode(),
}


def in_terminal(answers: list[tuple[bytes, bytes]]) -> bytes:
    """Run the program in a pseudo-terminal that answers as told; returns everything that it wrote."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 800, 480))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment.pop("TMUX", None)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        close_fds=True,
        env=environment,
    ) as process:
        os.close(slave)
        written, seen, deadline = b"", 0, monotonic() + 50
        while monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.1)
            if ready:
                try:
                    written += os.read(master, 65536)
                except OSError:
                    break
                for pattern, answer in answers:
                    if match := re.search(pattern, written[seen:]):
                        os.write(master, answer % match.groups() if match.groups() else answer)
                        seen += match.end()
            elif process.poll() is not None:
                break
        process.kill()
    os.close(master)
    return written


@pytest.mark.parametrize("kind", list(ANSWERS))
def test_the_terminal_decides_how_pixels_are_shown(kind: str) -> None:
    for _ in range(4):  # on a busy machine an answer may come later than it is waited for
        written = in_terminal(ANSWERS[kind])
        if f"found {kind}".encode() in written:
            break
    assert f"found {kind} (10, 20)".encode() in written, written[:2000]
    assert re.search(SHOWN[kind], written), written[-2000:]
    for other in set(SHOWN) - {kind}:
        head = written.split(b"found", 1)[1]
        assert not re.search(SHOWN[other], head), f"{other} in a terminal of {kind}"


def test_answers_are_understood() -> None:
    kitty, sixel, neither = b"\x1b_Gi=31;OK\x1b\\", b"\x1b[?62;4;22c", b"\x1b[?64;22c"
    cases = {
        b"": (Graphics.CELLS, (10, 20)),
        b"\x1b[6;34;17t" + neither: (Graphics.CELLS, (17, 34)),
        b"\x1b[6;0;0t" + kitty + neither: (Graphics.KITTY, (10, 20)),
        b"\x1b_Gi=31;EINVAL\x1b\\" + neither: (Graphics.CELLS, (10, 20)),
        kitty + sixel: (Graphics.SIXEL, (10, 20)),
    }
    for answer, (graphics, cell) in cases.items():
        found = understood(answer, few_colours=False, multiplexed=False)
        assert (found.graphics, found.cell) == (graphics, cell), answer
    behind = understood(sixel, few_colours=True, multiplexed=True)
    assert behind == Terminal(Graphics.CELLS, few_colours=True), "tmux answers, whatever stands behind it"


def test_without_a_terminal_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from scanside.tui.case.graphics import probe; print(probe().graphics);"
         "print('textual_image' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split("\n")[:2] == ["cells", "False"]
    assert found() == Terminal() and found().graphics is Graphics.CELLS


def test_half_a_cell_is_as_tall_as_the_terminal_says() -> None:
    assert Terminal(cell=(10, 20)).tall(Cells.HALF) == 1.0
    assert Terminal(cell=(10, 24)).tall(Cells.HALF) == 1.2
    assert Terminal(cell=(1, 100)).tall(Cells.HALF) == 1.4, "a terminal that says nonsense"
    assert Terminal(cell=(10, 21)).tall(Cells.SEXTANTS) == pytest.approx(1.4)
    assert Terminal(cell=(10, 20)).tall(Cells.OCTANTS) == 1.0


def test_marks_are_written_into_the_pixels() -> None:
    picture = np.full((200, 300, 3), 90, np.uint8)
    made = lettered(picture, [Mark(5, 0, "R"), Mark(5, -1, "L")], Size(30, 10))
    assert made.shape == picture.shape and (picture == 90).all()
    changed = np.argwhere((made != picture).any(axis=2))
    assert len(changed) and ((changed[:, 1] < 20) | (changed[:, 1] > 280)).all()
    assert ((changed[:, 0] >= 95) & (changed[:, 0] < 125)).all()
    assert (made == 255).any()


def test_the_package_is_not_asked_for_by_tests(tmp_path: Path) -> None:
    """Nothing of the screen loads textual-image by itself: a query would block a test in a real terminal."""
    code = "import sys, scanside.tui.case.screen; sys.exit('textual_image' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0
