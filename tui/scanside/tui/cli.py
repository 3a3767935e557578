"""`scanside tui`: the operator's terminal."""

import gc
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

CELLS = ("half", "sextants", "octants")
"""What `--cells` takes."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def tui(
    config: ConfigFile = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Only look at this data folder, without a configuration."),
    ] = None,
    theme: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="dark, light or high-contrast; default: as the last time."),
    ] = None,
    cells: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Images in half blocks, sextants or octants; default: pixels, or the finest that the terminal draws.",
        ),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Lines of text instead of a screen, with typed commands: for screen readers."
        ),
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

    if theme is not None and theme not in THEMES:
        raise UsageError(f"There is no theme '{theme}'; choose one of {', '.join(THEMES)}.")
    if cells is not None and cells not in CELLS:
        raise UsageError(f"There are no cells '{cells}'; choose one of {', '.join(CELLS)}.")
    if sum((config is not None, data is not None, demo)) > 1:
        raise UsageError("Of --config, --data and --demo only one makes sense; leave the others out.")
    show = _tell if plain else partial(_show, theme=theme, cells=cells)
    if demo:
        return _demo(show)
    return show(_configuration(config, data), configured=data is None)


def _tell(config: Config, place: str | None = None, *, configured: bool = True, **_: object) -> int:
    """The plain mode: needs neither a screen nor colours."""
    from scanside.tui.plain import Plain

    return Plain(config, configured=configured).run()


def _show(
    config: Config,
    place: str | None = None,
    *,
    theme: str | None,
    cells: str | None = None,
    configured: bool = True,
    coming: Callable[[], str] = lambda: "",
) -> int:
    if not sys.stdin.isatty():
        raise UsageError(
            "There is no keyboard: stdin is not a terminal; use --plain, or start it in a terminal."
        )
    gc.disable()  # what is imported stays
    from scanside.tui.app import ScansideApp
    from scanside.tui.case.graphics import Cells, choose, probe

    probe()
    if cells is not None:
        choose(Cells(cells))
    terminal = ScansideApp(config, theme=theme, place=place, configured=configured, coming=coming)
    gc.freeze()
    gc.enable()
    terminal.run()
    if terminal.fault is not None:
        raise terminal.fault
    return terminal.return_code or 0


def _demo(show: Callable[..., int]) -> int:
    from scanside.tui.demo.service import demonstration

    print("A service on synthetic patients begins …", file=sys.stderr)
    with demonstration() as demo:
        config = load_config(demo.config)
        demo.wait_until_ready(config)
        code = show(config, "DEMO, synthetic patients", coming=demo.coming)
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
