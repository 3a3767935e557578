"""Reference pages of the documents that the program writes and reads, from their JSON schemas."""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from scanside.runtime.cli.schema import documents, record_of
from scanside.runtime.record import json_schema


def record_pages() -> dict[str, str]:
    """Path on the site → Markdown: an index, and a page per document."""
    names = documents()
    links = "\n".join(f"- [{name}](records/{name}.md): {_first(record_of(name))}" for name in names)
    index = (
        "# Records\n\nEvery document that a program may read is one typed record. `scanside schema NAME` prints "
        f"its JSON schema.\n\n{links}\n"
    )
    return {
        "reference/records.md": index,
        **{f"reference/records/{name}.md": record_page(name) for name in names},
    }


def record_page(name: str) -> str:
    """A document: each of its records as a table of fields."""
    schema = json_schema(record_of(name))
    parts = [f"# {name}", f"`scanside schema {name}` prints this as a JSON schema.", *_record("", schema)]
    for title, definition in schema.get("$defs", {}).items():
        if "properties" in definition:
            parts += _record(title, definition)
    return "\n\n".join(parts) + "\n"


def _first(record: type[BaseModel]) -> str:
    return (inspect.getdoc(record) or "").split("\n\n")[0].replace("\n", " ")


def _record(title: str, schema: Mapping[str, Any]) -> Iterator[str]:
    if title:
        yield f"## {title}"
    words, _, attributes = inspect.cleandoc(schema.get("description", "")).partition("Attributes:")
    if words.strip():
        yield _escaped(words.strip())
    told = dict(_told(attributes))
    if schema.get("properties"):
        rows = [
            f"| `{name}` | {_kind(field)} | {_escaped(field.get('description') or told.get(name, ''))} |"
            for name, field in schema["properties"].items()
        ]
        yield "\n".join(("| field | kind | what it says |", "|---|---|---|", *rows))


def _told(attributes: str) -> Iterator[tuple[str, str]]:
    """Field → what an `Attributes:` section says of it; one entry may tell of several."""
    for entry in re.split(r"\n(?=\S)", inspect.cleandoc(f"\n{attributes}")):
        names, _, words = entry.partition(": ")
        for name in names.split(","):
            yield name.strip(), words


def _kind(field: Mapping[str, Any]) -> str:
    """What a field may be, in a few words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in field:
            return " or ".join(dict.fromkeys(_kind(one) for one in field[several]))
    if field.get("type") == "array":
        items = field.get("items") or (field.get("prefixItems") or [{}])[0]
        return f"list of {_kind(items)}" if items else "list"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"name to {_kind(field['additionalProperties'])}"
    return str(field.get("type", "anything"))


def _escaped(text: str) -> str:
    """On one line, for a table; `<` outside code would begin a tag."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(part if at % 2 else part.replace("<", "&lt;") for at, part in enumerate(parts))
