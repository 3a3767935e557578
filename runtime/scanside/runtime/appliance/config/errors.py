"""What is wrong with a configuration, in sentences with file, line and key."""

import difflib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from scanside.runtime.appliance.config.toml_lines import Key, key_lines

_SHOWN = 40
"""Characters of a wrong value that a message repeats."""


def sentences(
    error: ValidationError, model: type[BaseModel], document: Mapping[str, Any], text: str, path: Path
) -> tuple[str, ...]:
    """Every fault of a document, one sentence each, from the first line to the last.

    Args:
        error: What pydantic says.
        model: What the document ought to be.
        document: As parsed.
        text: As written.
        path: What to call it.
    """
    lines = key_lines(text)
    found = []
    for fault in error.errors(include_url=False):
        key = _written(fault["loc"], document)
        line = _line(key, lines)
        found.append((line, f"{path}, line {line}: {_dotted(key)}: {_why(fault, key, model)}."))
    return tuple(sentence for _, sentence in sorted(found, key=lambda one: one[0]))


def _why(fault: Mapping[str, Any], key: Key, model: type[BaseModel]) -> str:
    kind, message = str(fault["type"]), str(fault["msg"])
    if kind == "extra_forbidden":
        return _unknown(key, model)
    if kind == "missing":
        return "this key is required and not there; add it"
    for prefix in ("Value error, ", "Input should be "):
        if message.startswith(prefix):
            message = message.removeprefix(prefix)
            break
    else:
        return message[:1].lower() + message[1:].rstrip(".")
    if prefix.startswith("Value"):
        return message.rstrip(".")
    return f"it must be {message.rstrip('.')}, but is {_shown(fault.get('input'))}"


def _unknown(key: Key, model: type[BaseModel]) -> str:
    known = sorted({name for record in _records_at(model, key[:-1]) for name in record.model_fields})
    near = difflib.get_close_matches(str(key[-1]).replace("-", "_").lower(), known, n=1, cutoff=0.5)
    if near:
        return f"there is no such key; perhaps '{near[0]}' is meant"
    return f"there is no such key; there are {', '.join(known)}"


def _records_at(model: type[BaseModel], key: Key) -> Iterator[type[BaseModel]]:
    """The records that may stand at a key; several where a union allows them."""
    if not key:
        yield model
        return
    for record in _records_at(model, key[:-1]):
        if isinstance(key[-1], int):
            yield record  # the element of an array: `_records_in` has looked inside already
        elif key[-1] in record.model_fields:
            yield from _records_in(record.model_fields[key[-1]].annotation)


def _records_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from _records_in(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType, tuple):
        for part in get_args(annotation):
            yield from _records_in(part)


def _written(location: tuple[int | str, ...], document: Mapping[str, Any]) -> Key:
    """pydantic's location without the names of union members, which nobody wrote."""
    key: list[str | int] = []
    value: Any = document
    for place, part in enumerate(location):
        last = place == len(location) - 1
        if part in value if isinstance(value, Mapping) else isinstance(value, list):
            key.append(part)
            value = value[part]
        elif last and isinstance(value, Mapping) and not _is_tag(part, value):
            key.append(part)  # what is missing
    return tuple(key)


def _is_tag(part: int | str, value: Mapping[str, Any]) -> bool:
    return part == value.get("kind", "dicom")


def _line(key: Key, lines: Mapping[Key, int]) -> int:
    while key not in lines:
        key = key[:-1]
    return lines[key]


def _dotted(key: Key) -> str:
    """As a person writes it; elements of arrays counted from 1."""
    words = ""
    for part in key:
        words += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if words else part
    return words or "the file"


def _shown(value: object) -> str:
    words = (
        repr(value)
        if isinstance(value, str)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"
