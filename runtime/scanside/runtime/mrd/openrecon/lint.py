"""What is wrong with a package for OpenRecon before it is on a scanner: schema, what sites have learned, consistency.

The rules are those of neurodesk/openrecon's own checks (MIT) and of its issues, as found on scanners.
"""

import base64
import binascii
import configparser
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from scanside.runtime.errors import InputError
from scanside.runtime.mrd.openrecon.label import DOCKER_LABEL, Choice, Label, Number, Whole
from scanside.runtime.mrd.openrecon.package import DOCKERFILE, LABEL_FILE


def lint(path: Path) -> list[str]:
    """Faults of a description, or of a folder with one and perhaps a Dockerfile and FIRE's files; none: it is fine.

    Raises:
        InputError: If there is no description, or it cannot be read.
    """
    file = path / LABEL_FILE if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file} is no description of OpenRecon ({error}); pass a package or its label."
        ) from error
    try:
        label = Label.model_validate(document)
    except ValidationError as error:
        return [_sentence(file.name, one["loc"], one["msg"]) for one in error.errors()]
    faults = list(_rules(label))
    if path.is_dir():
        faults += _dockerfile(path / DOCKERFILE, label)
        faults += _fire(path, label)
    return faults


def _sentence(file: str, where: tuple[int | str, ...], what: str) -> str:
    return f"{file}: {'.'.join(str(part) for part in where) or 'the whole'}: {what}."


def _rules(label: Label) -> Iterator[str]:
    ids = [one.id for one in label.parameters]
    for twice in sorted({one for one in ids if ids.count(one) > 1}):
        yield f"Two parameters are called {twice}."
    configs = [one for one in label.parameters if one.id == "config"]
    if len(configs) != 1 or not isinstance(configs[0], Choice):
        yield "There must be one parameter called config, and it must be a choice."
    for one in label.parameters:
        if isinstance(one, Choice):
            values = [value.id for value in one.values]
            if one.default not in values or not one.default:
                yield f"The default of {one.id} is '{one.default}', which is not among its values."
            if len(set(values)) < len(values) or "" in values:
                yield f"Two values of {one.id} are the same, or one is empty."
        if isinstance(one, Whole | Number) and not one.minimum <= one.default <= one.maximum:
            yield f"The default of {one.id} is {one.default:g}, which is not from {one.minimum:g} to {one.maximum:g}."
    if label.reconstruction.content_qualification_type != "RESEARCH":
        yield "content_qualification_type is not RESEARCH, but nothing of this was qualified."


def _dockerfile(path: Path, label: Label) -> Iterator[str]:
    try:
        text = path.read_text()
    except OSError as error:
        yield f"{path.name} cannot be read ({error.strerror})."
        return
    found = re.search(rf'LABEL "{re.escape(DOCKER_LABEL)}"="([^"]*)"', text)
    try:
        encoded = json.loads(base64.b64decode(found[1], validate=True)) if found else None
    except (binascii.Error, ValueError):
        encoded = None
    if encoded is None:
        yield f"{path.name} has no label {DOCKER_LABEL} with the description in base64."
    elif encoded != json.loads(label.text()):
        yield f"The label in {path.name} is not {LABEL_FILE}; write the package again."
    users = re.findall(r"^USER\s+(\S+)", text, re.MULTILINE)
    if users and users[-1] not in ("root", "0", "0:0"):
        yield f"{path.name} runs as {users[-1]}; OpenRecon needs root."
    if "linux/amd64" not in text:
        yield f"{path.name} does not say linux/amd64, which is what a scanner runs."
    command = re.search(r"^CMD\s+(\[.*\])", text, re.MULTILINE)
    if command is None or str(label.reconstruction.port) not in json.loads(command[1]):
        yield f"The CMD of {path.name} does not start a server on port {label.reconstruction.port}."


def _fire(folder: Path, label: Label) -> Iterator[str]:
    for path in sorted((folder / "fire").glob("*.ini")):
        ini = configparser.ConfigParser(interpolation=None)
        ini.read(path)
        port = ini.get("OpenRecon", "port", fallback="")
        if port != str(label.reconstruction.port):
            yield f"{path.name} says port '{port}', and {LABEL_FILE} {label.reconstruction.port}."
        if not any(path.name in one.read_text() for one in folder.glob("*.xml")):
            yield f"No workflow refers to {path.name}."
