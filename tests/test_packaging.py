"""What the wheel holds, and what installs it: containers, the service, machines of another kind."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
@pytest.mark.parametrize("gpu", [False, True], ids=["unit", "unit with gpu.conf"])
def test_systemd_knows_every_line_of_the_unit(gpu: bool, tmp_path: Path) -> None:
    appliance = ROOT / "runtime" / "scanside" / "runtime" / "appliance"
    # systemd-analyze asks for the program, which is not installed here.
    text = re.sub("(?m)^ExecStart=.*", "ExecStart=/bin/true", (appliance / "example.service").read_text())
    unit = tmp_path / "scanside.service"
    unit.write_text(text)
    if gpu:
        (tmp_path / "scanside.service.d").mkdir()
        shutil.copy(appliance / "gpu.conf", tmp_path / "scanside.service.d")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_knows_the_monthly_constancy(tmp_path: Path) -> None:
    appliance = ROOT / "runtime" / "scanside" / "runtime" / "appliance"
    for name, file in (
        ("scanside.service", "example.service"),
        ("scanside-constancy.service", "constancy.service"),
        ("scanside-constancy.timer", "constancy.timer"),
    ):
        text = re.sub("(?m)^ExecStart=.*", "ExecStart=/bin/true", (appliance / file).read_text())
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "scanside-constancy.timer")],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    when = re.search("OnCalendar=(.*)", (appliance / "constancy.timer").read_text())
    assert when is not None
    calendar = ["systemd-analyze", "calendar", "--base-time=2026-11-28", "--iterations=2", when[1]]
    told = subprocess.run(calendar, capture_output=True, text=True, check=True).stdout
    assert "2026-12-06" in told and "2027-01-03" in told


def test_every_requirement_of_the_lean_install_was_looked_up_for_aarch64() -> None:
    """`python docker/wheels.py results/aarch64/wheels.json` asks again (wants the package registry)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parts = [project["optional-dependencies"][part] for part in ("cpu", "dicom", "study", "appliance")]
    asked = [*project["dependencies"], *(line for part in parts for line in part)]
    lean = [line for line in asked if not line.startswith("scanside[")]
    packages = json.loads((ROOT / "results" / "aarch64" / "wheels.json").read_text())["packages"]
    versions = {name.lower().replace("_", "-"): package["version"] for name, package in packages.items()}
    for requirement in map(Requirement, lean):
        assert versions[requirement.name.lower().replace("_", "-")] in requirement.specifier
