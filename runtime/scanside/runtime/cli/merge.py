"""`scanside merge`: one document of what parts, machines and interrupted runs wrote into output folders."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.cli.arguments import AsJson
from scanside.runtime.errors import ExitCode
from scanside.runtime.images.files import atomic_write
from scanside.runtime.merge import merge_ledgers, table

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUT...", help="Output folders of `segment`, `run` or `radiomics extract`, all parts."
        ),
    ],
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write a table, one case a line: sizes of labels, results of studies, or features.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Join the reports of parts: every case once, and which failed or are missing.

    Exit code 1 when a case failed, is missing, or a part has not begun; 2 when the parts were not made alike.

    Examples:

      scanside merge masks

      scanside merge masks --csv volumes.csv --json
    """
    merged = merge_ledgers(folders)
    if csv is not None:
        with atomic_write(csv) as temporary:
            temporary.write_text(table(merged), encoding="utf-8")
    if as_json:
        print(merged.text(), end="")
    for case in merged.failed:
        print(f"{case.name}: {case.status}: {case.reason}", file=sys.stderr)
    for name in merged.missing:
        print(f"{name}: planned, and not finished", file=sys.stderr)
    for part in merged.parts_missing:
        print(f"part {part}: has not begun", file=sys.stderr)
    print(merged.summary(), file=sys.stderr)
    return ExitCode.OK if merged.complete else ExitCode.CASE_FAILED
