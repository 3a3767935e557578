"""`scanside audit`: verify, show and export the hash-chained audit log."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanside.runtime.cli.arguments import AsJson, ConfigFile, find_config
from scanside.runtime.cli.group import Group
from scanside.runtime.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    from scanside.runtime.appliance.store.database import Database
    from scanside.runtime.appliance.store.records import Entry

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True,
    cls=Group, help="Verify, show and export the audit log."
)  # fmt: skip

Store = Annotated[
    Path | None,
    typer.Option("--store", metavar="PATH", help="The store, or its folder, instead of a configuration."),
]


@app.command()
def verify(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="An exported log; default: the store's.")
    ] = None,
    config: ConfigFile = None,
    store: Store = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER:HASH", help="An entry as it stood in the service's log ('audit anchor')."
        ),
    ] = None,
) -> None:
    """Recompute the chain of hashes; exit code 5 when an entry was changed or removed.

    The chain alone does not show that its last entries were cut off; an anchor kept elsewhere does. Prints the newest
    entry's anchor.

    Example: scanside audit verify -c scanside.toml --anchor 4711:9f86d0…
    """
    from scanside.runtime.appliance.store import audit

    kept = None if anchor is None else _anchor(anchor)
    if file is not None:
        count, newest = audit.verify_entries(_read(file), kept)
    else:
        with _open(config, store) as database:
            count, newest = audit.verify_entries(audit.entries(database), kept)
    print(f"{count}:{newest}")
    print(
        f"{count} entries, unbroken{'' if kept is None else ', and the anchor is among them'}.",
        file=sys.stderr,
    )


@app.command()
def show(
    config: ConfigFile = None,
    store: Store = None,
    case: Annotated[str | None, typer.Option(metavar="ID", help="Entries of one case.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Entries since 2026-10-31, 2026-10-31T12:00 (UTC), 7d or 12h ago."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what was done, by whom, when. Holds no patient data.

    Example: scanside audit show --case ABCDE-FGHIJ
    """
    from scanside.runtime.appliance.store import audit

    begin = 0.0 if since is None else _moment(since)
    with _open(config, store) as database:
        found = (entry for entry in audit.entries(database, case_id=case) if entry.at >= begin)
        if as_json:
            document = {"schema": "scanside.audit/1", "entries": [_document(entry) for entry in found]}
            print(json.dumps(document, indent=1, ensure_ascii=False))
            return
        for entry in found:
            print(_line(entry))


@app.command()
def export(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="File to write, JSON lines.")],
    config: ConfigFile = None,
    store: Store = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")] = False,
) -> None:
    """Write the whole log to a file that `scanside audit verify FILE` can check without the store.

    Example: scanside audit export -o audit-2026-10.jsonl
    """
    from scanside.runtime.appliance.store import audit

    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists already; add --overwrite or choose another -o.")
    temporary = out.with_name(f".{out.name}.part")
    with _open(config, store) as database:
        try:
            with temporary.open("w", encoding="utf-8") as file:
                for entry in audit.entries(database):
                    file.write(json.dumps(asdict(entry), ensure_ascii=False) + "\n")
            temporary.replace(out)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OutputError(f"{out} cannot be written ({error.strerror}); check the folder.") from error
    count, newest = audit.verify_entries(_read(out))
    print(f"{count}:{newest}")
    print(f"{count} entries written to {out}.", file=sys.stderr)


def _open(config: Path | None, store: Path | None) -> "Database":
    from scanside.runtime.appliance.store.database import Database

    if store is not None:
        return Database(store / "scanside.db" if store.is_dir() else store)
    from scanside.runtime.appliance.config import load_config

    return Database(load_config(find_config(config)).database)


def _read(path: Path) -> Iterator["Entry"]:
    from scanside.runtime.appliance.store.records import Entry

    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield Entry(**json.loads(line))
                except (ValueError, TypeError) as error:
                    raise InputError(
                        f"Line {number} of {path} is not an entry of an audit log: it was damaged."
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise InputError(f"{path} cannot be read ({why}); give a file of `scanside audit export`.") from error


def _anchor(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text.strip().lower())
    if match is None:
        raise UsageError(f"'{text}' is not an anchor; it is NUMBER:HASH, as in the log of the service.")
    return int(match[1]), match[2]


def _moment(text: str) -> float:
    ago = re.fullmatch(r"(\d{1,6})([dh])", text)
    if ago:
        step = timedelta(days=int(ago[1])) if ago[2] == "d" else timedelta(hours=int(ago[1]))
        return (datetime.now(UTC) - step).timestamp()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"'{text}' is not a time; write 2026-10-31, 2026-10-31T12:00, 7d or 12h.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _document(entry: "Entry") -> dict[str, object]:
    return {**asdict(entry), "at": _time(entry.at), "detail": json.loads(entry.detail)}


def _line(entry: "Entry") -> str:
    detail = ", ".join(
        f"{key} {value}" for key, value in json.loads(entry.detail).items() if value is not None
    )
    job = "" if entry.job is None else f"job {entry.job}"
    columns = (
        f"{entry.number:>7}", _time(entry.at), f"{entry.case_id or '':11}", f"{job:8}", f"{entry.actor:12}",
        f"{entry.action:20}", detail,
    )  # fmt: skip
    return "  ".join(columns).rstrip()


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
