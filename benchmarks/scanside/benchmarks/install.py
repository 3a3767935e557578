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
from pathlib import Path
from typing import Any

from scanside.benchmarks.environment import environment
from scanside.runtime.errors import CaseError
from scanside.runtime.images.files import atomic_write

SCHEMA = "scanside.bench-install/1"
INSTALLS = {
    "scanside[cpu]": "the lean runtime",
    "nnunetv2": "nnU-Net as pip installs it, with PyTorch's CUDA packages",
    "nnunetv2 torch==2.13.0": "nnU-Net with the PyTorch that scanside's checks use",
}
_IMPORT = (
    "import time; start = time.process_time(); import scanside.runtime; print(time.process_time() - start)"
)
_REPEATS = 7


@dataclass(frozen=True)
class Weight:
    """One installation.

    Attributes:
        megabytes: Everything below site-packages, pip and setuptools left out, in 10^6 bytes.
        packages: Number of distributions, pip and setuptools left out.
        largest: The five largest folders, MB.
    """

    requirement: str
    what: str
    megabytes: float
    packages: int
    largest: dict[str, float]


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
        largest = ", ".join(f"{name} {size:.0f}" for name, size in list(row["largest"].items())[:3])
        lines.append(
            f"| `pip install {row['requirement']}` | {row['megabytes']:.0f} | {row['packages']} | {largest} |"
        )
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
    sizes = {
        child.name: sum(file.stat().st_size for file in [child, *child.rglob("*")] if file.is_file()) / 1e6
        for child in site.iterdir()
        if not child.name.startswith(("pip", "setuptools", "_distutils", "pkg_resources"))
    }
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    packages = sum(name.endswith(".dist-info") for name in sizes)
    total = round(sum(sizes.values()), 1)
    return Weight(requirement, what, total, packages, {name: round(size, 1) for name, size in largest})


def _run(program: Path, *arguments: str) -> str:
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CaseError(f"{program.name} {' '.join(arguments)} failed: {last[:300]}.")
    return done.stdout
