"""Libraries print where they like, C code past `sys.stdout`: here it is kept off the channel of our data."""

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Said:
    """What was printed.

    Attributes:
        text: Set when the block ends; without colours.
    """

    text: str = ""


@contextlib.contextmanager
def captured() -> Iterator[Said]:
    """Inside the block everything that is printed, by Python or C, on stdout or stderr, is kept instead.

    The whole process is concerned, all threads: for a library's loading, not for work.
    """
    import tempfile

    said = Said()
    with tempfile.TemporaryFile() as file:
        _flush()
        kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
        writer = open(os.dup(file.fileno()), "w", buffering=1, errors="replace")  # noqa: PTH123, SIM115
        try:
            for descriptor in kept:
                os.dup2(file.fileno(), descriptor)
            with contextlib.redirect_stdout(writer), contextlib.redirect_stderr(writer):
                yield said
        finally:
            writer.close()
            _flush()
            for descriptor, copy in kept.items():
                os.dup2(copy, descriptor)
                os.close(copy)
            file.seek(0)
            said.text = _COLOUR.sub("", file.read().decode(errors="replace"))


def ours_alone() -> None:
    """From here on to the end of the process only our own `print` reaches stdout: what C code writes goes to stderr."""
    _flush()
    try:
        ours = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        return
    encoding = getattr(sys.stdout, "encoding", None)
    sys.stdout = open(ours, "w", encoding=encoding)  # noqa: PTH123, SIM115


def _flush() -> None:
    """What Python and C still hold back for the present stdout and stderr."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).fflush(None)
