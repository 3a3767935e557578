"""`python benchmarks/scripts/install.py OUT.json`: what `pip install scanside[cpu]` weighs beside nnunetv2.

Each installation goes into a fresh virtual environment, from the index that pip is configured for: gigabytes.
"""

import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from scanside.benchmarks.script import facts, save, script, table
from scanside.runtime.errors import CaseError

ROOT = Path(__file__).resolve().parents[2]
INSTALLS = {
    "scanside[cpu]": "the lean runtime",
    "nnunetv2": "nnU-Net as pip installs it, with PyTorch's CUDA packages",
    "nnunetv2 torch==2.13.0": "nnU-Net with the PyTorch that scanside's checks use",
}
_IMPORT = (
    "import time; start = time.process_time(); import scanside.runtime; print(time.process_time() - start)"
)
_TOOLS = ("pip", "setuptools")


def main(out: Path, overwrite: bool = False) -> None:
    """Weigh each installation, and time `import scanside.runtime` in the lean one."""
    document = facts("bench-install/2", out, overwrite)
    weights, seconds = [], list[float]()
    for requirement, what in INSTALLS.items():
        print(f"Installing {requirement} …", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="scanside-install-") as folder:
            python = _install(Path(folder), requirement)
            if requirement.startswith("scanside"):
                seconds = [float(_run(python, "-c", _IMPORT)) for _ in range(7)]
            weights.append({"requirement": requirement, "what": what, **_weight(python)})
    document["installs"] = weights
    document["lean_part"] = {
        one["requirement"]: round(weights[0]["megabytes"] / one["megabytes"], 4) for one in weights[1:]
    }
    median = statistics.median(seconds)
    document["import_cpu_seconds"] = {
        "statement": "import scanside.runtime", "median": median, "samples": seconds,
    }  # fmt: skip
    rows = [
        (
            f"`pip install {one['requirement']}`", f"{one['megabytes']:.0f}", one["packages"],
            ", ".join(f"{name} {size:.0f}" for name, size in list(one["parts"].items())[:3]),
        )
        for one in weights
    ]  # fmt: skip
    words = table(("installation", "MB", "packages", "of which"), rows)
    words += table((f"part of `{weights[0]['requirement']}`", "MB"), list(weights[0]["parts"].items()))
    save(document, out, [*words, f"`import scanside.runtime`: {1000 * median:.0f} ms of CPU time (median)."])


def _install(folder: Path, requirement: str) -> Path:
    _run(Path(sys.executable), "-m", "venv", str(folder / "venv"))
    python = folder / "venv" / "bin" / "python"
    wanted = [
        part.replace("scanside", str(ROOT)) if part.startswith("scanside") else part
        for part in requirement.split()
    ]
    _run(python, "-m", "pip", "install", "--quiet", "--no-compile", *wanted)
    return python


def _weight(python: Path) -> dict[str, Any]:
    """10⁶ bytes below site-packages without pip and setuptools, and by distribution; small ones as `others`."""
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    total = sum(
        file.stat().st_size
        for child in site.iterdir()
        if not child.name.startswith((*_TOOLS, "_distutils", "pkg_resources"))
        for file in [child, *child.rglob("*")]
        if file.is_file()
    )
    sizes = parts(site)
    large = {name: round(size / 1e6, 1) for name, size in sizes.items() if size >= 1e6}
    others = round(sum(size for size in sizes.values() if size < 1e6) / 1e6, 1)
    return {
        "megabytes": round(total / 1e6, 1), "packages": len(sizes), "parts": {**large, "others": others},
    }  # fmt: skip


def parts(site: Path) -> dict[str, int]:
    """Distribution → bytes of the files that its RECORD names below a site-packages folder, the largest first."""
    sizes: dict[str, int] = {}
    for found in distributions(path=[str(site)]):
        if found.name not in _TOOLS:
            files = {Path(str(file.locate())).resolve() for file in found.files or []}
            inside = [file for file in files if file.is_relative_to(site.resolve()) and file.is_file()]
            sizes[found.name] = sum(file.stat().st_size for file in inside)
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _run(program: Path, *arguments: str) -> str:
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CaseError(f"{program.name} {' '.join(arguments)} failed: {last[:300]}.")
    return done.stdout


if __name__ == "__main__":
    script(main)
