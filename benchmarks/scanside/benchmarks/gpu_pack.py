"""`python -m scanside.benchmarks.gpu_pack OUT MODEL BUNDLE IMAGE...`: `bench gpu` for a machine without a registry.

Such a machine has an NVIDIA GPU and a PyTorch for CUDA, and reaches no package index. The folder OUT holds the wheels
that it lacks, unpacked, Scanside among them, the model in both forms, one image, and `run.sh`, which measures there
what `make gpu` measures elsewhere. What it has is told by a file of `pip list --format=freeze` (`--have`).
"""

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Collection, Sequence
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
EXTRAS = ("gpu", "export", "bench")
WITH_TORCH = (
    "torch",
    "torchvision",
    "triton",
    "nvidia-*",
    "cuda-*",
    "numpy",
    "sympy",
    "networkx",
    "jinja2",
    "setuptools",
)
"""What comes with a PyTorch for CUDA, where nobody says what is there."""
NEVER = ("onnxruntime", "openvino*", "nncf", "skl2onnx")
"""What `bench gpu` does without, or what would stand in the way of onnxruntime-gpu."""
_PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_17_x86_64",
)
RUN = """#!/usr/bin/env bash
# Measures the GPU of this machine. Usage: bash run.sh [options of `scanside bench gpu`]; PYTHON names the interpreter.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH=$here/site${PYTHONPATH:+:$PYTHONPATH} XDG_CACHE_HOME=$here/cache
scanside() { "${PYTHON:-python3}" -c 'from scanside.runtime.cli.main import main; main()' "$@"; }
scanside doctor || true
scanside bench gpu "$here/model" "$here"/image/* --bundle "$here/bundle" -o "$here/results" --overwrite "$@"
"""


def needed(have: Collection[str]) -> list[str]:
    """Requirements of `EXTRAS`, with all they need in turn, that are not there; versions as installed here.

    Args:
        have: Names or patterns of what the machine has.
    """
    found: dict[str, str] = {}
    waiting = [line for extra in ("", *EXTRAS) for line in _of_scanside(extra)]
    while waiting:
        wanted = waiting.pop()
        name = canonical(wanted.name)
        if name == "scanside":
            waiting += [line for extra in wanted.extras for line in _of_scanside(extra)]
            continue
        if name in found or any(fnmatch(name, pattern) for pattern in (*have, *NEVER)):
            continue
        try:
            here = distribution(name)
        except PackageNotFoundError:  # onnxruntime-gpu and CuPy cannot be here
            found[name] = f"{name}{wanted.specifier}"
            continue
        found[name] = f"{name}=={here.version}"
        waiting += [one for one in map(Requirement, here.requires or ()) if _applies(one, wanted.extras)]
    return sorted(found.values())


def _of_scanside(extra: str) -> list[Requirement]:
    """What the base, or an extra, asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return [Requirement(line) for line in lines]


def canonical(name: str) -> str:
    """As the index names it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _applies(one: Requirement, extras: Collection[str]) -> bool:
    if one.marker is None:
        return True
    return any(one.marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def fetch(requirements: Sequence[str], python: str, wheels: Path) -> None:
    """Wheels for another Python; what has none is built here, and has to be pure Python."""
    pip = [sys.executable, "-m", "pip"]
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    for requirement in requirements:
        command = [
            *pip,
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--python-version",
            python,
        ]
        download = [*command, *platforms, "--dest", str(wheels), requirement]
        if Path(requirement).is_dir() or subprocess.run(download, check=False).returncode:
            subprocess.run(
                [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), requirement], check=True
            )
    foreign = [wheel.name for wheel in wheels.glob("*.whl") if not fits(wheel.name, python)]
    if foreign:
        sys.exit(f"{', '.join(foreign)} is not for Python {python}: no wheel of it is to be had.")


def fits(wheel: str, python: str) -> bool:
    """Whether the name of a wheel says that it serves this Python on x86-64."""
    tag = f"cp{python.replace('.', '')}"
    return (
        wheel.endswith("-none-any.whl")
        or f"-{tag}-{tag}-" in wheel
        or "-abi3-" in wheel
        or "-py3-none-" in wheel
    )


def pack(out: Path, wheels: Path, model: Path, bundle: Path, images: Sequence[Path]) -> None:
    """Lay the folder out: `site`, `model`, `bundle`, `image`, `run.sh`."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(out / "site")
    shutil.copytree(model, out / "model")
    shutil.copytree(bundle, out / "bundle")
    (out / "image").mkdir()
    for image in images:
        target = out / "image" / image.name
        shutil.copytree(image, target) if image.is_dir() else shutil.copy(image, target)
    (out / "run.sh").write_text(RUN)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(
        prog="gpu_pack", description="`scanside bench gpu` for a machine without a registry."
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument(
        "--python", default=f"{sys.version_info.major}.{sys.version_info.minor}", help="of that machine"
    )
    parser.add_argument("--have", type=Path, help="its `pip list --format=freeze`")
    chosen = parser.parse_args(arguments)
    if chosen.out.exists():
        sys.exit(f"{chosen.out} exists already; choose another folder.")
    lines = chosen.have.read_text().split() if chosen.have else ()
    have = [canonical(re.split("[=@ ]", line, maxsplit=1)[0]) for line in lines] or WITH_TORCH
    wheels = chosen.out / "wheels"
    wheels.mkdir(parents=True)
    fetch([*needed(have), str(ROOT)], chosen.python, wheels)
    pack(chosen.out, wheels, chosen.model, chosen.bundle, chosen.images)
    shutil.rmtree(wheels)
    print(chosen.out)


if __name__ == "__main__":
    main()
