"""`scanside tui`: its arguments, its sentences, its exit codes, the plain mode, keys of one's own."""

import importlib
import pkgutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from textual.binding import Binding

import scanside.tui
from scanside.runtime.cli.main import run
from scanside.runtime.errors import ExitCode, UsageError
from scanside.tui.app import ScansideApp
from scanside.tui.demo.service import demo_bundle
from scanside.tui.keys import all_bindings, load_keys
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
        "import sys, scanside.tui.app, scanside.tui.demo.service\n"
        "print(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    modules = set(done.stdout.split())
    assert "textual" in modules
    assert not modules & {
        "torch", "onnxruntime", "openvino", "nnunetv2", "onnx", "SimpleITK", "pydicom", "pynetdicom", "highdicom",
        "radiomics", "scipy", "PIL",
    }  # fmt: skip


@pytest.mark.parametrize("where", ["configuration", "data folder"])
def test_plain_mode_is_that_of_queue_watch(desk: Desk, tmp_path: Path, where: str) -> None:
    case_id = desk.receive(1)
    of = ["--data", str(desk.config.service.data)]
    if where == "configuration":
        of = ["-c", str(toml_of(desk, tmp_path))]
    command = [sys.executable, "-m", "scanside.runtime.cli.main", "tui", "--plain", *of]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert case_id in line and "queued" in line and "\x1b" not in line
    finally:
        child.terminate()
        child.wait(30)


def test_keys_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    assert load_keys(file, all_bindings) == {}
    file.write_text('[keys]\n"worklist.accept" = "ctrl+a"\n"app.quit" = "q,f10"\n')
    assert load_keys(file, all_bindings) == {"worklist.accept": "ctrl+a", "app.quit": "q,f10"}
    for text, words in {
        "[keys]\nnonsense": "TOML",
        '[keys]\n"worklist.explode" = "x"': "worklist.explode",
        '[keys]\n"worklist.accept" = 3': "must be a key",
        '[keys]\n"worklist.accept" = "z"\n"worklist.reject" = "z"': "given to",
        '[keys]\n"worklist.accept" = "r"': "given to",  # where reject is
        '[keys]\n"case.accept" = "?"': "given to",  # where the help is, on every screen
        "[other]\na = 1": "[keys]",
    }.items():
        file.write_text(text)
        with pytest.raises(UsageError) as caught:
            load_keys(file, all_bindings)
        assert_one_sentence(str(caught.value), words)


def test_every_binding_with_a_description_has_a_name_of_its_own() -> None:
    names = all_bindings()
    assert {
        "app.quit",
        "worklist.accept",
        "worklist.open",
        "case.accept",
        "system.echo",
        "bench.start",
        "series.t2w",
        "jobs.look",
        "confirm.no",
        "help.close",
    } <= set(names)
    owners = [
        one
        for info in pkgutil.walk_packages(scanside.tui.__path__, "scanside.tui.")
        if ".demo" not in info.name
        for one in vars(importlib.import_module(info.name)).values()
        if isinstance(one, type) and one.__module__ == info.name and "BINDINGS" in vars(one)
    ]
    assert len(owners) >= 10
    for owner in owners:
        for binding in vars(owner)["BINDINGS"]:
            assert isinstance(binding, Binding) and names[str(binding.id)] == binding.key, binding


@pytest.mark.asyncio
async def test_a_moved_key_does_what_the_old_one_did(desk: Desk) -> None:
    desk.finish(1, hold=True)
    keys = desk.config.service.data / "keys.toml"
    keys.write_text('[keys]\n"worklist.accept" = "f8"\n')
    app = ScansideApp(desk.config, actor=OPERATOR, clock=time.time, keys=keys)
    async with app.run_test(size=(100, 30)) as pilot:
        await loaded(pilot, app)
        await pilot.press("a")
        assert not isinstance(app.screen, ConfirmScreen)
        await pilot.press("f8")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), "the question")


@pytest.mark.asyncio
async def test_the_command_palette_offers_screens_themes_and_the_queue(desk: Desk) -> None:
    app = ScansideApp(desk.config, actor=OPERATOR, keys=desk.config.service.data / "no.toml")
    async with app.run_test(size=(100, 30)) as pilot:
        await loaded(pilot, app)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert {"System screen", "Theme light", "Pause the queue", "Help", "Quit"} <= set(titles)
        for command in app.get_system_commands(app.screen):
            if command.title == "Theme high-contrast":
                command.callback()
        assert app.theme == "high-contrast"
        await pilot.press("T")
        assert app.theme == "dark"
        await pilot.press("ctrl+p", *"system", "enter")
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
