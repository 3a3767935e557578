"""`scanside serve`: the appliance."""

import logging
import signal
import threading
from importlib.resources import files
from typing import Annotated

import typer

from scanside.runtime.cli.arguments import ConfigFile, find_config
from scanside.runtime.cli.main import require_extra

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def serve(
    config: ConfigFile = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Try everything that the service needs, say what is wrong, and end."),
    ] = False,
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented configuration, and end.")
    ] = False,
    conformance: Annotated[
        bool, typer.Option("--conformance", help="Print the DICOM conformance statement, and end.")
    ] = False,
) -> int:
    """Receive studies over DICOM, compute them, and send the results. Research use only.

    Example: scanside serve --example > scanside.toml

      scanside serve -c scanside.toml --check

      scanside serve -c scanside.toml
    """
    if example:
        print(
            files("scanside.runtime.appliance").joinpath("example.toml").read_text(encoding="utf-8"), end=""
        )
        return 0
    require_extra("appliance", "pynetdicom", "prometheus_client", "radiomics", "pydicom")
    if conformance:
        from scanside.runtime.appliance.conformance import conformance_statement

        print(conformance_statement(), end="")
        return 0
    from scanside.runtime.appliance.config import load_config

    path = find_config(config)
    loaded = load_config(path)
    if check:
        from scanside.runtime.appliance.check import check as check_all
        from scanside.runtime.appliance.check import print_findings

        return int(print_findings(check_all(loaded)))
    from scanside.runtime.appliance.serve import serve as run
    from scanside.runtime.appliance.watch.log import start_log

    start_log(loaded.watch.log_level, "serve")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logging.getLogger("scanside.serve").info("serving with %s", path)
    run(loaded, path, stop)
    return 0
