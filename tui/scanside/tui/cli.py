"""`scanside tui`: the operator's terminal."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.appliance.config import Config, Service, load_config
from scanside.runtime.cli.arguments import CONFIG_PLACES, ConfigFile, find_config
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def tui(
    config: ConfigFile = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Only look at this data folder, without a configuration."),
    ] = None,
    theme: Annotated[str, typer.Option(metavar="NAME", help="dark, light or high-contrast.")] = "dark",
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines of text instead of a screen, as `scanside queue watch`.")
    ] = False,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Try it: a service of its own on synthetic studies, removed afterwards."),
    ] = False,
) -> int:
    """Show the worklist of an appliance, its cases and its state. Closing it changes nothing. Research use only.

    Examples:

      scanside tui -c scanside.toml

      scanside tui --demo
    """
    require_extra("tui", "textual", "textual_image")
    from scanside.tui.themes import THEMES

    if theme not in THEMES:
        raise UsageError(f"There is no theme '{theme}'; choose one of {', '.join(THEMES)}.")
    if sum((config is not None, data is not None, demo)) > 1:
        raise UsageError("Of --config, --data and --demo only one makes sense; leave the others out.")
    show = _tell if plain else partial(_show, theme=theme)
    return _demo(show) if demo else show(_configuration(config, data))


def _tell(config: Config, place: str | None = None) -> int:
    """The plain mode: needs neither a screen nor colours."""
    from scanside.runtime.appliance.store.database import Database
    from scanside.runtime.cli.queue import tell_changes
    from scanside.runtime.cli.queue_store import OpenStore

    with Database(config.database) as database:
        tell_changes(OpenStore(config, database))
    return 0


def _show(config: Config, place: str | None = None, *, theme: str) -> int:
    from scanside.tui.app import ScansideApp
    from scanside.tui.case.graphics import probe

    probe()
    terminal = ScansideApp(config, theme=theme, place=place)
    terminal.run()
    if terminal.fault is not None:
        raise terminal.fault
    return terminal.return_code or 0


def _demo(show: Callable[[Config, str], int]) -> int:
    from scanside.tui.demo.service import demonstration

    print("A service on synthetic patients begins …", file=sys.stderr)
    with demonstration() as demo:
        config = load_config(demo.config)
        demo.wait_until_ready(config)
        code = show(config, "DEMO, synthetic patients")
        print("The demonstration ends and is removed …", file=sys.stderr)
    return code


def _configuration(file: Path | None, data: Path | None) -> Config:
    """Of the file, or as little as a data folder alone tells."""
    if data is None:
        if file is None and not any(place.is_file() for place in CONFIG_PLACES):
            where = " or ".join(str(place) for place in CONFIG_PLACES)
            raise UsageError(
                f"There is no configuration {where}; pass one with --config, the data folder of an appliance with "
                "--data, or try the terminal with --demo."
            )
        return load_config(find_config(file))
    if not (data / "scanside.db").exists():
        raise UsageError(f"{data} holds no store (scanside.db); pass the data folder of an appliance.")
    return Config(service=Service(data=data, bundle=data / "bundle-not-known", research_use_only=True))
