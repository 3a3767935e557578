"""What had been received of a study when its job began: hard links, checked byte by byte, removed with the job."""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scanside.runtime.appliance.store.records import Instance
from scanside.runtime.errors import ScansideError
from scanside.runtime.images.files import writing_failed

INPUT = ".input-"
"""How the names of these folders begin."""

_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)
"""Another file system, or one without hard links: copy."""


class SpoolError(ScansideError):
    """A received file is not any more what was received."""


@contextmanager
def snapshot(
    instances: Sequence[Instance], spool: Path, case: Path, check: Callable[[], None]
) -> Iterator[Path]:
    """Make a folder with the instances, a folder a series; it has the case id as its name.

    Every file is hashed: a disk that has changed an image must not change a result.

    Args:
        case: Folder of the case's results; the snapshot is made inside.
        check: Called before each file; may raise to stop.

    Raises:
        SpoolError: If a file is missing or is not what was received.
        OutputError: If the folder cannot be made, such as on a full disk.
    """
    try:
        case.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=INPUT, dir=case))
    except OSError as error:
        raise writing_failed(case, error) from error
    try:
        study = folder / case.name
        for instance in instances:
            check()
            _take(instance, spool / instance.path, study)
        yield study
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(results: Path) -> int:
    """Remove what a worker that was killed has left: snapshots, and results that were not finished.

    Returns:
        Number of folders.
    """
    found = [path for path in results.glob("*/.*") if path.is_dir()]
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return len(found)


def _take(instance: Instance, source: Path, study: Path) -> None:
    target = study / source.parent.name / source.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _link(source, target):
            shutil.copyfile(source, target)
        with target.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.file_digest(file, "sha256").hexdigest() if size == instance.size else ""
    except FileNotFoundError as error:
        raise _damaged(instance, "is missing") from error
    except OSError as error:
        if error.errno == errno.EIO:
            raise _damaged(instance, "cannot be read") from error
        raise writing_failed(target, error) from error
    if digest != instance.sha256:
        raise _damaged(instance, "is not what was received")


def _link(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    return True


def _damaged(instance: Instance, what: str) -> SpoolError:
    return SpoolError(f"The received {instance.path} {what}; check the disk, and send the study again.")
