"""`scanside tui`: its arguments, its sentences, its exit codes, the plain mode, keys of one's own."""

import importlib
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import grimp
import pytest
from textual.binding import Binding
from textual.widgets import Static

import scanside.tui
from scanside.runtime.cli.main import run
from scanside.runtime.errors import ExitCode, UsageError
from scanside.tui.actions import ACTS
from scanside.tui.app import ScansideApp
from scanside.tui.commands import BY_NAME, COMMANDS, SCREENS, Place
from scanside.tui.demo.service import demo_bundle
from scanside.tui.keys import load_keys
from scanside.tui.widgets.confirm import ConfirmScreen
from tests.support.interpreter import python
from tests.support.sentences import assert_one_sentence
from tests.tui.desk import OPERATOR, Desk, loaded, until


def toml_of(desk: Desk, folder: Path) -> Path:
    path = folder / "scanside.toml"
    path.write_text(
        f'[service]\ndata = "{desk.config.service.data}"\nbundle = "{demo_bundle()}"\nresearch_use_only = true\n'
    )
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "nowhere.toml"], ["nowhere.toml"]),
        (["--theme", "pink"], ["pink", "dark, light, high-contrast"]),
        (["--data", "nowhere"], ["nowhere", "scanside.db"]),
        (["--demo", "--data", "x"], ["--demo"]),
        (["--plain", "--data", "nowhere"], ["nowhere", "scanside.db"]),
        (["--plain"], ["--config", "--data", "--demo"]),
        ([], ["--config", "--data", "--demo"]),
    ],
)
def test_mistakes_are_said_in_a_sentence(
    arguments: list[str],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["tui", *arguments]) == ExitCode.USAGE
    assert_one_sentence(capsys.readouterr().err.strip(), *words)


def test_the_screen_loads_no_inference_and_no_dicom() -> None:
    done = python(
        "import sys, scanside.tui.app, scanside.tui.case.graphics, scanside.tui.demo.service\n"
        "print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    modules = set(done.stdout.split())
    assert "textual" in modules
    assert not modules & {
        "torch", "onnxruntime", "openvino", "nnunetv2", "onnx", "SimpleITK", "pydicom", "pynetdicom", "highdicom",
        "radiomics", "scipy", "PIL", "numpy",
    }, "images are opened later, if at all"  # fmt: skip


def test_without_a_keyboard_the_screen_does_not_begin(desk: Desk, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scanside.runtime.cli.main", "tui", "-c", str(toml_of(desk, tmp_path))],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    assert_one_sentence(done.stderr.strip(), "no keyboard", "--plain")


def test_keys_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    assert load_keys(file) == {}
    file.write_text('[keys]\n"study.accept" = "ctrl+a"\n"app.quit" = "q,f10"\n')
    assert load_keys(file) == {"study.accept": "ctrl+a", "app.quit": "q,f10"}
    for text, words in {
        "[keys]\nnonsense": "TOML",
        '[keys]\n"worklist.explode" = "x"': "worklist.explode",
        '[keys]\n"worklist.accept" = "x"': "it may be 'study.accept'",
        '[keys]\n"study.accept" = 3': "must be a key",
        '[keys]\n"study.accept" = "z"\n"study.reject" = "z"': "given to",
        '[keys]\n"study.accept" = "r"': "given to",  # where reject is
        '[keys]\n"case.lesion" = "?"': "given to",  # where the help is, on every screen
        "[other]\na = 1": "[keys]",
    }.items():
        file.write_text(text)
        with pytest.raises(UsageError) as caught:
            load_keys(file)
        assert_one_sentence(str(caught.value), words)


def test_every_binding_comes_from_the_table_of_commands() -> None:
    owners = [
        one
        for info in pkgutil.walk_packages(scanside.tui.__path__, "scanside.tui.")
        if ".demo" not in info.name
        for one in vars(importlib.import_module(info.name)).values()
        if isinstance(one, type) and one.__module__ == info.name and "BINDINGS" in vars(one)
    ]
    assert len(owners) >= 10
    bound = set()
    for owner in owners:
        for binding in vars(owner)["BINDINGS"]:
            assert isinstance(binding, Binding) and BY_NAME[str(binding.id)].keys == binding.key, binding
            bound.add(binding.id)
    assert bound == set(BY_NAME), "a row of the table that no screen has"
    assert {command.act for command in COMMANDS if command.act} == set(ACTS)


def test_a_key_means_the_same_on_every_screen() -> None:
    """`Enter`, `Escape` and what moves a cursor or a slice act on what is there; all others have one meaning."""
    moves = {"enter", "escape", "up", "down", "j", "k", "pageup", "pagedown", "home", "end", "slash"}
    meanings: dict[str, set[str]] = {}
    for command in COMMANDS:
        if set(command.places) & {*SCREENS, Place.APP}:
            for key in command.keys.split(","):
                meanings.setdefault(key, set()).add(command.words)
    assert not {key: words for key, words in meanings.items() if len(words) > 1 and key not in moves}


def test_nothing_imports_in_a_circle() -> None:
    graph = grimp.build_graph("scanside.tui")
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            assert not graph.chain_exists(imported, module), f"{module} → {imported} → … → {module}"


@pytest.mark.asyncio
async def test_a_moved_key_does_what_the_old_one_did(desk: Desk) -> None:
    desk.finish(1, hold=True)
    keys = desk.config.service.data / "keys.toml"
    keys.write_text('[keys]\n"study.accept" = "f8"\n')
    app = ScansideApp(desk.config, actor=OPERATOR, clock=time.time, keys=keys)
    async with app.run_test(size=(100, 30)) as pilot:
        await loaded(pilot, app)
        await pilot.press("a")
        assert not isinstance(app.screen, ConfirmScreen)
        await pilot.press("f8")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")


@pytest.mark.asyncio
async def test_the_command_palette_offers_every_command_with_its_key(desk: Desk) -> None:
    case_id = desk.finish(1, hold=True)
    app = ScansideApp(desk.config, actor=OPERATOR, keys=desk.config.service.data / "no.toml")
    async with app.run_test(size=(100, 30)) as pilot:
        await loaded(pilot, app)
        offered = {command.title: command.help for command in app.get_system_commands(app.screen)}
        assert {
            "Accept the result",
            "System",
            "Theme light",
            "Pause or resume the whole queue",
            "Help",
        } <= set(offered)
        assert offered["Reject the result"] == "Key r"
        await pilot.press("ctrl+p", *"theme high", "enter")
        await until(pilot, lambda: app.theme == "high-contrast", "the theme")
        await pilot.press("T")
        assert app.theme == "dark"
        await pilot.press("ctrl+p", *"reject", "enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")
        assert case_id in str(app.screen.query_one("#title", Static).content)
        await pilot.press("escape", "ctrl+p", *"system", "enter")
        await until(pilot, lambda: app.current_mode == "system", "the system screen")


@pytest.mark.asyncio
async def test_a_fault_of_ours_ends_without_values_on_the_terminal(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    app = ScansideApp(desk.config, actor=OPERATOR, keys=desk.config.service.data / "no.toml")
    with pytest.raises(ZeroDivisionError):
        async with app.run_test(size=(100, 30)) as pilot:
            await loaded(pilot, app)
            secret = "Doe^Ann"
            app.call_later(lambda: len(secret) / 0)
            await pilot.pause()
    assert isinstance(app.fault, ZeroDivisionError)
    assert "Doe" not in "".join(capsys.readouterr())
