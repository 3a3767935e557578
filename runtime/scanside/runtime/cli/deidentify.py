"""`scanside deidentify`: a study, or a case of the appliance → its research copy."""

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanside.runtime.cli.arguments import AsJson, ConfigFile, find_config
from scanside.runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from scanside.runtime.dicom.deidentify import Secret
    from scanside.runtime.dicom.research_copy import ResearchCopy

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def deidentify(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Folder for the copy; made.")],
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY]", help="Folder of one study, or a DICOM file.")
    ] = None,
    case: Annotated[
        str | None, typer.Option(metavar="ID", help="A case of the appliance instead of a folder.")
    ] = None,
    config: ConfigFile = None,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Secret key (16 bytes or more): the same key makes the same pseudonyms, UIDs and dates.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a research copy: PS3.15 Basic Profile, cleaned descriptors, dates moved, b-values in their standard tag.

    MR images alone are copied; pixels are not looked at. Without --key a new one is used and forgotten (--case: the
    appliance's own, and the audit log tells of the copy).

    Examples:

      scanside deidentify study_folder -o copy --key research.key

      scanside deidentify --case ABCDE-FGHIJ -c scanside.toml -o copy
    """
    from scanside.runtime.dicom.deidentify import Secret

    if (study is None) == (case is None):
        raise UsageError("It is not said what to copy; give either a STUDY or --case.")
    given = None if key is None else _read_key(key)
    if case is not None:
        made = _copy_case(case, config, out, given)
    else:
        assert study is not None
        if not study.exists():
            raise InputError(f"There is no file or folder {study}; check the path.")
        from scanside.runtime.dicom.research_copy import copy_study

        made = copy_study(study, out, given or Secret(secrets.token_bytes(32)))
        if given is None:
            print(
                "A new key was used and forgotten; give --key for copies that belong together.",
                file=sys.stderr,
            )
    _tell(made, out, as_json)


def _read_key(path: Path) -> "Secret":
    from scanside.runtime.dicom.deidentify import Secret

    try:
        return Secret(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"The key {path} cannot be read ({error.strerror}); make one with: head -c 32 /dev/urandom > {path}."
        ) from error


def _copy_case(case: str, config: Path | None, out: Path, given: "Secret | None") -> "ResearchCopy":
    """From the spool, under the case id, told to the audit log."""
    from scanside.runtime.appliance.config import load_config
    from scanside.runtime.appliance.store import audit, worklist
    from scanside.runtime.appliance.store.database import Database
    from scanside.runtime.dicom.deidentify import Secret
    from scanside.runtime.dicom.research_copy import copy_study

    loaded = load_config(find_config(config))
    with Database(loaded.database) as database:
        found = worklist.case(database, case)
        if found is None:
            raise InputError(f"There is no case {case}; look at `scanside queue`.")
        if found.deleted is not None or not worklist.instances_of(database, found.study_uid):
            raise InputError(f"The images of case {case} have been deleted after retention; send them again.")
        secret = given or Secret(bytes.fromhex(database.meta("site_key") or ""))

        def told(count: int) -> None:
            detail = {"files": count, "key": "site" if given is None else "given"}
            audit.record(database, audit.person(), "research copy", case_id=case, detail=detail)

        return copy_study(loaded.spool / case, out, secret, case, told)


def _tell(made: "ResearchCopy", out: Path, as_json: bool) -> None:
    for warning in made.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    left = "".join(f"; {number} left out ({reason})" for reason, number in made.left_out.items())
    print(f"{len(made.written)} images copied to {out}{left}. Pixels were not examined.", file=sys.stderr)
    if as_json:
        document = {
            "schema": "scanside.deidentify/1",
            "written": [str(path) for path in made.written],
            "left_out": dict(made.left_out),
            "warnings": list(made.warnings),
        }
        print(json.dumps(document, indent=1))
    else:
        print(out)
