"""`scanside accept`: acceptance on site, and constancy."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.cli.arguments import ConfigFile, find_config
from scanside.runtime.cli.keys import PasswordFile, password_of
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import ExitCode
from scanside.runtime.signing import SigningKey, key_id

Out = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--out",
        metavar="FOLDER",
        help="For report and record; default: acceptance, in the data folder.",
    ),
]
By = Annotated[str, typer.Option(metavar="NAME", help="Who runs it; default: the user.")]
Site = Annotated[str, typer.Option(metavar="TEXT", help="Where, for the report.")]
Studies = Annotated[int, typer.Option(metavar="N", min=2, help="Studies that are sent at once.")]
Limit = Annotated[
    float | None,
    typer.Option("--limit-seconds", metavar="S", min=0.1, help="What a study may take at p95; default: any."),
]
Patience = Annotated[
    float, typer.Option("--patience-seconds", metavar="S", min=1, help="To wait for one study.")
]
Compare = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Record of an earlier run, or `last`: what changed beyond noise fails."
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Private key of `scanside keys new`: signs record and page."),
]
AsRecord = Annotated[bool, typer.Option("--json", help="Print the record on stdout.")]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def accept(
    config: ConfigFile = None,
    out: Out = None,
    by: By = "",
    site: Site = "",
    studies: Studies = 6,
    limit: Limit = None,
    patience: Patience = 600.0,
    compare: Compare = None,
    key_file: KeyFile = None,
    password_file: PasswordFile = None,
    as_json: AsRecord = False,
) -> int:
    """Prove an installation on site, with the service stopped: a report to print, and a record. Exit code 1: it failed.

    Sends a phantom through this machine to the configured archives and reads it back.

    Examples:

      scanside accept -c scanside.toml --by "A. Physicist" --site "MR 2"

      scanside accept -c scanside.toml --compare last
    """
    require_extra("appliance", "pynetdicom", "prometheus_client", "radiomics", "pydicom")
    from scanside.runtime.acceptance.compare import constancy
    from scanside.runtime.acceptance.files import earlier_reports, last_report, read_report, write_report
    from scanside.runtime.acceptance.record import Check
    from scanside.runtime.acceptance.run import FOLDER, Request
    from scanside.runtime.acceptance.run import accept as run
    from scanside.runtime.appliance.config import load_config

    loaded = load_config(find_config(config))
    key = None if key_file is None else SigningKey.read(key_file, password_of(password_file))
    folder = out or loaded.service.data / FOLDER
    path = None if compare is None else last_report(folder) if compare == "last" else Path(compare)
    last = None if path is None else read_report(path, loaded.trust)
    earlier = earlier_reports(folder)
    marks = {"passed": "ok", "failed": "FAILED", "not done": "-"}

    def say(check: Check) -> None:
        line = f"{marks[check.result.outcome]:6} {check.key}  {check.sentence}"
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    signer = None if key is None else key_id(key.public)
    report = run(loaded, Request(by, site, studies, limit, patience, signer), say)
    if last is not None:
        compared = constancy(last, report, earlier)
        for check in compared:
            say(check)
        report = report.model_copy(update={"checks": (*report.checks, *compared)})
    page = write_report(report, folder, key, earlier)
    if as_json:
        print(report.model_dump_json(by_alias=True, indent=1))
    print(f"{report.verdict} Report: {page}", file=sys.stderr if as_json else sys.stdout)
    return int(ExitCode.OK if report.passed else ExitCode.CASE_FAILED)
