"""On which line of a TOML document a key stands; `tomllib` does not say."""

import tomllib
from collections.abc import Mapping

Key = tuple[str | int, ...]
"""As `("destinations", 0, "port")`."""


def key_lines(text: str) -> Mapping[Key, int]:
    """Every key, table and array element of a document → its line, from 1.

    Args:
        text: A document that `tomllib` accepts; of any other the result says nothing.
    """
    return _Scanner(text).scan()


class _Scanner:
    """Walks over a valid document once, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Key, int] = {(): 1}
        self._counts: dict[Key, int] = {}  # of arrays of tables

    def scan(self) -> Mapping[Key, int]:
        table: Key = ()
        self._skip(" \t\r\n")
        while self._at < len(self._text):
            if self._here("["):
                table = self._header()
            else:
                self._assignment(table)
            self._skip(" \t\r\n")
        return self._lines

    def _header(self) -> Key:
        start, several = self._at, self._here("[[")
        self._at += 2 if several else 1
        parts = self._key()
        self._at += 2 if several else 1
        key: Key = ()
        for place, part in enumerate(parts):
            key = (*key, part)
            if several and place == len(parts) - 1:
                self._counts[key] = self._counts.get(key, 0) + 1
                self._found(key, start)
            if key in self._counts:
                key = (*key, self._counts[key] - 1)
            self._found(key, start)
        return key

    def _assignment(self, table: Key) -> None:
        start = self._at
        key: Key = table
        for part in self._key():
            key = (*key, part)
            self._found(key, start)
        self._at += 1  # the equals sign
        self._skip(" \t")
        self._value(key)

    def _value(self, key: Key) -> None:
        for quotes in ('"""', "'''", '"', "'"):
            if self._here(quotes):
                self._string(quotes)
                return
        if self._here("["):
            self._elements(key)
        elif self._here("{"):
            self._at += 1
            self._skip(" \t\r\n,")
            while not self._here("}"):
                self._assignment(key)
                self._skip(" \t\r\n,")
            self._at += 1
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\r\n":
                self._at += 1

    def _elements(self, key: Key) -> None:
        self._at += 1
        number = 0
        self._skip(" \t\r\n,")
        while not self._here("]"):
            self._found((*key, number), self._at)
            self._value((*key, number))
            number += 1
            self._skip(" \t\r\n,")
        self._at += 1

    def _string(self, quotes: str) -> None:
        self._at += len(quotes)
        while not self._here(quotes):
            self._at += 2 if quotes[0] == '"' and self._here("\\") else 1
        self._at += len(quotes)
        while len(quotes) == 3 and self._here(quotes[0]):  # up to two quotes may stand before the end
            self._at += 1

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._skip(" \t")
            start = self._at
            if self._here('"') or self._here("'"):
                self._string(self._text[start])
                parts.append(str(tomllib.loads(f"k = {self._text[start : self._at]}")["k"]))
            else:
                while self._text[self._at].isalnum() or self._text[self._at] in "-_":
                    self._at += 1
                parts.append(self._text[start : self._at])
            self._skip(" \t")
            if not self._here("."):
                return tuple(parts)
            self._at += 1

    def _skip(self, characters: str) -> None:
        """Skip these, and comments where line ends are among them."""
        while self._at < len(self._text):
            if self._text[self._at] in characters:
                self._at += 1
            elif self._here("#") and "\n" in characters:
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return

    def _here(self, what: str) -> bool:
        return self._text.startswith(what, self._at)

    def _found(self, key: Key, at: int) -> None:
        self._lines.setdefault(key, self._text.count("\n", 0, at) + 1)
