"""What the wheel holds."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPONENTS = ("runtime", "export", "training", "tui", "benchmarks")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(out),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_module_and_nothing_else(wheel: set[str]) -> None:
    expected = {
        file.relative_to(ROOT / component).as_posix()
        for component in COMPONENTS
        for file in (ROOT / component / "scanside").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in wheel if ".dist-info/" not in name} == expected
    assert all(f"scanside/{component}/py.typed" in wheel for component in COMPONENTS)


def test_the_namespace_root_stays_empty() -> None:
    for component in COMPONENTS:
        children = {path.name for path in (ROOT / component / "scanside").iterdir()} - {"__pycache__"}
        assert children == {component}


def test_the_licence_travels_along(wheel: set[str]) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
