"""Ledgers of parts → one document: every item once, what failed, what is missing."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.ledger import NAMES, files_of, latest
from scanside.runtime.lines import CaseLine, Command, PlanLine, Recipe, lines_of
from scanside.runtime.record import Document, Sha256

_PART = re.compile(r"\.part-(\d+)-of-(\d+)\.jsonl$")


class Merged(Document):
    """What several ledgers say together: what `scanside merge --json` prints."""

    schema_: Literal["scanside.merged/1"] = Field("scanside.merged/1", alias="schema")
    complete: bool
    """Every item of every part is ok."""
    bundle: Sha256 | None
    """Null where no bundle takes part, or nothing has ended."""
    recipe: Recipe | None
    """Null where nothing has ended."""
    missing: tuple[str, ...]
    """Items that were planned and have not ended."""
    parts_missing: tuple[str, ...]
    """Parts that have not begun, such as `3 of 8`."""
    cases: tuple[CaseLine, ...]
    """The last line of every item that ended, by name."""

    @property
    def failed(self) -> tuple[CaseLine, ...]:
        """Items that were refused or failed."""
        return tuple(case for case in self.cases if case.status != "ok")

    def summary(self) -> str:
        """One sentence."""
        nodes = len({case.node for case in self.cases})
        ok = len(self.cases) - len(self.failed)
        return (
            f"{ok} case(s) ok, {len(self.failed)} failed, {len(self.missing)} not finished, "
            f"{len(self.parts_missing)} part(s) not begun; {nodes} machine(s)."
        )


def merge_ledgers(folders: Sequence[Path]) -> Merged:
    """Join the ledgers of output folders.

    Raises:
        InputError: If there is no ledger.
        UsageError: If they are of several commands, or lines come of different bundles or recipes.
    """
    files = _ledgers(folders)
    lines = [line for file in files for line in lines_of(file)]
    planned = {name for line in lines if isinstance(line, PlanLine) for name in line.planned}
    last = latest([line for line in lines if isinstance(line, CaseLine)])
    made = {(line.bundle, line.recipe.model_dump_json()): line for line in last.values()}
    if len(made) > 1:
        one, other = list(made.values())[:2]
        raise UsageError(
            f"{one.name} and {other.name} were made by different bundles or recipes; run the older ones again "
            "with --resume."
        )
    first = next(iter(last.values()), None)
    missing = tuple(sorted(name for name in planned if name not in last))
    parts = _parts_missing(files)
    failed = any(line.status != "ok" for line in last.values())
    return Merged(
        complete=not (failed or missing or parts),
        bundle=None if first is None else first.bundle,
        recipe=None if first is None else first.recipe,
        missing=missing,
        parts_missing=parts,
        cases=tuple(last[name] for name in sorted(last)),
    )


def _ledgers(folders: Sequence[Path]) -> list[Path]:
    by_command: dict[Command, list[Path]] = {
        command: [file for folder in folders if folder.is_dir() for file in files_of(folder, command)]
        for command in NAMES
    }
    found = [command for command, files in by_command.items() if files]
    if not found:
        raise InputError(
            f"{', '.join(map(str, folders))} holds no report of `scanside segment`, `run` or `radiomics extract`; give "
            "its output folder."
        )
    if len(found) > 1:
        raise UsageError(f"These folders hold reports of `{found[0]}` and of `{found[1]}`; merge them apart.")
    return by_command[found[0]]


def table(merged: Merged) -> str:
    """As CSV, a case a line: sizes by label, a study's status and probability, or features; empty where absent."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    flat = any(case.areas_mm2 is not None for case in merged.cases)
    rows = [_row(case, "mm²" if flat else "ml") for case in merged.cases]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer.writerow(["case", "status", *columns])
    for case, row in zip(merged.cases, rows, strict=True):
        values = ["" if row.get(name) is None else row[name] for name in columns]
        writer.writerow([case.name, case.status, *values])
    return stream.getvalue()


def _row(case: CaseLine, unit: str) -> Mapping[str, object]:
    """The columns of one case. A probability has status, interval, and whether it is a phantom's beside it."""
    row: dict[str, object] = {}
    if case.study is not None:
        chance = case.study.probability
        row |= {
            "result": case.study.status,
            "synthetic": "yes" if case.study.synthetic else "no",
            "class": chance and chance.of,
            "probability": chance and chance.value,
            "low": chance and chance.low,
            "high": chance and chance.high,
        }
    row |= {f"{name} ({unit})": size for name, size in (case.labels or case.areas_mm2 or {}).items()}
    return row | {name: one.value for name, one in (case.features or {}).items()}


def _parts_missing(files: Sequence[Path]) -> tuple[str, ...]:
    """Parts without a ledger: each writes one, even for no case."""
    parts = {(int(found[1]), int(found[2])) for file in files if (found := _PART.search(file.name))}
    counts = {count for _, count in parts}
    return tuple(
        f"{index} of {count}"
        for count in sorted(counts)
        for index in range(1, count + 1)
        if (index, count) not in parts
    )
