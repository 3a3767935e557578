"""Entry point of `scanside`: finds commands, turns errors into one sentence and an exit code."""

import importlib
import importlib.util
import os
import sys
from importlib.metadata import entry_points
from typing import Any

import click
import typer
from typer.core import TyperGroup
from typer.main import get_command

from scanside.runtime.errors import ExitCode, ExtraMissingError, ScansideError

GROUP = "scanside.commands"
_BUILT_IN = {
    "segment": ("scanside.runtime.cli.segment", "Segment images with a bundle."),
    "bundle": ("scanside.runtime.cli.bundle", "Inspect or verify a bundle."),
    "selftest": ("scanside.runtime.cli.selftest", "Replay a bundle's golden cases on this machine."),
    "doctor": ("scanside.runtime.cli.doctor", "Say what this machine can run and what is missing."),
}
_HELP = """Segment MRI with trained nnU-Net models, without PyTorch. Research use only.

Exit codes: 0 ok · 1 a case failed · 2 usage · 3 bundle · 4 backend · 5 input refused · 130 interrupted.

Example: scanside segment hippocampus.bundle scan.nii.gz -o masks"""


class _Commands(TyperGroup):
    """Built-in commands and those of installed components; a command's module is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_BUILT_IN, *sorted(point.name for point in entry_points(group=GROUP))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _BUILT_IN:
            app = importlib.import_module(_BUILT_IN[cmd_name][0]).app
        else:
            points = [point for point in entry_points(group=GROUP) if point.name == cmd_name]
            if not points:
                return None
            try:
                app = points[0].load()
            except ImportError as error:
                return _unavailable(cmd_name, error)
        command = get_command(app)
        command.name = cmd_name
        return command


def _unavailable(name: str, error: ImportError) -> click.Command:
    """The stand-in for a command whose component is not installed or lacks a package."""

    def explain() -> None:
        raise ExtraMissingError(f"`scanside {name}` is not available here ({error}); run: pip install 'scanside[{name}]'.")

    return click.Command(name, callback=explain, help="Not installed.", params=[click.Argument(["rest"], nargs=-1)])


app = typer.Typer(cls=_Commands, help=_HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _root() -> None:
    """Keep typer from merging the group with its only command."""


def require_extra(extra: str, *packages: str) -> None:
    """See that the packages of an extra are installed, before a command imports them.

    Raises:
        ExtraMissingError: Naming the extra to install.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ExtraMissingError(
            f"This command needs {', '.join(missing)}, which is not installed; run: pip install 'scanside[{extra}]'."
        )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with one of `ExitCode`."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code and never raises for a user's mistake."""
    try:
        result: Any = get_command(app).main(args=arguments, prog_name="scanside", standalone_mode=False)
    except ScansideError as error:
        return _say(str(error), error.exit_code)
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        return _say("Interrupted; nothing half-written is left behind.", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader of stdout has gone (`| head`); keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        if os.environ.get("SCANSIDE_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _say(
            f"An unforeseen error stopped the command ({what}); run again with SCANSIDE_DEBUG=1 and report it.",
            ExitCode.CASE_FAILED,
        )
    return int(result) if isinstance(result, int) else ExitCode.OK


def _say(sentence: str, code: int) -> int:
    print(f"scanside: {sentence}", file=sys.stderr)
    return int(code)


if __name__ == "__main__":
    main()
