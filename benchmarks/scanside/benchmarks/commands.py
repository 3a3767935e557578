"""How a function becomes a command of `scanside bench`: options from its record, and the same end for all of them."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints

import typer

from scanside.benchmarks.choices import Out, Overwrite, Table
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import ExitCode, OutputError

Function = TypeVar("Function", bound=Callable[..., Any])
Facts = Mapping[str, Any]
"""What `environment` says: taken first, since the load average is that of the machine before the run."""
_END = {"out": (Out, inspect.Parameter.empty), "table": (Table, None), "overwrite": (Overwrite, False)}


def command(app: typer.Typer, *packages: str) -> Callable[[Function], Function]:
    """Register a function as a command.

    Its parameter `options` stands for an option for each annotated field of that record. A function that takes
    `facts` measures: it returns a record, which is written (`-o`) and shown as a table, and decides the exit code.

    Args:
        packages: What has to be installed beside the lean runtime.
    """

    def register(function: Function) -> Function:
        hints = get_type_hints(function, include_extras=True)
        record, measures = hints.get("options"), "facts" in hints
        taken = {
            name: (hints[name], given.default)
            for name, given in inspect.signature(function).parameters.items()
            if name not in ("options", "facts")
        }
        chosen = _options(record) if record else {}

        def run(**given: Any) -> Any:
            if packages:
                require_extra("bench", *packages)
            if record:
                given["options"] = record(**{name: given.pop(name) for name in chosen})
            return _measure(function, given, "out" in taken) if measures else function(**given)

        shown = {**taken, **chosen, **(_END if measures else {})}
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
                for name, (hint, default) in shown.items()
            ]
        )
        run.__annotations__ = {name: hint for name, (hint, _) in shown.items()}
        run.__doc__ = function.__doc__
        app.command(function.__name__.replace("_", "-"))(run)
        return function

    return register


def _options(record: Any) -> dict[str, tuple[Any, Any]]:
    assert is_dataclass(record)
    hints = get_type_hints(record, include_extras=True)
    return {
        field.name: (hints[field.name], field.default)
        for field in fields(record)
        if get_origin(hints[field.name]) is Annotated
    }


def _measure(function: Callable[..., Any], given: dict[str, Any], wants_out: bool) -> int:
    """Measure, write, show; 1 where what was measured is not what it should be."""
    from scanside.benchmarks.environment import environment
    from scanside.benchmarks.results import write
    from scanside.benchmarks.tables import render

    out, table, overwrite = given.pop("out"), given.pop("table"), given.pop("overwrite")
    refuse_existing(overwrite, out, table)
    if wants_out:
        given["out"] = out
    report = function(**given, facts=environment(sys.argv[1:]))
    write(report, out)
    show(render(report), table)
    return ExitCode.OK if report.passed else ExitCode.CASE_FAILED


def refuse_existing(overwrite: bool, *files: Path | None) -> None:
    """See that nothing is replaced unasked.

    Raises:
        OutputError: If one is there and must stay.
    """
    for file in files:
        if file is not None and file.exists() and not overwrite:
            raise OutputError(f"{file} exists already; add --overwrite or choose another name.")


def show(table: str, file: Path | None) -> None:
    """Print a table, and write it where that is asked for."""
    print(table)
    if file is not None:
        from scanside.runtime.images.files import atomic_write

        with atomic_write(file) as temporary:
            temporary.write_text(f"{table}\n", encoding="utf-8")
