"""The parts of an installation: what brings what, and the command that mends, whatever this copy was installed from."""

import json
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from scanside.runtime import extras
from scanside.runtime.extras import EXTRAS, extra_of, install_command, package_command
from tests.support.interpreter import python

ROOT = Path(__file__).parents[2]
PHANTOM = ROOT / "training" / "scanside" / "training" / "data" / "pancreas-phantom.bundle"
ORIGINS: list[tuple[dict[str, Any] | None, str]] = [
    (None, "'scanside[cpu]'"),
    ({"dir_info": {}, "url": "file:///home/a%20b/scanside"}, "'/home/a b/scanside[cpu]'"),
    ({"dir_info": {"editable": True}, "url": "file:///opt/scanside"}, "-e '/opt/scanside[cpu]'"),
    (
        {"vcs_info": {"vcs": "git", "commit_id": "abc123"}, "url": "https://example.org/scanside.git"},
        "'scanside[cpu] @ git+https://example.org/scanside.git@abc123'",
    ),
    (
        {"archive_info": {}, "url": "file:///media/usb/scanside-0.1.0-py3-none-any.whl"},
        "'scanside[cpu] @ file:///media/usb/scanside-0.1.0-py3-none-any.whl'",
    ),
]


class Installed:
    def __init__(self, origin: dict[str, Any] | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


@pytest.mark.parametrize(
    ("origin", "words"), ORIGINS, ids=["index", "folder", "editable", "repository", "file"]
)
def test_the_command_names_what_this_copy_came_from(
    origin: dict[str, Any] | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(origin))
    monkeypatch.setattr(extras.shutil, "which", lambda name: str(Path(sys.executable).with_name("pip")))
    assert install_command("cpu") == f"pip install {words}"
    requirement = words.removeprefix("-e ").strip("'")
    if not requirement.startswith("/"):
        assert Requirement(requirement).extras == {"cpu"}  # pip can read it


def test_a_pip_that_is_another_pythons_is_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras.shutil, "which", lambda name: "/usr/bin/pip")
    assert install_command("cpu").startswith(f"{sys.executable} -m pip install ")


class InFolder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate_file(self, name: str) -> Path:
        return self.folder / name


@pytest.mark.parametrize("where", ["here", "target"])
def test_a_package_goes_where_the_one_that_needs_it_is(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(sysconfig.get_path("purelib"))
    folder = here if where == "here" else tmp_path / "a b"
    monkeypatch.setattr(extras, "distribution", lambda name: InFolder(folder))
    target = "" if where == "here" else f"--target '{tmp_path}/a b' "
    assert package_command("nvidia-cublas", beside="onnxruntime-gpu").endswith(
        f"pip install {target}nvidia-cublas"
    )


def test_pip_itself_takes_the_command_of_this_copy() -> None:
    """The folder that the command names is this checkout, and its project has the part."""
    folder = Path(install_command("dicom").split()[-1].strip("'").removesuffix("[dicom]"))
    assert (
        "dicom" in tomllib.loads((folder / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    )


def test_every_part_is_in_the_project_file_and_brings_its_modules() -> None:
    parts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {"gdcm": "python-gdcm", "PIL": "pillow", "radiomics": "pyradiomics-bhklab", "ruamel": "ruamel-yaml",
             "sklearn": "scikit-learn"}  # fmt: skip
    for extra, modules in EXTRAS.items():
        listed = {Requirement(line).name.lower().replace("_", "-").replace(".", "-") for line in parts[extra]}
        for module in modules:
            assert names.get(module, module).replace("_", "-") in listed, f"{extra} does not bring {module}"


def test_the_base_needs_no_compiler() -> None:
    """pyradiomics has no wheels: it belongs to `study`, and nothing that segments files brings it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    brought = {Requirement(line).name for line in base}
    assert brought == {"numpy", "scipy", "SimpleITK", "pydantic", "typer", "rich", "platformdirs", "onnxruntime",
                       "openvino"}  # fmt: skip


def without(extra_names: set[str], arguments: list[str]) -> tuple[int, str]:
    """Run a command in an interpreter that has the modules of these parts not installed."""
    gone = {module for name in extra_names for module in EXTRAS[name]}
    code = f"""
import importlib.util, sys, contextlib, io
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {gone!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Gone())
find = importlib.util.find_spec
def spec(name, package=None):
    return None if name.partition(".")[0] in {gone!r} else find(name, package)
importlib.util.find_spec = spec
from scanside.runtime.cli.main import run
words = io.StringIO()
with contextlib.redirect_stderr(words):
    code = run({arguments!r})
print(code)
print(words.getvalue())
"""
    lines = python(code).stdout
    head = next(line for line in lines.splitlines() if line.strip().isdigit())
    return int(head), lines


BARE = set(EXTRAS) - {"cpu"}


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["run", str(PHANTOM), ".", "-o", "OUT"], "study,dicom"),
        (["segment", str(PHANTOM), "DICOM", "--role", "t2w", "-o", "OUT"], "dicom"),
        (["radiomics", "conformance"], "study"),
        (["serve", "--check"], "appliance,study,dicom"),
        (["demo"], "study,dicom"),
        (["tui", "--demo"], "tui"),
        (["export", "nnunet", ".", "-o", "OUT"], "export"),
        (["export", "bundle", ".", "-o", "OUT"], "train"),
        (["bench", "report", "x.json", "-o", "OUT"], "bench"),
        (["bench", "peers", ".", ".", "-o", "OUT"], "export,bench"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else value,
)
def test_a_missing_part_is_named_with_what_brings_it(
    arguments: list[str], extra: str, tmp_path: Path
) -> None:
    series = tmp_path / "series"
    series.mkdir()
    (series / "1.dcm").write_bytes(b"\0" * 128 + b"DICM")
    places = {"DICOM": str(series), "OUT": str(tmp_path / "out")}
    code, words = without(BARE, [places.get(word, word) for word in arguments])
    assert code == 2, words
    assert f"[{extra}]" in words and "Traceback" not in words, words
    assert "not installed" in words or "does not load" in words


def test_every_help_is_there_without_any_part() -> None:
    code, words = without(BARE, ["--help"])
    assert code == 0
    assert all(name in words for name in ("segment", "serve", "queue", "tui", "train"))


def test_modules_are_found_by_their_top_name() -> None:
    assert extra_of("pydicom.dataset") == "dicom" and extra_of("json") is None
