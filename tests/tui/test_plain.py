"""The plain mode: changes, alarms, warnings in lines; typed commands with the guards and questions of the screens."""

import io
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.records import Warned
from scanside.runtime.appliance.store.states import State
from scanside.tui.commands import COMMANDS
from scanside.tui.demo.service import demo_bundle
from scanside.tui.plain import Plain
from tests.tui.desk import Desk


class Typist(io.TextIOBase):
    """A keyboard that a test types on."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue()

    def type(self, line: str) -> None:
        self._lines.put(f"{line}\n")

    def __iter__(self) -> Iterator[str]:
        while (line := self._lines.get()) != "end\n":
            yield line


class Running:
    """The plain mode in a thread."""

    def __init__(self, config: Config) -> None:
        self.keys, self.out = Typist(), io.StringIO()
        plain = Plain(config, keyboard=self.keys, out=self.out)  # type: ignore[arg-type]
        self.thread = threading.Thread(target=plain.run)
        self.thread.start()

    def wait(self, words: str) -> str:
        deadline = time.monotonic() + 30
        while words not in self.out.getvalue():
            assert time.monotonic() < deadline, f"{words!r} was not said:\n{self.out.getvalue()}"
            time.sleep(0.02)
        return self.out.getvalue()

    def end(self) -> None:
        self.keys.type("end")
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def warned(desk: Desk) -> str:
    return desk.finish(1, hold=True, warnings=(Warned("other", "The lesions lie 106 mm apart."),))


def test_it_says_what_the_screens_say(desk: Desk, warned: str) -> None:
    other = desk.finish(2, status="indeterminate", chance=0.5)
    here = Running(desk.config)
    text = here.wait(other)
    assert "RESEARCH USE ONLY" in text
    assert "review; Result ok: PDAC with probability 0.71 (0.58–0.82); it names PDAC" in text
    assert "warning: The lesions lie 106 mm apart" in text and "0.50" not in text
    assert "indeterminate; no class is named" in text
    desk.die()
    here.wait("alarm: ✗ service not running")
    desk.live()
    here.wait("alarm over: ✗ service not running")
    here.end()


def test_commands_have_the_guards_and_questions_of_the_screens(desk: Desk, warned: str) -> None:
    here = Running(desk.config)
    here.wait(warned)
    here.keys.type("help")
    for command in COMMANDS:
        if command.act and command.act != "choose":
            here.wait(f"{command.act} CASE")
    here.keys.type(f"retry {warned[:5]}")
    here.wait("queued again can be what is cancelled or failed")
    here.keys.type(f"reject {warned}")
    here.wait("warning: The lesions lie 106 mm apart.")
    here.wait("yes and the reason, or no?")
    here.keys.type("yes outside the pancreas")
    here.wait("rejected; it is now rejected.")
    case = desk.case(warned)
    assert (case.state, case.reason) == (State.REJECTED, "outside the pancreas")
    here.wait("rejected; Result ok")
    here.keys.type(f"undo {warned}")
    here.wait("Take back what was decided (rejected)")
    here.keys.type("yes")
    here.wait("it waits for review again")
    assert desk.case(warned).state is State.REVIEW
    here.keys.type(f"accept {warned}")
    here.keys.type("no")
    here.wait("Nothing is done.")
    here.end()


def test_the_command_tells_changes_until_it_is_ended(desk: Desk, tmp_path: Path) -> None:
    case_id = desk.receive(1)
    config = tmp_path / "scanside.toml"
    config.write_text(
        f'[service]\ndata = "{desk.config.service.data}"\nbundle = "{demo_bundle()}"\nresearch_use_only = true\n'
    )
    command = [sys.executable, "-m", "scanside.runtime.cli.main", "tui", "--plain", "-c", str(config)]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        line = ""
        while case_id not in line:
            line = child.stdout.readline()
            assert line, "it ended"
        assert "queued" in line and "\x1b" not in line
    finally:
        child.terminate()
        child.wait(30)
