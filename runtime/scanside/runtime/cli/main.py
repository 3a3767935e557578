"""Entry point of `scanside`: finds commands, turns errors into one sentence and an exit code."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points, version
from typing import Annotated, Any, ClassVar

import typer
from typer.main import get_command

from scanside.runtime.backends.quiet import ours_alone
from scanside.runtime.cli.group import Group
from scanside.runtime.errors import ExitCode, ExtraMissingError, ScansideError
from scanside.runtime.extras import EXTRAS, extra_of, install_command

GROUP = "scanside.commands"
_BUILT_IN = {
    "run": "scanside.runtime.cli.run",
    "segment": "scanside.runtime.cli.segment",
    "bundle": "scanside.runtime.cli.bundle",
    "keys": "scanside.runtime.cli.keys",
    "selftest": "scanside.runtime.cli.selftest",
    "merge": "scanside.runtime.cli.merge",
    "doctor": "scanside.runtime.cli.doctor",
    "radiomics": "scanside.runtime.cli.radiomics",
    "serve": "scanside.runtime.cli.serve",
    "queue": "scanside.runtime.cli.queue",
    "send": "scanside.runtime.cli.send",
    "echo": "scanside.runtime.cli.echo",
    "audit": "scanside.runtime.cli.audit",
    "store": "scanside.runtime.cli.store",
    "deidentify": "scanside.runtime.cli.deidentify",
    "mrd": "scanside.runtime.cli.mrd",
    "schema": "scanside.runtime.cli.schema",
    "accept": "scanside.runtime.cli.accept",
    "report": "scanside.runtime.cli.report",
}
_HELP = """Segment MRI with trained nnU-Net models, without PyTorch. Research use only.

Exit codes: 0 ok · 1 a case failed · 2 usage · 3 bundle · 4 backend · 5 input refused · 130 interrupted.

Example: scanside segment hippocampus.bundle scan.nii.gz -o masks"""

_INTERRUPTED = "Interrupted; nothing half-written is left behind."


class _Commands(Group):
    """Built-in commands and those of installed components; a command's module is imported when it is called."""

    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Models": ("segment", "merge", "export", "bundle", "keys", "selftest"),
        "Studies": ("run", "radiomics", "demo"),
        "Appliance": (
            "serve",
            "accept",
            "report",
            "mrd",
            "tui",
            "queue",
            "send",
            "echo",
            "audit",
            "store",
            "deidentify",
        ),
        "Research": ("cohort", "phantom", "train", "evaluate"),
        "Machine": ("doctor", "bench", "schema"),
    }

    def list_commands(self, ctx: Any) -> list[str]:
        return [*_BUILT_IN, *sorted(point.name for point in entry_points(group=GROUP))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        try:
            if cmd_name in _BUILT_IN:
                app = importlib.import_module(_BUILT_IN[cmd_name]).app
            else:  # reads a file of every installed package
                points = [point for point in entry_points(group=GROUP) if point.name == cmd_name]
                if not points:
                    return None
                app = points[0].load()
        except ImportError as error:
            app = _unavailable(cmd_name, error)
        command = get_command(app)
        command.name = cmd_name
        return command


def _unavailable(name: str, error: ImportError) -> typer.Typer:
    """The stand-in for a command whose component is not installed or lacks a package."""
    stand_in = typer.Typer(add_completion=False, rich_markup_mode=None)
    any_arguments = {"allow_extra_args": True, "ignore_unknown_options": True}
    reason = str(error)
    extra = extra_of(error.name or "") or (name if name in EXTRAS else "appliance")

    @stand_in.command(help="Not installed.", context_settings=any_arguments)
    def explain() -> None:
        raise ExtraMissingError(
            f"`scanside {name}` is not available here ({reason}); run: {install_command(extra)}."
        )

    return stand_in


app = typer.Typer(
    cls=_Commands,
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"scanside {version('scanside')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version.")
    ] = False,
) -> None:
    """Make typer build a group although no command is registered here."""


def require_extra(extra: str, *packages: str) -> None:
    """See that the packages of an extra are installed, before a command imports them.

    Args:
        packages: Modules; one that another extra brings is answered with that one. None: all of the extra.

    Raises:
        ExtraMissingError: Naming the extra, or extras, to install.
    """
    missing = [package for package in packages or EXTRAS[extra] if importlib.util.find_spec(package) is None]
    if missing:
        raise ExtraMissingError(_lacks(extra, missing))


def _lacks(extra: str, modules: list[str]) -> str:
    """The sentence for modules that are not installed."""
    known = EXTRAS.get(extra, ())
    needed = dict.fromkeys(extra if name in known else extra_of(name) or extra for name in modules)
    are = "are" if len(modules) > 1 else "is"
    return (
        f"This command needs {', '.join(modules)}, which {are} not installed; "
        f"run: {install_command(','.join(needed))}."
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with one of `ExitCode`."""
    if {"--json", "--json-lines"} & set(sys.argv[1:] if arguments is None else arguments):
        ours_alone()
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code and never raises for a user's mistake."""
    try:
        result: Any = get_command(app).main(args=arguments, prog_name="scanside", standalone_mode=False)
    except ScansideError as error:
        return _say(str(error), error.exit_code)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _say(_INTERRUPTED, ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of stdout has gone (`| head`); keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        return (
            _unforeseen(error) if extra is None else _say(_lacks(extra, [error.name or ""]), ExitCode.USAGE)
        )
    except Exception as error:
        return _unforeseen(error)
    if result == ExitCode.INTERRUPTED:  # typer turns Ctrl-C inside a command into this code
        return _say(_INTERRUPTED, ExitCode.INTERRUPTED)
    return int(result) if isinstance(result, int) else ExitCode.OK


def _unforeseen(error: Exception) -> int:
    if hasattr(error, "show") and hasattr(error, "format_message"):
        # A ClickException: of click, or of the copy of it that newer versions of typer carry.
        if not str(error).strip():
            return ExitCode.USAGE  # no arguments: the help has been shown
        error.show()
        return ExitCode.USAGE
    if os.environ.get("SCANSIDE_DEBUG"):
        raise error
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return _say(
        f"An unforeseen error stopped the command ({what}); run again with SCANSIDE_DEBUG=1 and report it.",
        ExitCode.CASE_FAILED,
    )


def _say(sentence: str, code: int) -> int:
    print(f"scanside: {sentence}", file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    main()
