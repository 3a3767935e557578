"""The attributes of an MRD image: XML with a name and one or more values each (`ismrmrdMeta`)."""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from scanside.runtime.mrd.wire import StreamError

Meta = dict[str, tuple[str, ...]]


def read_meta(attributes: bytes) -> Meta:
    """Name → values, in order; empty for no attributes.

    Raises:
        StreamError: If it is not such XML. Document types are refused, since entities could grow without bound.
    """
    text = attributes.split(b"\0", 1)[0].strip()
    if not text:
        return {}
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise StreamError(
            "An image's attributes hold a document type, which MRD does not use; send plain attributes."
        )
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise StreamError(f"An image's attributes are not XML ({error}); send it again.") from error
    found: Meta = {}
    for entry in root.iter("meta"):
        name = entry.findtext("name")
        if name:
            found[name] = tuple(value.text or "" for value in entry.findall("value"))
    return found


def write_meta(meta: Mapping[str, Sequence[str]]) -> bytes:
    """The XML of attributes, UTF-8."""
    root = ElementTree.Element("ismrmrdMeta")
    for name, values in meta.items():
        entry = ElementTree.SubElement(root, "meta")
        ElementTree.SubElement(entry, "name").text = name
        for value in values:
            ElementTree.SubElement(entry, "value").text = value
    return b'<?xml version="1.0"?>\n' + ElementTree.tostring(root)


def numbers(meta: Meta, name: str, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers; None where they are not there."""
    try:
        values = tuple(float(value) for value in meta.get(name, ()))
    except ValueError:
        return None
    return values if len(values) == count and all(abs(value) < 1e30 for value in values) else None
