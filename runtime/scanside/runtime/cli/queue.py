"""`scanside queue`: what the appliance has received, computes and sends; and what a person does about it."""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from scanside.runtime.appliance.store import audit, jobs, orders, outbox, retention, worklist
from scanside.runtime.appliance.store.states import ENDED, Action
from scanside.runtime.cli.arguments import ConfigFile
from scanside.runtime.cli.queue_store import OpenStore, open_store
from scanside.runtime.cli.queue_text import document, facts, history, items_table, jobs_table, line_of, table
from scanside.runtime.errors import UsageError
from scanside.runtime.report import RESEARCH

SCHEMA = "scanside.queue/1"
_LOOK_SECONDS = 0.5
_EVENTS = 20

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="The appliance's queue: list, watch, pause, retry, accept, run again, forget.\n\n"
    "CASE is a case id, or its beginning. Example: scanside queue list",
)
CaseId = Annotated[str, typer.Argument(metavar="CASE", help="Case id, or its beginning.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.callback(invoke_without_command=True)
def _default(context: typer.Context, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Without a command: `list`."""
    context.obj = config
    if context.invoked_subcommand is None:
        _list(config, as_json, None)


@app.command("list")
def list_(
    context: typer.Context,
    config: ConfigFile = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the latest N cases.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show every case and its latest job, latest arrival first.

    Example: scanside queue list --limit 20
    """
    _list(config or context.obj, as_json, limit)


def _list(config: Path | None, as_json: bool, limit: int | None) -> None:
    with open_store(config) as here:
        cases = worklist.cases(here.database, limit=limit)
        paused = orders.is_paused(here.database)
    if as_json:
        rows = [document(case, names=here.names) for case in cases]
        _print_json({"paused": paused, "cases": rows})
        return
    if paused:
        print("The queue is paused; `scanside queue resume` lets it go on.", file=sys.stderr)
    print(RESEARCH if cases else "There are no cases.", file=sys.stderr)
    for line in table(cases, time.time(), names=here.names) if cases else []:
        print(line)


@app.command()
def show(context: typer.Context, case_id: CaseId, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show one case: its jobs, what is sent where, and what happened.

    Example: scanside queue show ABCDE-FGHIJ
    """
    with open_store(config or context.obj) as here:
        case = here.find(case_id)
        all_jobs = worklist.jobs_of(here.database, case.case_id)
        items = outbox.of_job(here.database, case.job)
        entries = list(audit.entries(here.database, case_id=case.case_id))
    if as_json:
        _print_json(
            {
                "case": document(case, names=here.names),
                "jobs": [document(job, names=False) for job in all_jobs],
                "objects": [
                    {"destination": item.destination, "kind": item.kind, "state": item.state,
                     "attempts": item.attempts, "reason": item.reason, "sop_instance_uid": item.sop_uid}
                    for item in items
                ],
                "events": [
                    {"at": entry.at, "actor": entry.actor, "action": entry.action, "job": entry.job,
                     "detail": json.loads(entry.detail)}
                    for entry in entries
                ],
            }
        )  # fmt: skip
        return
    now = time.time()
    print(RESEARCH, file=sys.stderr)
    blocks = [facts(case, now, names=here.names)]
    blocks += [jobs_table(all_jobs, now)] if len(all_jobs) > 1 else []
    blocks += [items_table(items)] if items else []
    blocks += [history(entries[-_EVENTS:], now)]
    print("\n\n".join("\n".join(block) for block in blocks))


@app.command()
def pause(
    context: typer.Context,
    case_id: Annotated[str | None, typer.Argument(metavar="[CASE]", help="Without it: the queue.")] = None,
    config: ConfigFile = None,
) -> None:
    """Keep a case, or the whole queue, from being computed. What runs goes on.

    Example: scanside queue pause
    """
    _pause(config or context.obj, case_id, paused=True)


@app.command()
def resume(
    context: typer.Context,
    case_id: Annotated[str | None, typer.Argument(metavar="[CASE]", help="Without it: the queue.")] = None,
    config: ConfigFile = None,
) -> None:
    """Let a case, or the whole queue, go on.

    Example: scanside queue resume
    """
    _pause(config or context.obj, case_id, paused=False)


def _pause(config: Path | None, case_id: str | None, *, paused: bool) -> None:
    if case_id is not None:
        _act(config, case_id, Action.PAUSE if paused else Action.RESUME)
        return
    with open_store(config) as here:
        orders.pause_queue(here.database, paused, audit.person())
    print(f"queue {'paused' if paused else 'resumed'}")


@app.command()
def cancel(context: typer.Context, case_id: CaseId, config: ConfigFile = None) -> None:
    """Stop a case before its result is sent; `retry` takes it up again.

    Example: scanside queue cancel ABCDE-FGHIJ
    """
    _act(config or context.obj, case_id, Action.CANCEL)


@app.command()
def retry(context: typer.Context, case_id: CaseId, config: ConfigFile = None) -> None:
    """Compute a case that was quarantined or cancelled.

    Example: scanside queue retry ABCDE-FGHIJ
    """
    _act(config or context.obj, case_id, Action.RETRY)


@app.command()
def accept(context: typer.Context, case_id: CaseId, config: ConfigFile = None) -> None:
    """Accept a result that waits for review: it is sent.

    Example: scanside queue accept ABCDE-FGHIJ
    """
    _act(config or context.obj, case_id, Action.ACCEPT)


@app.command()
def reject(
    context: typer.Context,
    case_id: CaseId,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; without the patient's name.")],
    config: ConfigFile = None,
) -> None:
    """Reject a result that waits for review: it is not sent.

    Example: scanside queue reject ABCDE-FGHIJ --reason "lesion outside the pancreas"
    """
    _act(config or context.obj, case_id, Action.REJECT, reason)


@app.command("send-again")
def send_again(context: typer.Context, case_id: CaseId, config: ConfigFile = None) -> None:
    """Send a case's result objects again, to all their destinations.

    Example: scanside queue send-again ABCDE-FGHIJ
    """
    _act(config or context.obj, case_id, Action.SEND_AGAIN)


@app.command()
def rerun(
    context: typer.Context,
    case_id: CaseId,
    bundle: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Bundle; default: the configured one.")
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=UID", help="Series for a sequence, such as t2w=1.2.3; repeatable."),
    ] = None,
    priority: Annotated[int, typer.Option(metavar="N", help="Higher goes first.")] = 0,
    config: ConfigFile = None,
) -> None:
    """Compute a case again: with another bundle, or with series that you choose.

    Examples:

      scanside queue rerun ABCDE-FGHIJ --bundle newer.bundle

      scanside queue rerun ABCDE-FGHIJ --series t2w=1.2.840.99.5 --series dwi=1.2.840.99.6#b800
    """
    from scanside.runtime.bundle import open_bundle

    chosen = _series(series or [])
    if bundle is not None:
        open_bundle(bundle)
    path = None if bundle is None else str(bundle.resolve())
    with open_store(config or context.obj) as here:
        case = here.find(case_id)
        made = orders.rerun(
            here.database, case.case_id, audit.person(), bundle=path, series=chosen, priority=priority
        )
    print(f"{case.case_id} queued as job {made}")


@app.command()
def priority(
    context: typer.Context,
    case_id: CaseId,
    number: Annotated[int, typer.Argument(metavar="N", help="Higher goes first; 0 is usual.")],
    config: ConfigFile = None,
) -> None:
    """Put a case before or behind others.

    Example: scanside queue priority ABCDE-FGHIJ 10
    """
    with open_store(config or context.obj) as here:
        case = here.find(case_id)
        orders.prioritise(here.database, case.job, number, audit.person())
    print(f"{case.case_id} priority {number}")


@app.command()
def abandon(
    context: typer.Context,
    case_id: CaseId,
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="Its name in scanside.toml.")],
    yes: Annotated[bool, typer.Option("--yes", help="It is meant.")] = False,
    config: ConfigFile = None,
) -> None:
    """Give up sending a case's result to a destination. What has not arrived there will not.

    Example: scanside queue abandon ABCDE-FGHIJ PACS --yes
    """
    with open_store(config or context.obj) as here:
        case = here.find(case_id)
        if not yes:
            raise UsageError(
                f"What {destination} lacks of case {case.case_id} would never be sent there; "
                "add --yes if that is meant."
            )
        count = outbox.abandon(here.database, case.job, destination, audit.person())
        state = here.find(case.case_id).state
    print(f"{case.case_id} {state}; {count} objects given up")


@app.command()
def forget(
    context: typer.Context,
    case_id: CaseId,
    yes: Annotated[bool, typer.Option("--yes", help="It is meant.")] = False,
    config: ConfigFile = None,
) -> None:
    """Delete a case's images and results here, so that the study may be sent again otherwise.

    What destinations have got stays there; what they have not got is never sent. The audit log keeps what happened.

    Example: scanside queue forget ABCDE-FGHIJ --yes
    """
    with open_store(config or context.obj) as here:
        case = here.find(case_id)
        if not yes:
            raise UsageError(
                f"Images and results of case {case.case_id} would be deleted here; add --yes if that is meant."
            )
        retention.forget_now(here.database, case.case_id, audit.person())
        shutil.rmtree(
            here.config.results / case.case_id, ignore_errors=True
        )  # the receiver removes the images
    print(f"{case.case_id} forgotten")


@app.command()
def watch(
    context: typer.Context,
    config: ConfigFile = None,
    stages: Annotated[bool, typer.Option("--stages", help="Tell every stage of a computation.")] = False,
) -> None:
    """Tell every change in a line of its own, until Ctrl-C: for plain terminals and screen readers.

    Example: scanside queue watch
    """
    with open_store(config or context.obj) as here:
        tell_changes(here, stages=stages)


def tell_changes(here: OpenStore, *, stages: bool = False) -> None:
    """Print a line for every change of a store, until Ctrl-C."""
    print(RESEARCH, file=sys.stderr)
    try:
        for line in _changes(here, stages=stages):
            print(line, flush=True)
    except KeyboardInterrupt:
        return


def _changes(here: OpenStore, *, stages: bool) -> Iterator[str]:
    """Lines, first of the cases that have not ended, then of what changes; never ends."""

    said: dict[str, str] = {}
    since, first, paused = -1, True, False
    while True:
        now = time.time()
        clock = time.strftime("%H:%M:%S", time.localtime(now))
        if paused != orders.is_paused(here.database):
            paused = not paused
            yield f"{clock} queue {'paused' if paused else 'resumed'}"
        for case in reversed(worklist.cases(here.database, since=since)):
            since = max(since, case.tick)
            line = line_of(case, names=here.names, stages=stages)
            if said.get(case.case_id) != line and not (first and case.state in ENDED):
                yield f"{clock} {line}"
            said[case.case_id] = line
        first = False
        time.sleep(_LOOK_SECONDS)


def _act(config: Path | None, case_id: str, action: Action, reason: str | None = None) -> None:
    with open_store(config) as here:
        case = here.find(case_id)
        state = jobs.act(here.database, case.job, action, audit.person(), reason)
    print(f"{case.case_id} {state}")


def _series(pairs: list[str]) -> dict[str, str]:
    """NAME=UID, …"""
    from scanside.runtime.study.records import SEQUENCES

    found: dict[str, str] = {}
    for pair in pairs:
        name, _, uid = pair.partition("=")
        if name not in SEQUENCES or not uid.strip():
            raise UsageError(
                f"--series {pair} is not NAME=UID; NAME is one of {', '.join(SEQUENCES)}, UID that of a series."
            )
        if name in found:
            raise UsageError(f"--series names {name} twice; give one series for it.")
        found[name] = uid.strip()
    return found


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps({"schema": SCHEMA, "notice": RESEARCH, **content}, indent=1))
