"""Tables from elsewhere: .csv and .xlsx → rows of text. No spreadsheet library is needed for that."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from scanside.runtime.errors import InputError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_SHEET = "xl/worksheets/sheet1.xml"
_STRINGS = "xl/sharedStrings.xml"
_LARGEST = 1 << 29
"""Bytes of an unpacked sheet; more is refused before it fills the memory."""


def read_rows(path: Path) -> list[list[str]]:
    """All rows of a table, made equally long; an empty cell is ''.

    Raises:
        InputError: If the file is neither .csv nor .xlsx, or is damaged.
    """
    if path.suffix.lower() not in (".csv", ".xlsx"):
        raise InputError(f"{path} is not a table; give a .csv or .xlsx file.")
    try:
        rows = list(_xlsx(path) if path.suffix.lower() == ".xlsx" else _csv(path))
    except (
        OSError,
        UnicodeDecodeError,
        csv.Error,
        zipfile.BadZipFile,
        ElementTree.ParseError,
        KeyError,
        ValueError,
        IndexError,
    ) as error:
        raise InputError(f"{path} cannot be read as a table ({error}); export it again.") from error
    width = max((len(row) for row in rows), default=0)
    if not width:
        raise InputError(f"{path} is empty; export it again.")
    return [row + [""] * (width - len(row)) for row in rows]


def _csv(path: Path) -> Iterator[list[str]]:
    for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")):
        if row:
            yield [cell.strip() for cell in row]


def _xlsx(path: Path) -> Iterator[list[str]]:
    """The first sheet (Office Open XML, ECMA-376 part 1, 18.3)."""
    with zipfile.ZipFile(path) as archive:
        strings = _shared_strings(archive)
        with _member(archive, _SHEET) as stream:
            for _, row in ElementTree.iterparse(stream):
                if row.tag == f"{_MAIN}row":
                    yield _cells(row, strings)
                    row.clear()


def _cells(row: ElementTree.Element, strings: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.iter(f"{_MAIN}c"):
        column = _column(cell.get("r", ""), len(cells))
        cells += [""] * (column - len(cells))
        value = cell.find(f"{_MAIN}v")
        text = "" if value is None or value.text is None else value.text
        if cell.get("t") == "s" and text:
            text = strings[int(text)]
        elif cell.get("t") == "inlineStr":
            text = "".join(part.text or "" for part in cell.iter(f"{_MAIN}t"))
        cells.append(text.strip())
    return cells


def _column(reference: str, following: int) -> int:
    """0 for A, 26 for AA; cells may leave their reference out."""
    letters = re.match(r"[A-Z]{1,3}", reference)
    if letters is None:
        return following
    number = 0
    for letter in letters.group():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _shared_strings(archive: zipfile.ZipFile) -> list[str]:
    if _STRINGS not in archive.namelist():
        return []
    with _member(archive, _STRINGS) as stream:
        root = ElementTree.parse(stream).getroot()
    return ["".join(text.text or "" for text in item.iter(f"{_MAIN}t")) for item in root.iter(f"{_MAIN}si")]


def _member(archive: zipfile.ZipFile, name: str) -> io.BytesIO:
    if archive.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} unpacks to more than {_LARGEST >> 20} MiB")
    data = archive.read(name)
    if b"<!DOCTYPE" in data[:1024]:
        raise ValueError(f"{name} declares entities")
    return io.BytesIO(data)
