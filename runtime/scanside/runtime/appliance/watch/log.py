"""The log: one JSON object a line on stderr, without patient data.

Fields: `time` (ISO 8601, UTC), `level`, `process`, `logger`, `message`, and where there are any `case`, `job`, `error`.
Code passes the pseudonymous case id and the job with `extra={"case": …, "job": …}`.

What could hold patient data is left out, whoever logs: of exceptions that are not ours only type and place remain, of
other libraries' records only the place (pydicom quotes values in its warnings), and whatever looks like a DICOM UID
is replaced.
"""

import json
import logging
import re
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from scanside.runtime.errors import ScansideError

OURS = "scanside"
_UID = re.compile(r"(?<![\d.])(?:\d+(?:\.\d+){3,}|2\.25\.\d{6,})(?![\d])")
_REMOVED = "[uid]"


def start_log(level: str, process: str) -> None:
    """Send the log of this process to stderr as JSON lines, uncaught exceptions and warnings included.

    Args:
        level: Of our own records; of other libraries at least WARNING.
        process: Name to put on every line.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(process))
    handler.addFilter(_quiet_libraries)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("pydicom", "pynetdicom", "highdicom"):  # they bring handlers of their own
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).propagate = True
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    sys.excepthook = _uncaught
    threading.excepthook = lambda found: (
        None if found.exc_value is None else _uncaught(found.exc_type, found.exc_value, found.exc_traceback)
    )


def redact(text: str) -> str:
    """Replace what looks like a DICOM UID; IPv4 addresses stay."""
    return _UID.sub(lambda found: found[0] if _is_address(found[0]) else _REMOVED, text)


class _Json(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": _message(record),
        }
        for name in ("case", "job"):
            value = getattr(record, name, None)
            if value is not None:
                line[name] = value if isinstance(value, int) else redact(str(value))
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _error(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def _message(record: logging.LogRecord) -> str:
    if not _is_ours(record):
        return f"message withheld ({record.module}:{record.lineno})"
    arguments = record.args if isinstance(record.args, tuple) else ()
    if any(isinstance(found, BaseException) and not isinstance(found, ScansideError) for found in arguments):
        record = logging.makeLogRecord(
            {**record.__dict__, "args": tuple(_argument(found) for found in arguments)}
        )
    return redact(record.getMessage())


def _argument(found: object) -> object:
    foreign = isinstance(found, BaseException) and not isinstance(found, ScansideError)
    return type(found).__name__ if foreign else found


def _error(error: BaseException) -> dict[str, str]:
    """Type and place of an exception, the outermost cause included; the message of our own alone."""
    frames = traceback.extract_tb(error.__traceback__)
    found = {"type": type(error).__name__}
    if frames:
        found["at"] = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}"
        ours = [frame for frame in frames if f"/{OURS}/" in frame.filename]
        if ours and ours[-1] is not frames[-1]:
            found["from"] = f"{ours[-1].filename.rpartition('/')[2]}:{ours[-1].lineno}"
    if isinstance(error, ScansideError):
        found["message"] = redact(str(error))
    if error.__cause__ is not None:
        found["cause"] = type(error.__cause__).__name__
    return found


def _quiet_libraries(record: logging.LogRecord) -> bool:
    return _is_ours(record) or record.levelno >= logging.WARNING


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == OURS or record.name.startswith(f"{OURS}.")


def _is_address(text: str) -> bool:
    """Whether four numbers are an IPv4 address; as a UID they would be a root, which names nobody."""
    parts = text.split(".")
    return len(parts) == 4 and all(len(part) <= 3 and int(part) <= 255 for part in parts)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(OURS).critical("stopped by an unforeseen error", exc_info=(kind, error, trace))
