"""`scanside keys new|show`: the key with which somebody signs bundles and acceptance reports."""

import json
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.cli.group import Group
from scanside.runtime.errors import OutputError, UsageError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.signing import SigningKey, key_id

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    cls=Group,
    help="Make and show keys that sign bundles and acceptance reports.",
)
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="File whose first line is the private key's password."
    ),
]


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the two files: NAME.key and NAME.pub.")],
    folder: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where to write them; it must exist.")
    ] = Path(),
    password_file: PasswordFile = None,
) -> None:
    """Make a key: NAME.key signs and stays with its owner, NAME.pub goes to those who verify.

    Prints the line for [trust] of scanside.toml.

    Example: scanside keys new physics -o /media/safe
    """
    if not name.strip() or "/" in name or name.startswith("."):
        raise UsageError(f"'{name}' cannot be the name of a file; choose a word.")
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    if public.exists():
        raise OutputError(f"{public} exists already; choose another name.")
    key = SigningKey.new()
    key.write(secret, password_of(password_file))
    with atomic_write(public) as temporary:
        temporary.write_text(f"{key.public}\n")
    _show(name, key.public)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="NAME.pub, or NAME.key.")],
    password_file: PasswordFile = None,
) -> None:
    """Show a key's public part and id, as a line for [trust] of scanside.toml.

    Example: scanside keys show physics.pub
    """
    if file.suffix == ".key":
        _show(file.stem, SigningKey.read(file, password_of(password_file)).public)
        return
    try:
        public = file.read_text(encoding="ascii").strip()
        key_id(public)
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); check its path.") from error
    except ValueError as error:
        raise UsageError(f"{file} holds no public key; give NAME.pub of `scanside keys new`.") from error
    _show(file.stem, public)


def password_of(file: Path | None) -> bytes | None:
    """The first line of a file of a password.

    Raises:
        UsageError: If it cannot be read, or is empty.
    """
    if file is None:
        return None
    try:
        word = file.read_bytes().splitlines()[:1]
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); check its path.") from error
    if not word or not word[0]:
        raise UsageError(f"{file} holds no password; write one on its first line.")
    return word[0]


def _show(name: str, public: str) -> None:
    print(f"{{ name = {json.dumps(name)}, key = {json.dumps(public)} }}  # id {key_id(public)}")
