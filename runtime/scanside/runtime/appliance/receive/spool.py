"""Received instances on disk: written aside, synced, moved into place, synced again; never half there.

    spool/incoming/<n>.part                                  while an instance comes in
    spool/<case>/<series hash>/<instance hash>.dcm           when it is complete

Names are hashes, since UIDs come from the network. Files that the store knows nothing of are removed by `sweep`: what a
crash left between file and store (it was not acknowledged), and what retention has forgotten. Nobody else deletes here.
"""

import hashlib
import itertools
import os
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import sync_folder

INCOMING = "incoming"
_ORPHAN_SECONDS = 60.0
_LOCKS = 64


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    Attributes:
        removed: Number of files without a row in the store.
        missing: Paths in the store without a file.
    """

    removed: int
    missing: tuple[str, ...]


def short_hash(uid: str) -> str:
    """A file name for a UID."""
    return hashlib.sha256(uid.encode()).hexdigest()[:20]


class Spool:
    """The folder of received instances. One process writes to it."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, and clear what an earlier process has left unfinished.

        Raises:
            OutputError: If that is not possible.
        """
        self.folder = folder
        self._incoming = folder / INCOMING
        self._numbers = itertools.count(1)
        self._tree = threading.Lock()  # an empty folder is not removed while something is moved into it
        self._locks = tuple(threading.Lock() for _ in range(_LOCKS))
        try:
            self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            for part in self._incoming.iterdir():
                part.unlink()
            sync_folder(folder)
        except OSError as error:
            raise OutputError(
                f"The spool {folder} cannot be written ({error.strerror}); check service.data."
            ) from error

    def new_part(self) -> Path:
        """A path for an instance that is coming in."""
        return self._incoming / f"{next(self._numbers)}.part"

    def path_of(self, case_id: str, series_uid: str, sop_uid: str) -> str:
        """Where an instance belongs, relative to the spool."""
        return f"{case_id}/{short_hash(series_uid)}/{short_hash(sop_uid)}.dcm"

    def lock(self, relative: str) -> threading.Lock:
        """What to hold from looking an instance up until it is in its place and in the store; one for all places."""
        return self._locks[zlib.crc32(relative.rsplit("/", 1)[-1].encode()) % _LOCKS]

    def place(self, part: Path, relative: str) -> None:
        """Move a synced file into its place, so that it stays there through a power cut.

        Raises:
            OSError: If it cannot be; `part` is where it was.
        """
        target = self.folder / relative
        with self._tree:
            self._make_folders(target.parent)
            part.replace(target)
        sync_folder(target.parent)

    def _make_folders(self, folder: Path) -> None:
        for one in (folder.parent, folder):
            with suppress(FileExistsError):
                one.mkdir(mode=0o700)
                sync_folder(one.parent)

    def sweep(
        self,
        known: Collection[str],
        is_known: Callable[[str], bool],
        cases: Iterable[str] | None = None,
        older: float = _ORPHAN_SECONDS,
    ) -> Swept:
        """Remove files that the store knows nothing of, and tell which of its files are missing.

        Args:
            known: Paths in the store, relative, read before this call.
            is_known: Asks the store again, for one path.
            cases: Only the folders of these cases; nothing is then told to be missing.
            older: Seconds; a younger file may be on its way into the store.
        """
        names = list(cases) if cases is not None else [one.name for one in _folders(self.folder)]
        removed, found = 0, set()
        for case_id in names:
            if case_id == INCOMING:
                continue
            for series in _folders(self.folder / case_id):
                for path in _files(series):
                    relative = f"{case_id}/{series.name}/{path.name}"
                    found.add(relative)
                    if relative not in known:
                        removed += self._remove(path, relative, is_known, older)
                with self._tree, suppress(OSError):  # it is not empty
                    series.rmdir()
            with self._tree, suppress(OSError):
                (self.folder / case_id).rmdir()
        missing = () if cases is not None else tuple(sorted(set(known) - found))
        return Swept(removed, tuple(one for one in missing if not (self.folder / one).exists()))

    def _remove(self, path: Path, relative: str, is_known: Callable[[str], bool], older: float) -> int:
        with self.lock(relative), suppress(OSError):
            status = path.stat()
            if time.time() - max(status.st_mtime, status.st_ctime) >= older and not is_known(relative):
                path.unlink()
                return 1
        return 0


def _folders(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []


def _files(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False)]
    return []
