"""`scanside report`: an installation over months."""

from datetime import date, timedelta
from typing import Annotated

import typer

from scanside.runtime.cli.arguments import AsJson, ConfigFile, find_config
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import ExitCode, UsageError

app = typer.Typer(add_completion=False, rich_markup_mode=None)
_DAYS = 92


@app.command()
def report(
    config: ConfigFile = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="First day, such as 2026-09-01; default: three months ago."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Shares of statuses, refusals, readers' rejections, volumes and features, per scanner and month.

    Limits come from the results of the days that `commissioned` in [watch] names. Exit code 1: something is outside.

    Example: scanside report -c scanside.toml --since 2026-09-01
    """
    require_extra("appliance", "prometheus_client")
    from scanside.runtime.appliance.config import load_config
    from scanside.runtime.appliance.watch.drift import read_monitoring
    from scanside.runtime.appliance.watch.monitoring import as_text

    try:
        first = date.today() - timedelta(days=_DAYS) if since is None else date.fromisoformat(since)
    except ValueError as error:
        raise UsageError(f"'{since}' is no date; give one such as 2026-09-01.") from error
    found = read_monitoring(load_config(find_config(config)), first)
    print(found.text() if as_json else as_text(found), end="" if as_json else "\n")
    return int(ExitCode.CASE_FAILED if found.alarms else ExitCode.OK)
