"""`python benchmarks/scripts/gpu_pack.py OUT MODEL BUNDLE IMAGE...`: `bench gpu` for a machine without a registry.

Such a machine has an NVIDIA GPU and a PyTorch for CUDA, and reaches no package index. The folder OUT holds the wheels
that it lacks, unpacked, Scanside among them, the model in both forms, one image, and `run.sh`, which measures there
what `make gpu` measures elsewhere: whole cases, and the network alone by `gpu_networks.py`. What it has is told by a
file of `pip list --format=freeze` (`--have`).
"""

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
from typing import Annotated

import typer
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("gpu", "export", "bench")
WITH_TORCH = (
    "torch", "torchvision", "triton", "nvidia-*", "cuda-*", "numpy", "sympy", "networkx", "jinja2", "setuptools",
)  # fmt: skip
"""What comes with a PyTorch for CUDA, where nobody says what is there."""
NEVER = ("onnxruntime", "openvino*", "nncf", "skl2onnx")
"""What `bench gpu` does without, or what would stand in the way of onnxruntime-gpu."""
_PLATFORMS = tuple(f"manylinux{glibc}_x86_64" for glibc in ("_2_28", "_2_27", "2014", "_2_17"))
RUN = """#!/usr/bin/env bash
# Measures the GPU of this machine. Usage: bash run.sh [options of `scanside bench gpu`]; PYTHON names the interpreter.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$here/gpu
export PYTHONPATH=$here/site${PYTHONPATH:+:$PYTHONPATH} XDG_CACHE_HOME=$here/cache
scanside() { "${PYTHON:-python3}" -c 'from scanside.runtime.cli.main import main; main()' "$@"; }
scanside doctor || true
files=(--bundle "$here/bundle" -o "$out.json" --table "$out.md" --overwrite)
scanside bench gpu "$here/model" "$here"/image/* "${files[@]}" "$@" || echo "exit code $?"
"${PYTHON:-python3}" "$here/gpu_networks.py" "$here/model" "$here/bundle" "$out-networks.json" --overwrite
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
        download = [
            *pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", python, *platforms,
            "--dest", str(wheels), requirement,
        ]  # fmt: skip
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
    """Lay the folder out: `site`, `model`, `bundle`, `image`, `gpu_networks.py`, `run.sh`."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(out / "site")
    shutil.copytree(model, out / "model")
    shutil.copytree(bundle, out / "bundle")
    (out / "image").mkdir()
    for image in images:
        target = out / "image" / image.name
        shutil.copytree(image, target) if image.is_dir() else shutil.copy(image, target)
    shutil.copy(Path(__file__).with_name("gpu_networks.py"), out)
    (out / "run.sh").write_text(RUN)


def main(
    out: Path, model: Path, bundle: Path, images: list[Path],
    python: Annotated[str, typer.Option(help="Of that machine.")] = f"3.{sys.version_info.minor}",
    have: Annotated[Path | None, typer.Option(help="Its `pip list --format=freeze`.")] = None,
) -> None:  # fmt: skip
    """Make the folder."""
    if out.exists():
        sys.exit(f"{out} exists already; choose another folder.")
    lines = have.read_text().split() if have else ()
    there = [canonical(re.split("[=@ ]", line, maxsplit=1)[0]) for line in lines] or WITH_TORCH
    wheels = out / "wheels"
    wheels.mkdir(parents=True)
    fetch([*needed(there), str(ROOT)], python, wheels)
    pack(out, wheels, model, bundle, images)
    shutil.rmtree(wheels)
    print(out)


if __name__ == "__main__":
    typer.run(main)
