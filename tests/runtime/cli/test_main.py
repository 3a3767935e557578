import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint, version
from typing import Any

import pytest
from typer.main import get_command

from scanside.runtime.cli import main
from scanside.runtime.errors import ExitCode
from tests.runtime.cli.conftest import Command

COMMANDS = (
    "segment", "bundle inspect", "bundle verify", "selftest", "doctor", "export nnunet", "bench peers",
    "bench parity", "demo",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(scanside: Command, command: str) -> None:
    done = scanside(*command.split(), "--help")
    assert done.code == 0
    assert re.search(rf"Examples?:\s+scanside {command}", done.out), done.out


def test_the_root_lists_all_commands_without_loading_them(scanside: Command) -> None:
    done = scanside("--help")
    assert done.code == 0
    for command in COMMANDS:
        assert command.split()[0] in done.out


@pytest.mark.parametrize("arguments", [[], ["segmnt"], ["segment"], ["segment", "x"], ["doctor", "--nope"]])
def test_wrong_usage_is_exit_code_2(scanside: Command, arguments: list[str]) -> None:
    assert scanside(*arguments).code == ExitCode.USAGE


def test_a_command_without_its_packages_says_which_extra(
    scanside: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    find = main.importlib.util.find_spec
    monkeypatch.setattr(
        main.importlib.util, "find_spec", lambda name: None if name == "torch" else find(name)
    )
    done = scanside("export", "nnunet", tmp_path, "-o", tmp_path / "out")
    assert done.code == ExitCode.USAGE
    assert "torch" in done.err and "pip install" in done.err and "[export]'" in done.err


def test_a_component_that_is_not_there_says_so(scanside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = EntryPoint("tui", "scanside.nowhere.cli:app", main.GROUP)
    monkeypatch.setattr(main, "entry_points", lambda group: [absent])
    done = scanside("tui", "--demo")
    assert done.code == ExitCode.USAGE and "pip install" in done.err and "[tui]'" in done.err
    assert scanside("--help").code == 0


def test_an_unforeseen_error_is_one_sentence(scanside: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from scanside.runtime.cli import doctor

    def broken() -> None:
        raise ZeroDivisionError("by nature")

    monkeypatch.setattr(doctor, "report", broken)
    done = scanside("doctor")
    assert done.code == 1 and "ZeroDivisionError" in done.err and len(done.err.strip().splitlines()) == 1
    monkeypatch.setenv("SCANSIDE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main.run(["doctor"])


def test_the_app_is_a_group() -> None:
    assert hasattr(get_command(main.app), "list_commands")


def test_the_version_is_that_of_the_package(scanside: Command) -> None:
    done = scanside("--version")
    assert (done.code, done.out.strip()) == (0, f"scanside {version('scanside')}")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_h_is_help(scanside: Command, command: str) -> None:
    short, long = scanside(*command.split(), "-h"), scanside(*command.split(), "--help")
    assert short.code == 0 and short.out == long.out


@pytest.mark.parametrize(
    ("words", "meant"), [("segmnt x", "segment"), ("bundle inspct", "inspect"), ("bench peer", "peers")]
)
def test_a_command_that_is_spelled_nearly_right_is_named(scanside: Command, words: str, meant: str) -> None:
    done = scanside(*words.split())
    assert done.code == ExitCode.USAGE and "id you mean" in done.err and meant in done.err


def test_commands_stand_in_groups_and_no_sentence_is_cut_off(scanside: Command) -> None:
    text = scanside("--help").out
    headings = ["Models:", "Studies:", "Appliance:", "Research:", "Machine:"]
    assert sorted(headings, key=text.index) == headings and "Other:" not in text
    assert (
        "..." not in text.partition("Models:")[2]
        and "..." not in scanside("bench", "--help").out.partition("Commands:")[2]
    )


def test_the_shell_can_complete_commands(tmp_path: Any) -> None:
    """As bash asks: a variable says what is typed so far."""
    asked = {"_SCANSIDE_COMPLETE": "complete_bash", "COMP_WORDS": "scanside se", "COMP_CWORD": "1"}
    program = [sys.executable, "-m", "scanside.runtime.cli.main"]
    done = subprocess.run(program, env=os.environ | asked, capture_output=True, text=True, check=False)
    assert {"segment", "selftest", "serve", "send"} == set(done.stdout.split()), done.stderr
