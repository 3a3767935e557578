"""What a connection can do to an answer."""

import itertools
import re
from typing import Any

GOLDEN = 2


def truncated(answer: bytes) -> bytes:
    return answer[:-10]


def oversized(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: 99999999999", b"", body])


def swapped(old: bytes, new: bytes) -> Any:
    """Replaces the first `old` of an answer, whose length must not change."""

    def spoil(answer: bytes) -> bytes:
        found = re.search(old, answer)
        assert found is not None and len(found[0]) == len(new)
        return answer.replace(found[0], new, 1)

    return spoil


def flipped(answer: bytes) -> bytes:
    place = answer.index(b"\r\n\r\n") + 4
    length = next(line for line in answer.split(b"\r\n") if line.lower().startswith(b"inference-header"))
    labels = place + int(length.split(b":")[1]) + 40
    return answer[:labels] + bytes([answer[labels] ^ 1]) + answer[labels + 1 :]


def case_and_repetition(spoil: Any) -> Any:
    """Spoils the case and, after the golden cases have passed, the same case again."""
    count = itertools.count()
    return lambda answer: spoil(answer) if next(count) in (0, GOLDEN + 1) else answer
