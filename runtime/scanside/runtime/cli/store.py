"""`scanside store backup|restore|verify`: the appliance's store with images and results."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.cli.arguments import ConfigFile, find_config
from scanside.runtime.cli.group import Group
from scanside.runtime.errors import InputError

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True,
    cls=Group, help="Back up, restore and verify the appliance's store, with its images and results."
)  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
_SHOWN = 5


@app.command()
def backup(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="New folder; patient data.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Copy the store, its images and results as they are at one instant; the service may run.

    Exit code 1 when a file that the store speaks of is not there: the backup is made without it.

    Example: scanside store backup -c scanside.toml -o /backup/scanside-2026-11-28
    """
    from scanside.runtime.appliance.config import load_config
    from scanside.runtime.appliance.store import backup as backups

    made = backups.make(load_config(find_config(config)).service.data, out)
    _tell(out, made.created, len(made.files), made.number, made.lacking, as_json)
    return 1 if made.lacking else 0


@app.command()
def verify(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="A backup; default: the appliance's own data.")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Prove a backup, or the appliance's own data: every hash, the tables, the chain of the audit log.

    Exit code 5 when something is altered, missing, or was rolled back.

    Example: scanside store verify /backup/scanside-2026-11-28
    """
    from scanside.runtime.appliance.config import load_config
    from scanside.runtime.appliance.store import backup as backups
    from scanside.runtime.appliance.store import restore as restores

    if folder is not None:
        made = backups.verify(folder)
        _tell(folder, made.created, len(made.files), made.number, made.lacking, as_json)
        return 0
    loaded = load_config(find_config(config))
    count, wrong = restores.verify_live(loaded.service.data, loaded.anchor)
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise InputError(
            f"{len(wrong)} of {count} images are missing or not as they were received "
            f"({', '.join(wrong[:_SHOWN])}{more}); restore a backup, or send these studies again."
        )
    if as_json:
        print(json.dumps({"schema": "scanside.store-verify/1", "status": "ok", "images": count}))
    else:
        print(f"{loaded.service.data}: store, audit log and {count} images are whole.", file=sys.stderr)
    return 0


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A backup of `scanside store backup`.")],
    config: ConfigFile = None,
    older: Annotated[
        bool, typer.Option("--older", help="Forget what was received and sent since the backup was made.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prove a backup and bring it back; the service must not run. What was there is kept in a folder aside.

    Example: scanside store restore /backup/scanside-2026-11-28 -c scanside.toml
    """
    from scanside.runtime.appliance.config import load_config
    from scanside.runtime.appliance.process import only_one
    from scanside.runtime.appliance.serve import make_folders
    from scanside.runtime.appliance.store import audit
    from scanside.runtime.appliance.store import restore as restores

    loaded = load_config(find_config(config))
    make_folders(loaded)
    with only_one(loaded, "serve", seconds=0):
        made, aside = restores.restore(
            folder, loaded.service.data, loaded.anchor, audit.person(), older=older
        )
    _tell(loaded.service.data, made.created, len(made.files), made.number, made.lacking, as_json)
    if aside is not None:
        print(f"What was there before is in {aside}; delete it when it is not needed.", file=sys.stderr)


def _tell(
    folder: Path, created: str, files: int, number: int, lacking: tuple[str, ...], as_json: bool
) -> None:
    if as_json:
        facts = {"folder": str(folder), "created": created, "files": files, "audit_entries": number}
        print(json.dumps({"schema": "scanside.store/1", **facts, "lacking": list(lacking)}))
        return
    print(f"{folder}: {files} files, audit log to entry {number}, as of {created}.", file=sys.stderr)
    for path in lacking[:_SHOWN]:
        print(f"{path} was not there, or not as it was received.", file=sys.stderr)
