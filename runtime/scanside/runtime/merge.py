"""Ledgers of parts → one document: every case once, what failed, what is missing."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.ledger import files_of, lines_of

SCHEMA = "scanside.merged/1"
_PART = re.compile(r"\.part-(\d+)-of-(\d+)\.jsonl$")


@dataclass(frozen=True)
class Merged:
    """What several ledgers say together.

    Attributes:
        cases: The last line of every case that ended, by name.
        missing: Cases that were planned and have not ended.
        parts_missing: Parts that have not begun, such as `3 of 8`.
    """

    bundle: str
    recipe: Mapping[str, Any]
    cases: tuple[Mapping[str, Any], ...]
    missing: tuple[str, ...]
    parts_missing: tuple[str, ...]

    @property
    def failed(self) -> tuple[Mapping[str, Any], ...]:
        """Cases that were refused or failed."""
        return tuple(case for case in self.cases if case["status"] != "ok")

    @property
    def complete(self) -> bool:
        """Whether every case of every part is ok."""
        return not (self.failed or self.missing or self.parts_missing)

    def summary(self) -> str:
        """One sentence."""
        nodes = len({case["node"] for case in self.cases})
        ok = len(self.cases) - len(self.failed)
        return (
            f"{ok} case(s) ok, {len(self.failed)} failed, {len(self.missing)} not finished, "
            f"{len(self.parts_missing)} part(s) not begun; {nodes} machine(s)."
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema": SCHEMA,
            "complete": self.complete,
            "bundle": self.bundle,
            "recipe": dict(self.recipe),
            "missing": list(self.missing),
            "parts_missing": list(self.parts_missing),
            "cases": [
                {key: value for key, value in case.items() if key not in ("schema", "bundle", "recipe")}
                for case in self.cases
            ],
        }


def merge_ledgers(folders: Sequence[Path]) -> Merged:
    """Join the ledgers of output folders.

    Raises:
        InputError: If there is no ledger.
        UsageError: If a case's lines come of different bundles or recipes.
    """
    files = [file for folder in folders for file in (files_of(folder) if folder.is_dir() else ())]
    if not files:
        raise InputError(
            f"{', '.join(map(str, folders))} holds no report of `scanside segment`; give its output folder."
        )
    planned: dict[str, None] = {}
    ended: list[dict[str, Any]] = []
    for file in files:
        for line in lines_of(file):
            planned.update(dict.fromkeys(line.get("planned", ())))
            ended += [line] if "name" in line else []
    last = {line["name"]: line for line in sorted(ended, key=lambda line: str(line["finished"]))}
    made = {(line["bundle"], str(line["recipe"])): line for line in last.values()}
    if len(made) > 1:
        one, other = list(made.values())[:2]
        raise UsageError(
            f"{one['name']} and {other['name']} were made by different bundles or recipes; run the older ones again "
            "with --resume."
        )
    first = next(iter(last.values()), None)
    return Merged(
        bundle="" if first is None else first["bundle"],
        recipe={} if first is None else first["recipe"],
        cases=tuple(last[name] for name in sorted(last)),
        missing=tuple(sorted(name for name in planned if name not in last)),
        parts_missing=_parts_missing(files),
    )


def table(merged: Merged) -> str:
    """Sizes as CSV: a case a line, a label a column; empty where a case has none."""
    labels = list(dict.fromkeys(name for case in merged.cases for name in _sizes(case)))
    flat = any(case["areas_mm2"] is not None for case in merged.cases)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["case", "status", *(f"{name} ({'mm²' if flat else 'ml'})" for name in labels)])
    for case in merged.cases:
        sizes = _sizes(case)
        writer.writerow([case["name"], case["status"], *(sizes.get(name, "") for name in labels)])
    return stream.getvalue()


def _sizes(case: Mapping[str, Any]) -> Mapping[str, float]:
    return case["labels"] or case["areas_mm2"] or {}


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
