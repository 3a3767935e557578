import re
from importlib.metadata import EntryPoint
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

    monkeypatch.setattr(doctor, "examine", broken)
    done = scanside("doctor")
    assert done.code == 1 and "ZeroDivisionError" in done.err and len(done.err.strip().splitlines()) == 1
    monkeypatch.setenv("SCANSIDE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main.run(["doctor"])


def test_the_app_is_a_group() -> None:
    assert hasattr(get_command(main.app), "list_commands")
