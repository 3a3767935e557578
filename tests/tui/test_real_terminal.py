"""The terminal in a real terminal (tmux): keys go in as bytes, what is on the screen is read back."""

import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from scanside.runtime.appliance.store.states import State
from scanside.tui.demo.service import demo_bundle
from tests.tui.desk import Desk

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="NOT TESTED: there is no tmux; install it to test in a real terminal"
)


class Screen:
    """A tmux server of its own with one window."""

    def __init__(self, folder: Path, command: str, width: int = 120, height: int = 36) -> None:
        self._socket = str(folder / "tmux")
        self._environment = {
            **os.environ, "XDG_CONFIG_HOME": str(folder), "TMPDIR": str(folder), "TZ": "UTC",
            "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        }  # fmt: skip
        self._environment.pop("TMUX", None)
        command = f"{sys.executable} -m scanside.runtime.cli.main {command}; echo ended with $?; sleep 600"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), command)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *arguments],
            env=self._environment, capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        return done.stdout

    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    def keys(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def wait(self, words: str, seconds: float = 30) -> str:
        deadline = time.monotonic() + seconds
        while words not in (text := self.text()):
            assert time.monotonic() < deadline, f"{words!r} is not on the screen:\n{text}"
            time.sleep(0.1)
        return text

    def wait_until_gone(self, words: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while words in (text := self.text()):
            assert time.monotonic() < deadline, f"{words!r} is still on the screen:\n{text}"
            time.sleep(0.1)

    def close(self) -> None:
        with suppress(subprocess.SubprocessError):
            self._tmux("kill-server")


@pytest.fixture
def screens(tmp_path: Path) -> Iterator[list[Screen]]:
    made: list[Screen] = []
    yield made
    for one in made:
        one.close()


def test_a_result_is_accepted_in_a_real_terminal(tmp_path: Path, screens: list[Screen]) -> None:
    desk = Desk(tmp_path / "data")
    case_id = desk.finish(1, hold=True)
    config = tmp_path / "scanside.toml"
    config.write_text(
        f'[service]\ndata = "{tmp_path / "data"}"\nbundle = "{demo_bundle()}"\nresearch_use_only = true\n'
    )
    screen = Screen(tmp_path, f"tui -c {config}")
    screens.append(screen)
    text = screen.wait("◆ review")
    assert case_id in text and "RESEARCH USE ONLY" in text and "● PDAC 0.71 (0.58–0.82)" in text
    screen.resize(80, 24)
    screen.wait("q Quit")
    screen.keys("Enter")
    screen.wait("No image can be shown")  # it was read
    screen.keys("a")
    screen.wait(f"Accept the result of {case_id}?")
    screen.keys("Escape")
    time.sleep(0.5)  # a terminal tells Escape from the beginning of a key's bytes by a pause
    assert desk.case(case_id).state is State.REVIEW
    screen.keys("a")
    screen.wait(f"Accept the result of {case_id}?")
    screen.keys("Enter")
    screen.wait("↑ sending")
    assert desk.case(case_id).state is State.SENDING
    screen.keys("q")
    screen.wait("ended with 0")


@pytest.mark.slow
def test_the_demonstration_goes_from_received_images_to_an_accepted_result(
    tmp_path: Path, screens: list[Screen]
) -> None:
    screen = Screen(tmp_path, "tui --demo")
    screens.append(screen)
    screen.wait("synthetic patients", 60)
    screen.wait("↓ receiving", 120)
    screen.wait("▶", 120)
    screen.wait("◆ review", 900)
    screen.keys("f", "f")  # those that wait for review
    screen.wait("◆ review")
    screen.keys("Enter")
    screen.wait("  ADC ", 60)  # the last of its images was read
    time.sleep(2)
    screen.keys("a")
    screen.wait("Accept the result of")
    screen.keys("Enter")
    screen.wait_until_gone("Accept the result of")
    screen.keys("Escape")
    screen.wait("Result, probability")
    screen.keys("Escape")  # all cases again
    screen.wait("✓ done", 60)
    screen.keys("2")
    screen.wait("archive          ✓ answered", 60)
    screen.keys("q")
    screen.wait("ended with 0", 60)
    assert not list(tmp_path.glob("scanside-demo-*")), "nothing is left"


def test_it_ends_when_its_terminal_is_gone(tmp_path: Path) -> None:
    """Without a keyboard it went on for ever, at half a core."""
    desk = Desk(tmp_path / "data")
    config = tmp_path / "scanside.toml"
    config.write_text(
        f'[service]\ndata = "{desk.config.service.data}"\nbundle = "{demo_bundle()}"\nresearch_use_only = true\n'
    )
    master, slave = pty.openpty()
    child = subprocess.Popen(
        ["setsid", sys.executable, "-m", "scanside.runtime.cli.main", "tui", "-c", str(config)],
        stdin=slave, stdout=slave, stderr=slave,
        env={**os.environ, "TERM": "xterm", "XDG_CONFIG_HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    deadline = time.monotonic() + 60
    while b"RESEARCH USE ONLY" not in shown:
        assert time.monotonic() < deadline, shown
        shown += os.read(master, 1 << 16)
    os.close(master)
    child.wait(60)
