"""`scanside schema`: the JSON schema of every document that this program writes, generated from its record."""

import json
from importlib.metadata import entry_points
from typing import Annotated

import typer
from pydantic import BaseModel

from scanside.runtime.errors import ExtraMissingError, UsageError
from scanside.runtime.extras import extra_of, install_command
from scanside.runtime.record import json_schema

GROUP = "scanside.documents"
"""Entry points: the name of a document → its record. Each component names its own."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def schema(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A document; without it, their names are listed.")
    ] = None,
) -> None:
    """Print the JSON schema of a document that this program writes or reads.

    Example: scanside schema result
    """
    if name is None:
        print("\n".join(documents()))
    else:
        print(json.dumps(json_schema(record_of(name)), indent=2, ensure_ascii=False))


def documents() -> list[str]:
    """The names of all documents of the installed components."""
    return sorted(point.name for point in entry_points(group=GROUP))


def record_of(name: str) -> type[BaseModel]:
    """The record of a document.

    Raises:
        UsageError: If there is no such document.
        ExtraMissingError: If its component needs a package that is not installed.
    """
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if not points:
        raise UsageError(f"There is no document '{name}'; choose one of {', '.join(documents())}.")
    try:
        record: type[BaseModel] = points[0].load()
    except ImportError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise
        raise ExtraMissingError(
            f"The schema of '{name}' needs {error.name}, which is not installed; run: {install_command(extra)}."
        ) from error
    return record
