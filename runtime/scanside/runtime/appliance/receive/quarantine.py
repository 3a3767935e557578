"""What could not be understood is kept for a while, so that somebody can find out why."""

import json
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

MOST_BYTES = 1 << 30
MOST_FILES = 1000


class Quarantine:
    """A folder of refused instances, `received/<time>-<hash>.dcm`, each with a `.reason`; the oldest make room."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES) -> None:
        self.folder = folder / "received"
        self._most_bytes, self._most_files = most_bytes, most_files
        self._lock = threading.Lock()

    def keep(self, part: Path, digest: str, reason: str, calling: str) -> bool:
        """Move a file there; it is removed if that is not possible. Returns whether it was kept."""
        try:
            size = part.stat().st_size
            if size > self._most_bytes:
                return False
            with self._lock:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._make_room(size)
                target = self.folder / f"{time.time_ns():020d}-{digest[:12]}.dcm"
                part.replace(target)
                self._explain(target.with_suffix(".reason"), reason, calling)
        except OSError:
            return False
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return True

    def _explain(self, path: Path, reason: str, calling: str) -> None:
        text = json.dumps({"reason": reason, "calling": calling, "time": time.time()})
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text + "\n")

    def _make_room(self, size: int) -> None:
        files = sorted(self.folder.glob("*.dcm"))
        sizes = [path.stat().st_size for path in files]
        total = sum(sizes) + size
        count = len(files) + 1
        for path, one in zip(files, sizes, strict=True):
            if total <= self._most_bytes and count <= self._most_files:
                return
            path.unlink(missing_ok=True)
            path.with_suffix(".reason").unlink(missing_ok=True)
            total, count = total - one, count - 1
