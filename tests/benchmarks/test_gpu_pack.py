"""What travels to a GPU machine without a registry: the wheels it lacks, and a script that runs there."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.scripts.gpu_pack import NEVER, ROOT, WITH_TORCH, fits, needed, pack


def test_all_that_the_benchmark_imports_travels_and_nothing_that_is_there() -> None:
    names = {line.partition("==")[0].partition(">")[0] for line in needed(WITH_TORCH)}
    assert {"onnxruntime-gpu", "nnunetv2", "simpleitk", "pydantic", "pydantic-core", "typer", "onnx"} <= names
    assert any(name.startswith("cupy-") for name in names)
    assert not names & {"torch", "numpy", "scanside", *NEVER}
    assert not [name for name in names if name.startswith("nvidia-")]
    fewer = {line.partition("==")[0] for line in needed((*WITH_TORCH, "onnx", "rich"))}
    assert not fewer & {"onnx", "rich"}


@pytest.mark.parametrize(
    ("wheel", "serves"),
    [
        ("nnunetv2-2.8.1-py3-none-any.whl", True),
        ("onnxruntime_gpu-1.31.1-cp312-cp312-manylinux_2_28_x86_64.whl", True),
        ("onnxruntime_gpu-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl", False),
        ("psutil-7.2.2-cp36-abi3-manylinux2014_x86_64.whl", True),
        ("pyradiomics-3.1-cp311-cp311-linux_x86_64.whl", False),
    ],
)
def test_a_wheel_of_another_python_does_not_travel(wheel: str, serves: bool) -> None:
    assert fits(wheel, "3.12") == serves


def test_the_script_runs_from_the_folder_alone(tmp_path: Path) -> None:
    """With a Scanside in `site` that tells what it was asked."""
    wheels, model, image = tmp_path / "wheels", tmp_path / "Trainer__Plans__3d", tmp_path / "case_0000.nii.gz"
    wheels.mkdir()
    model.mkdir()
    (model / "plans.json").write_text("{}")
    image.write_bytes(b"image")
    with zipfile.ZipFile(wheels / "scanside-0-py3-none-any.whl", "w") as wheel:
        main = "import sys\ndef main() -> None:\n    print(*sys.argv[1:])\n"
        wheel.writestr("scanside/runtime/__init__.py", "")
        wheel.writestr("scanside/runtime/cli/__init__.py", "")
        wheel.writestr("scanside/runtime/cli/main.py", main)
    out = tmp_path / "out"
    out.mkdir()
    pack(out, wheels, model, model, [image])
    assert "def main(" in (out / "gpu_networks.py").read_text()
    (out / "gpu_networks.py").write_text("import sys; print(*sys.argv[1:])")
    done = subprocess.run(
        ["bash", str(out / "run.sh"), "--no-mirroring"],
        env={"PATH": os.environ["PATH"], "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    )
    asked, measured, alone = done.stdout.splitlines()
    assert asked == "doctor"
    words = measured.split()
    assert words[:4] == ["bench", "gpu", str(out / "model"), str(out / "image" / image.name)]
    assert words[-1] == "--no-mirroring" and str(out / "bundle") in words
    assert alone.split()[:2] == [str(out / "model"), str(out / "bundle")]
    assert (out / "model" / "plans.json").exists() and ROOT.joinpath("pyproject.toml").exists()
