"""docs/my-model.md: every command on the page, in order, as a newcomer would run it; and the templates it names."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

from scanside.runtime.cli.main import run
from tests.support import phantoms
from tests.support.tiny_models import Tiny, write_model

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "my-model.md"
TEMPLATES = DOCS / "templates"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `MODEL`, `imagesTs` and `labelsTs`; what `LABEL` stands for, `words` says."""
    root = tmp_path_factory.mktemp("owner")
    (root / "MODEL").symlink_to(write_model(root / "results", Tiny()), target_is_directory=True)
    (root / "imagesTs").mkdir()
    (root / "labelsTs").mkdir()
    for index in range(3):
        image = sitk.GetImageFromArray(phantoms.smooth((14, 26, 24), index) * 100)
        sitk.WriteImage(image, str(root / "imagesTs" / f"case{index}_0000.nii.gz"))
        sitk.WriteImage(
            sitk.Cast(image > 100, sitk.sitkUInt8), str(root / "labelsTs" / f"case{index}.nii.gz")
        )
    return root


def commands() -> list[str]:
    """All but the one that wants a cluster: tests/runtime/cluster."""
    return [line for line in re.findall(r"(?m)^    (scanside .*)$", PAGE.read_text()) if "--ray" not in line]


def words(line: str) -> list[str]:
    """Of a command, with a label of this model where the page has `LABEL`."""
    return ["far" if word == "LABEL" else word for word in shlex.split(line)]


def masks(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.nii.gz")}


def test_every_command_of_the_page_works_in_order(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    shown = commands()
    assert len(shown) == 13 and any("--resume" in line for line in shown)
    assert any("LABEL" in shlex.split(line) for line in shown) and not any(" far" in line for line in shown)
    for line in shown:
        if line.endswith("-o masks --resume"):  # as if it had been interrupted
            (place / "masks" / "case1.nii.gz").unlink()
        assert run(words(line)[1:]) == 0, line
    everything = {f"case{index}.nii.gz" for index in range(3)}
    assert masks(place / "masks") == masks(place / "shared") == masks(place / "probabilities") == everything
    assert (place / "volumes.csv").read_text().count("\n") == 4
    assert (place / "scores.csv").read_text().count("\n") == 1 + 3 * 2


def in_path(tmp_path: Path) -> dict[str, str]:
    """An environment whose `scanside` is this one."""
    program = tmp_path / "bin" / "scanside"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m scanside.runtime.cli.main "$@" --device cpu\n')
    program.chmod(0o755)
    return os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def slurm(place: Path, out: Path, index: int) -> tuple[list[str], dict[str, str]]:
    command = ["bash", str(TEMPLATES / "slurm.sbatch"), "model.bundle", "imagesTs", str(out)]
    return command, {
        "SLURM_ARRAY_TASK_ID": str(index),
        "SLURM_ARRAY_TASK_COUNT": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }


def kubernetes(place: Path, out: Path, index: int) -> tuple[list[str], dict[str, str]]:
    from ruamel.yaml import YAML

    job = YAML(typ="safe").load((TEMPLATES / "job.yaml").read_text())["spec"]
    assert job["completionMode"] == "Indexed" and job["completions"] == 8
    container = job["template"]["spec"]["containers"][0]
    assert {one["name"] for one in container["env"]} == {"COMMAND", "PARTS", "BUNDLE", "IMAGES", "MASKS"}
    facts = {
        "COMMAND": "segment",
        "PARTS": "2",
        "BUNDLE": "model.bundle",
        "IMAGES": "imagesTs",
        "MASKS": str(out),
    }
    return [*container["command"], *container["args"]], {**facts, "JOB_COMPLETION_INDEX": str(index - 1)}


def nextflow(place: Path, out: Path, index: int) -> tuple[list[str], dict[str, str]]:
    """Nextflow needs Java, which is not here: its script, with Groovy's variables put in."""
    (script,) = re.findall(r'"""(.*?)"""', (TEMPLATES / "main.nf").read_text(), re.DOTALL)
    values = {"params.bundle": "model.bundle", "params.images": "imagesTs", "params.masks": str(out),
              "params.parts": "2", "params.command": "segment", "part": str(index), "task.cpus": "1"}  # fmt: skip
    return ["bash", "-c", re.sub(r"\$\{([\w.]+)\}", lambda found: values[found[1]], script)], {}


@pytest.mark.parametrize("template", [slurm, kubernetes, nextflow])
def test_the_templates_do_every_case(template, place: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    if not (place / "model.bundle").exists():
        assert run(["export", "nnunet", str(place / "MODEL"), "-o", str(place / "model.bundle")]) == 0
    for index in (1, 2):
        command, facts = template(place, tmp_path / "out", index)
        done = subprocess.run(
            command, cwd=place, env=in_path(tmp_path) | facts, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert run(["merge", str(tmp_path / "out")]) == 0
    assert masks(tmp_path / "out") == {f"case{index}.nii.gz" for index in range(3)}
