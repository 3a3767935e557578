"""What was done in an output folder: one JSON line a case, written as the case ends, so that a run can go on (ADR 20).

A line holds the hashes of the bundle, the recipe, the inputs and the outputs. A case is finished when all of them are
still what they were. A line that was torn by a power cut is no line.
"""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from scanside.runtime.errors import OutputError, UsageError
from scanside.runtime.images.files import hash_of, writing_failed
from scanside.runtime.labels import Roi
from scanside.runtime.options import Options
from scanside.runtime.outputs import Task

SCHEMA = "scanside.case/1"
NAME = "segment-report"
State = Literal["done", "to do", "foreign", "changed"]


@dataclass(frozen=True)
class Recipe:
    """What decides the labels beside bundle and image. The device is not in it: each has passed the golden cases."""

    role: str
    precision: str
    mirroring: bool
    step_size: float
    skip_empty_tiles: bool
    folds: tuple[str, ...] | None
    roi: tuple[str, ...] | None = None
    label_names: bool = False

    def document(self) -> dict[str, Any]:
        """As a line holds it."""
        lists = {"folds": self.folds, "roi": self.roi}
        return {
            **asdict(self),
            **{key: None if value is None else list(value) for key, value in lists.items()},
        }


def recipe(role: str, options: Options, roi: Roi | None = None, *, label_names: bool = False) -> Recipe:
    """The recipe of a run of this segmenter.

    Args:
        roi: The labels that masks keep.
        label_names: Whether headers name labels: it changes the bytes of a mask, though no label.
    """
    return Recipe(
        role,
        options.precision,
        options.mirroring,
        options.step_size,
        options.skip_empty_tiles,
        options.folds,
        None if roi is None else roi.names,
        label_names,
    )


@dataclass(frozen=True)
class Part:
    """Part `index` of `count`, from 1. A case's part depends on its name alone, so that new cases move no other."""

    index: int
    count: int

    def holds(self, name: str) -> bool:
        """Whether a case belongs to this part."""
        number = int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big")
        return number % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index} of {self.count}"


def parse_part(words: str | None) -> Part | None:
    """The value of `--part`.

    Raises:
        UsageError: If it is not I/N with 1 ≤ I ≤ N.
    """
    if words is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", words.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--part {words} is no part; write 1/8 to 8/8 for eight of them.")
    return Part(int(match[1]), int(match[2]))


class Ledger:
    """The lines of one output folder: those of earlier runs, and the ones of this run."""

    def __init__(self, folder: Path, bundle: str, made_by: Recipe, part: Part | None = None) -> None:
        """Read what is there; nothing is written yet.

        Args:
            bundle: sha256 of the bundle.
            part: Each part writes a file of its own, so that machines never share one.
        """
        ending = "" if part is None else f".part-{part.index}-of-{part.count}"
        self.file = folder / f"{NAME}{ending}.jsonl"
        self._facts = {"bundle": bundle, "recipe": made_by.document()}
        self._planned, self._last = _read(folder)
        self._open = not self.file.exists()

    def state(self, task: Task) -> State:
        """What is to be done with a case: nothing, everything, or to refuse, for a foreign file is in its place."""
        there = [path for path in task.files if path.exists()]
        line = self._last.get(task.case.name)
        if line is None or line["status"] != "ok":
            return "foreign" if there and task.case.name not in self._planned else "to do"
        hashes = {Path(one["path"]).name: one["sha256"] for one in line["outputs"]}
        if any(hash_of(path) != hashes.get(path.name) for path in there if path.name in hashes):
            return "changed"
        whole = len(there) == len(task.files) and all(path.name in hashes for path in task.files)
        same = all(line[key] == value for key, value in self._facts.items())
        same = same and not (task.measured and line.get("statistics") is None)
        return "done" if whole and same and self._same_inputs(line, task) else "to do"

    def line(self, name: str) -> Mapping[str, Any]:
        """The last line of a case."""
        return self._last[name]

    def plan(self, tasks: Sequence[Task]) -> None:
        """Say which cases are to be written here: a file of theirs is ours even where its line is missing."""
        names = [task.case.name for task in tasks]
        self._write({"schema": SCHEMA, "planned": names, **self._facts})

    def add(self, case: Mapping[str, Any], device: str, node: str | None = None) -> dict[str, Any]:
        """Write the line of a case that ended, and flush it to the disk.

        Args:
            case: As in the report, inputs and outputs with their hashes.
            node: The machine, or the engine's address, that computed it; default this machine.
        """
        line = {
            "schema": SCHEMA,
            **case,
            **self._facts,
            "device": device,
            "node": node or platform.node(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._write(line)
        return line

    def _same_inputs(self, line: Mapping[str, Any], task: Task) -> bool:
        if any(not path.exists() for path in task.case.channels):
            return False
        return [one["sha256"] for one in line["inputs"]] == [hash_of(path) for path in task.case.channels]

    def _write(self, content: Mapping[str, Any]) -> None:
        text = json.dumps(content)  # ASCII: file names may hold bytes that are no UTF-8
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as stream:
                if not self._open:
                    stream.write("\n")  # ends a line that a power cut may have torn
                    self._open = True
                stream.write(f"{text}\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise writing_failed(self.file, error) from error


def lines_of(file: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of a ledger.

    Raises:
        OutputError: If the file may not be read.
    """
    try:
        text = file.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise OutputError(f"{file} cannot be read ({error.strerror}); check its permissions.") from error
    for line in text.splitlines():
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict) and content.get("schema") == SCHEMA:
            yield content


def files_of(folder: Path) -> list[Path]:
    """The ledgers of an output folder, those of parts included."""
    return sorted(folder.glob(f"{NAME}*.jsonl"))


def _read(folder: Path) -> tuple[set[str], dict[str, dict[str, Any]]]:
    """Planned cases, and the last line of each case."""
    planned: set[str] = set()
    found: list[dict[str, Any]] = []
    for file in files_of(folder):
        for line in lines_of(file):
            planned.update(line.get("planned", ()))
            found += [line] if "name" in line else []
    return planned, {line["name"]: line for line in sorted(found, key=lambda line: str(line["finished"]))}
