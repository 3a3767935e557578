"""Options that several commands share."""

from typing import Annotated

import typer

Jobs = Annotated[int, typer.Option(metavar="N", min=1, help="Processes.")]
