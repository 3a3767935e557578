"""What was done in an output folder: one JSON line per item, written as it ends, so that a run can go on (ADR 20).

A line holds the hashes of the bundle, the recipe, the inputs and the outputs. An item is finished when all of them are
still what they were. A line that was torn by a power cut is no line.
"""

import hashlib
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from scanside.runtime.errors import UsageError
from scanside.runtime.images.files import hash_of, writing_failed
from scanside.runtime.labels import Roi
from scanside.runtime.lines import CaseLine, Command, PlanLine, Recipe, case_line, lines_of, text_of
from scanside.runtime.options import Options
from scanside.runtime.record import Document
from scanside.runtime.run import CaseResult, Item

NAMES: dict[Command, str] = {
    "segment": "segment-report",
    "run": "run-report",
    "radiomics": "radiomics-report",
}
"""Command → the name of its ledger in an output folder."""
State = Literal["done", "to do", "foreign", "changed"]


def recipe_of(
    command: Command, role: str | None, options: Options, roi: Roi | None = None, *, label_names: bool = False
) -> Recipe:
    """The recipe of a run of networks.

    Args:
        role: The segmenter; None where all of a bundle run.
        roi: The labels that masks keep.
        label_names: Whether headers name labels: it changes the bytes of a mask, though no label.
    """
    return Recipe(
        command=command,
        role=role,
        precision=options.precision,
        mirroring=options.mirroring,
        step_size=options.step_size,
        skip_empty_tiles=options.skip_empty_tiles,
        folds=options.folds,
        roi=None if roi is None else roi.names,
        label_names=label_names,
    )


@dataclass(frozen=True)
class Part:
    """Part `index` of `count`, from 1. An item's part depends on its name alone, so that new cases move no other."""

    index: int
    count: int

    def holds(self, name: str) -> bool:
        """Whether an item belongs to this part."""
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

    def __init__(
        self, folder: Path | None, bundle: str | None, made_by: Recipe, part: Part | None = None
    ) -> None:
        """Read what is there; nothing is written yet.

        Args:
            folder: None where a single file is made: lines are told then, and not kept.
            bundle: sha256 of the bundle, where one takes part.
            part: Each part writes a file of its own, so that machines never share one.
        """
        ending = "" if part is None else f".part-{part.index}-of-{part.count}"
        self._bundle, self._recipe = bundle, made_by
        self.file = None if folder is None else folder / f"{NAMES[made_by.command]}{ending}.jsonl"
        self._planned, self._last = (set(), {}) if folder is None else _read(folder, made_by.command)
        self._open = self.file is None or not self.file.exists()

    def state(self, item: Item) -> State:
        """What is to be done with an item: nothing, everything, or to refuse, for a foreign file is in its place."""
        line = self._last.get(item.name)
        if line is None or line.status != "ok":
            there = any(path.exists() for path in item.files)
            return "foreign" if there and item.name not in self._planned else "to do"
        if self.changed(item):
            return "changed"
        hashes = _hashes(line)
        kept = item.kept(hashes)
        whole = all(path.exists() and path.name in hashes for path in kept)
        same = (line.bundle, line.recipe) == (self._bundle, self._recipe) and item.told(line)
        return "done" if whole and same and self._same_inputs(line, item) else "to do"

    def changed(self, item: Item) -> Path | None:
        """A file of a finished item that is not what was written."""
        hashes = _hashes(self._last[item.name]) if item.name in self._last else {}
        ours = (path for path in item.kept(hashes) if path.name in hashes and path.exists())
        return next((path for path in ours if hash_of(path) != hashes[path.name]), None)

    def line(self, name: str) -> CaseLine:
        """The last line of an item."""
        return self._last[name]

    def plan(self, items: Sequence[Item]) -> None:
        """Say which items are to be written here: a file of theirs is ours even where its line is missing."""
        names = tuple(item.name for item in items)
        self._write(PlanLine(planned=names, bundle=self._bundle, recipe=self._recipe))

    def add(self, result: CaseResult, device: str, node: str | None = None) -> CaseLine:
        """Write the line of an item that ended, and flush it to the disk.

        Args:
            result: With the hashes of inputs and outputs.
            node: The machine, or the engine's address, that computed it; default this machine.
        """
        line = case_line(
            result,
            bundle=self._bundle,
            recipe=self._recipe,
            device=device,
            node=node or platform.node(),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._write(line)
        return line

    def _same_inputs(self, line: CaseLine, item: Item) -> bool:
        if any(not path.exists() for path in item.inputs):
            return False
        return [one.sha256 for one in line.inputs] == [hash_of(path) for path in item.inputs]

    def _write(self, content: Document) -> None:
        if self.file is None:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as stream:
                if not self._open:
                    stream.write("\n")  # ends a line that a power cut may have torn
                    self._open = True
                stream.write(f"{text_of(content)}\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise writing_failed(self.file, error) from error


def _hashes(line: CaseLine) -> dict[str, str | None]:
    """Name of an output → its sha256. The folder may have moved since."""
    return {Path(one.path).name: one.sha256 for one in line.outputs}


def files_of(folder: Path, command: Command) -> list[Path]:
    """The ledgers of a command in an output folder, those of parts included."""
    return sorted(folder.glob(f"{NAMES[command]}*.jsonl"))


def latest(lines: Sequence[CaseLine]) -> dict[str, CaseLine]:
    """The last line of each item, by name."""
    return {line.name: line for line in sorted(lines, key=lambda line: line.finished)}


def _read(folder: Path, command: Command) -> tuple[set[str], dict[str, CaseLine]]:
    """Planned items, and the last line of each."""
    lines = [line for file in files_of(folder, command) for line in lines_of(file)]
    planned = {name for line in lines if isinstance(line, PlanLine) for name in line.planned}
    return planned, latest([line for line in lines if isinstance(line, CaseLine)])
