"""The studies that `scanside bench run` measures: somebody's own, or phantoms of three sizes."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scanside.runtime.errors import InputError

PHANTOM_SEED = 2
"""The demonstration bundle segments this phantom's lesions at every size: radiomics and classifier are measured too."""
SIZES = {"small": 2.0, "typical": 1.0, "large": 0.5}
"""Factor on the pixel size: a quarter of the voxels, what scanners give, four times as many."""


@dataclass(frozen=True)
class BenchStudy:
    """A study to measure."""

    name: str
    path: Path
    origin: Literal["phantom", "given"]


def given_studies(paths: Sequence[Path]) -> list[BenchStudy]:
    """Somebody's own.

    Raises:
        InputError: If one is not there, or two have the same name.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"There is no study {path}; check the path.")
    names = [path.resolve().name for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"Two studies are called {name}; rename one.")
    return [BenchStudy(name, path, "given") for name, path in zip(names, paths, strict=True)]


def phantom_studies(folder: Path, sizes: Sequence[str], seed: int) -> list[BenchStudy]:
    """Make phantom studies as DICOM, by the command that makes cohorts.

    Raises:
        CaseError: If the command fails.
    """
    from scanside.benchmarks.processes import SCANSIDE, run_measured

    made = []
    for size in sizes:
        out = folder / size
        words = (
            "phantom",
            str(out),
            "--patients",
            "1",
            "--train",
            "0",
            "--seed",
            str(seed),
            "--dicom",
            "--jobs",
            "1",
        )
        run_measured([*SCANSIDE, *words, "--pixel-size", str(SIZES[size])], folder / f"{size}.log")
        (patient,) = [path for path in out.iterdir() if path.is_dir()]
        study = folder / f"{size}-study"
        study.mkdir()
        for sequence in ("t2w", "dwi", "b0", "adc"):
            if (patient / sequence).is_dir():
                (patient / sequence).rename(study / sequence)
        made.append(BenchStudy(f"phantom-{size}", study, "phantom"))
    return made


@contextmanager
def chosen_studies(
    paths: Sequence[Path] | None, sizes: Sequence[str], seed: int
) -> Iterator[list[BenchStudy]]:
    """Somebody's own studies, or phantoms of these sizes that are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as folder:
        yield given_studies(paths) if paths else phantom_studies(Path(folder), sizes, seed)
