"""Features of many images and their masks: what `run.py` does with each. No network takes part."""

import csv
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from scanside.runtime.errors import ExitCode, InputError, UsageError
from scanside.runtime.events import Listener, StageFinished
from scanside.runtime.images.files import atomic_write
from scanside.runtime.images.names import case_and_channel, case_name, images_in
from scanside.runtime.images.read import read_image
from scanside.runtime.outcome import FeatureOutcome, Features
from scanside.runtime.radiomics.config import RadiomicsConfig
from scanside.runtime.radiomics.extract import extract
from scanside.runtime.radiomics.names import feature_names, sequence_of
from scanside.runtime.run import CaseResult, hashes_of
from scanside.runtime.stages.lesions import main_lesion
from scanside.runtime.volume import Volume

if TYPE_CHECKING:
    from scanside.runtime.lines import CaseLine

COLUMNS = ("case", "image", "mask")
SCHEMA = "scanside.radiomics.values/1"


@dataclass(frozen=True)
class FeatureTask:
    """An image, a mask on its grid, and the file of its features.

    Attributes:
        sequence: Which sequence of the configuration the image is.
    """

    name: str
    image: Path
    mask: Path
    sequence: str
    out: Path

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Image and mask."""
        return (self.image, self.mask)

    @property
    def files(self) -> tuple[Path, ...]:
        """The features."""
        return (self.out,)

    def kept(self, names: Collection[str]) -> tuple[Path, ...]:
        """The features."""
        return self.files

    def told(self, line: "CaseLine") -> bool:
        """Whether the line has the features of this sequence."""
        return all(sequence_of(name) == self.sequence for name in line.features or {})


def tasks_of_table(table: Path, sequence: str, out: Path) -> list[FeatureTask]:
    """A task for each row of a CSV with the columns case, image, mask, and where it has one sequence.

    Paths are relative to the table's folder.

    Raises:
        InputError: If the table cannot be read, lacks a column or a cell, or names a case twice.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows, columns = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{table} cannot be read as a CSV table in UTF-8 ({error}); check the file."
        ) from error
    if missing := [name for name in COLUMNS if name not in columns]:
        raise InputError(f"{table} has no column '{missing[0]}'; it needs {', '.join(COLUMNS)}.")
    tasks = []
    for number, row in enumerate(rows, start=2):
        empty = [name for name in COLUMNS if not (row[name] or "").strip()]
        if empty:
            raise InputError(f"{table}, line {number}: the cell of '{empty[0]}' is empty.")
        name = row["case"].strip()
        if "/" in name or name.startswith("."):
            raise InputError(
                f"{table}, line {number}: '{name}' cannot be the name of a file; choose another."
            )
        image, mask = (table.parent / row[column].strip() for column in ("image", "mask"))
        tasks.append(
            FeatureTask(
                name, image, mask, (row.get("sequence") or "").strip() or sequence, out / f"{name}.json"
            )
        )
    return _distinct(tasks, table)


def tasks_of_folders(images: Path, masks: Path, sequence: str, out: Path) -> list[FeatureTask]:
    """A task for each mask of a folder, with the image of the same case: `<case>_0000.nii.gz` or `<case>.nii.gz`.

    Raises:
        InputError: If there is no mask, or one has no image.
    """
    found: dict[str, Path] = {}
    for path in images_in(images):
        named = case_and_channel(path)
        if named is None or named[1] == 0:
            found[named[0] if named else case_name(path)] = path
    tasks = []
    for mask in images_in(masks):
        name = case_name(mask)
        if name not in found:
            raise InputError(f"{images} holds no image of {mask.name}; it would be {name}_0000 or {name}.")
        tasks.append(FeatureTask(name, found[name], mask, sequence, out / f"{name}.json"))
    return _distinct(tasks, masks)


def _distinct(tasks: Sequence[FeatureTask], source: Path) -> list[FeatureTask]:
    if not tasks:
        raise InputError(f"{source} names no mask, so that there is nothing to measure.")
    names = [task.name for task in tasks]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{source} names case {twice[0]} twice; give each its own name.")
    return sorted(tasks, key=lambda task: task.name)


def check_sequences(tasks: Sequence[FeatureTask], recipe: RadiomicsConfig) -> None:
    """See that the configuration knows every sequence.

    Raises:
        UsageError: If it does not.
    """
    for task in tasks:
        if task.sequence not in recipe.sequences:
            raise UsageError(
                f"The configuration has no sequence '{task.sequence}'; choose one of {', '.join(recipe.sequences)}."
            )


def measure(image: Volume, mask: Volume, sequence: str, recipe: RadiomicsConfig) -> Features:
    """Features of the largest lesion of a mask.

    Args:
        image: One channel.
        mask: On its grid; the lesion is above 0.
        sequence: One of the configuration's.
    """
    wanted = [name for name in feature_names(recipe) if sequence_of(name) == sequence]
    roi = main_lesion(np.rint(mask.data[0]).astype(np.int64))
    values = extract({sequence: image}, {recipe.sequences[sequence].role: roi}, recipe, wanted)
    return {name: FeatureOutcome(value=got.value, reason=got.reason) for name, got in values.items()}


def read_pair(image: Path, mask: Path) -> tuple[Volume, Volume]:
    """An image and its mask.

    Raises:
        InputError: If one cannot be read, or they do not lie on one grid.
    """
    scan, lesion = read_image(image), read_image(mask)
    if difference := scan.geometry.difference(lesion.geometry):
        raise InputError(f"{mask} does not lie on the grid of {image} ({difference}); resample it first.")
    return scan, lesion


def document(features: Features) -> str:
    """Features as JSON."""
    rows = {name: {"value": one.value, "reason": one.reason} for name, one in features.items()}
    return json.dumps({"schema": SCHEMA, "features": rows}, indent=1)


@dataclass(frozen=True, eq=False)
class Read:
    """An image and its mask."""

    image: Volume
    mask: Volume
    ms: float
    hashes: dict[Path, str]


class FeatureSteps:
    """Reads image and mask, measures, and writes the features as JSON."""

    device = "none"
    node = None

    def __init__(self, recipe: RadiomicsConfig) -> None:
        """Take a configuration."""
        self._recipe = recipe

    def load(self, task: FeatureTask) -> Read:
        """Read.

        Raises:
            InputError: See `read_pair`.
        """
        start = perf_counter()
        hashes = hashes_of(task.inputs)
        image, mask = read_pair(task.image, task.mask)
        return Read(image, mask, (perf_counter() - start) * 1000, hashes)

    def compute(self, task: FeatureTask, loaded: Read, listener: Listener) -> Callable[[], CaseResult]:
        """Measure."""
        listener(StageFinished(task.name, "read", loaded.ms))
        start = perf_counter()
        features = measure(loaded.image, loaded.mask, task.sequence, self._recipe)
        stages = {"read": loaded.ms, "radiomics": (perf_counter() - start) * 1000}
        listener(StageFinished(task.name, "radiomics", stages["radiomics"]))

        def write() -> CaseResult:
            with atomic_write(task.out) as temporary:
                temporary.write_text(document(features) + "\n")
            hashes = loaded.hashes | hashes_of(task.files)
            return CaseResult(
                task.name,
                "ok",
                None,
                task.inputs,
                task.files,
                stages,
                None,
                ExitCode.OK,
                hashes=hashes,
                features=features,
            )

        return write
