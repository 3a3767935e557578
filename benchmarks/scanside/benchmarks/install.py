"""`scanside bench install`: what an installation weighs, and what importing and starting it costs.

Each installation goes into a fresh virtual environment in a temporary folder, with pip, from the package index that
pip is configured for.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from scanside.benchmarks.environment import environment
from scanside.runtime.errors import CaseError
from scanside.runtime.images.files import atomic_write

SCHEMA = "scanside.bench-install/2"
INSTALLS = {
    "scanside[cpu]": "the lean runtime",
    "nnunetv2": "nnU-Net as pip installs it, with PyTorch's CUDA packages",
    "nnunetv2 torch==2.13.0": "nnU-Net with the PyTorch that scanside's checks use",
}
_IMPORT = (
    "import time; start = time.process_time(); import scanside.runtime; print(time.process_time() - start)"
)
_REPEATS = 7
_TOOLS = ("pip", "setuptools")


@dataclass(frozen=True)
class Weight:
    """One installation.

    Attributes:
        megabytes: Everything below site-packages, pip and setuptools left out, in 10^6 bytes.
        packages: Number of distributions, pip and setuptools left out.
        parts: Distribution → MB of its files, the largest first; those below 1 MB together as `others`.
    """

    requirement: str
    what: str
    megabytes: float
    packages: int
    parts: dict[str, float]


def weigh(source: Path, out: Path, arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Install each, weigh it, and write the results file.

    Args:
        source: Scanside's own source folder (with pyproject.toml).

    Returns:
        The document written.
    """
    record = environment(arguments)
    weights = []
    import_seconds: list[float] = []
    for requirement, what in INSTALLS.items():
        say(f"Installing {requirement}")
        with tempfile.TemporaryDirectory(prefix="scanside-install-") as folder:
            python = _install(Path(folder), requirement, source)
            if requirement.startswith("scanside"):
                import_seconds = [float(_run(python, "-c", _IMPORT)) for _ in range(_REPEATS)]
            weights.append(_weight(python, requirement, what))
    lean = weights[0].megabytes
    document = {
        "schema": SCHEMA,
        **record,
        "installs": [asdict(weight) for weight in weights],
        "lean_part": {weight.requirement: round(lean / weight.megabytes, 4) for weight in weights[1:]},
        "import_cpu_seconds": {
            "statement": "import scanside.runtime",
            "median": statistics.median(import_seconds),
            "samples": import_seconds,
        },
    }
    with atomic_write(out) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
    return document


def table(document: dict[str, Any]) -> str:
    """The document as a Markdown table."""
    lines = ["| installation | MB | packages | of which |", "|---|---:|---:|---|"]
    for row in document["installs"]:
        largest = ", ".join(f"{name} {size:.0f}" for name, size in list(row["parts"].items())[:3])
        lines.append(
            f"| `pip install {row['requirement']}` | {row['megabytes']:.0f} | {row['packages']} | {largest} |"
        )
    lean = document["installs"][0]
    lines += ["", f"| part of `{lean['requirement']}` | MB |", "|---|---:|"]
    lines += [f"| {name} | {size:.1f} |" for name, size in lean["parts"].items()]
    seconds = document["import_cpu_seconds"]["median"]
    return "\n".join(
        [*lines, "", f"`import scanside.runtime`: {seconds * 1000:.0f} ms of CPU time (median)."]
    )


def _install(folder: Path, requirement: str, source: Path) -> Path:
    _run(Path(sys.executable), "-m", "venv", str(folder / "venv"))
    python = folder / "venv" / "bin" / "python"
    wanted = [
        part.replace("scanside", str(source)) if part.startswith("scanside") else part
        for part in requirement.split()
    ]
    _run(python, "-m", "pip", "install", "--quiet", "--no-compile", *wanted)
    return python


def _weight(python: Path, requirement: str, what: str) -> Weight:
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
    others = sum(size for size in sizes.values() if size < 1e6)
    return Weight(
        requirement, what, round(total / 1e6, 1), len(sizes), {**large, "others": round(others / 1e6, 1)}
    )


def parts(site: Path) -> dict[str, int]:
    """Distribution → bytes of the files that its RECORD names below a site-packages folder, the largest first.

    pip and setuptools are left out. Compiled Python files count where they are there.
    """
    sizes: dict[str, int] = {}
    for found in distributions(path=[str(site)]):
        if found.name in _TOOLS:
            continue
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
