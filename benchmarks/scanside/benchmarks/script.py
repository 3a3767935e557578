"""What the scripts of `benchmarks/scripts` share: they are run from a checkout and write the same results files."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from scanside.benchmarks.commands import refuse_existing, show
from scanside.benchmarks.environment import environment
from scanside.benchmarks.tables import aligned
from scanside.runtime.errors import ScansideError
from scanside.runtime.images.files import atomic_write


def script(main: Callable[..., object]) -> None:
    """Run a script's function as a command; an error is one sentence and its exit code."""
    try:
        typer.run(main)
    except ScansideError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def facts(name: str, out: Path, overwrite: bool) -> dict[str, Any]:
    """The head of a results file: its schema, machine, versions, commit and command. Call it before anything is timed.

    Raises:
        OutputError: If the file is there and must stay.
    """
    refuse_existing(overwrite, out, out.with_suffix(".md"))
    command = ["python", f"benchmarks/scripts/{Path(sys.argv[0]).name}", *sys.argv[1:]]
    return {"schema": f"scanside.{name}", **environment(command)}


def save(document: Mapping[str, Any], out: Path, words: Sequence[str]) -> None:
    """Write a results file and, beside it and on the terminal, its table as Markdown."""
    text = json.dumps(document, indent=1, ensure_ascii=False, default=_plain)
    with atomic_write(out) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
    show("\n".join(words), out.with_suffix(".md"))


def where(document: Mapping[str, Any], *libraries: str) -> str:
    """The machine and the versions of some libraries in a line."""
    machine, versions = document["machine"], document["versions"]
    known = ", ".join(f"{name} {versions[name]}" for name in ("scanside", *libraries) if name in versions)
    return f"{machine['processor']}, {machine['cores']} core(s), {machine['memory_gib']} GiB; {known}."


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows below their head, as Markdown with a line before and after."""
    return ["", *aligned([head, *([str(cell) for cell in row] for row in rows)]), ""]


def _plain(record: object) -> Any:
    if isinstance(record, BaseModel):
        return record.model_dump()
    raise TypeError(f"{type(record).__name__} is nothing that JSON holds")
