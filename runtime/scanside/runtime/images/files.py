"""Which files are images, and how a result reaches the disk whole or not at all."""

import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scanside.runtime.errors import OutputError, ScansideError
from scanside.runtime.plan import Reader

ENDINGS = (".nii.gz", ".gipl.gz", ".nii", ".nrrd", ".mha", ".gipl")
"""Volume endings, longest match first. Formats that need two files (.hdr/.img, .mhd, .nhdr) are left out."""

TIFF_ENDINGS = (".tif", ".tiff")
READER_ENDINGS: dict[Reader, tuple[str, ...]] = {
    "itk": ENDINGS,
    "picture": (".png", ".bmp", *TIFF_ENDINGS),
    "tiff": TIFF_ENDINGS,
}
"""Reader of a model → the files it takes. A folder of DICOM may well hold a picture, which is no image then."""
ALL_ENDINGS = (*ENDINGS, *READER_ENDINGS["picture"])

_ADVICE = {
    errno.EACCES: "permission is denied; choose a folder that you may write to",
    errno.EPERM: "permission is denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EFBIG: "the file is larger than allowed here; raise the file size limit and run again",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another path",
    errno.EEXIST: "a part of the path is a file, not a folder; choose another path",
    errno.EISDIR: "it is a folder; choose another name",
    errno.ENOTEMPTY: "it is a folder; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def ending_of(path: Path, endings: tuple[str, ...] = ENDINGS) -> str | None:
    """The ending of a file name in lower case, or None when it is not an image's name."""
    name = path.name.lower()
    return next((ending for ending in endings if name.endswith(ending) and len(name) > len(ending)), None)


def hash_of(path: Path) -> str:
    """sha256 of a file, or of a folder's files and their names."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        digest.update(
            f"{file.relative_to(path).as_posix()}\0{hash_of(file)}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def writing_failed(path: Path, error: BaseException) -> OutputError:
    """The sentence for a result that could not be written."""
    if isinstance(error, OSError) and error.errno is not None:
        reason = _ADVICE.get(error.errno, f"{error.strerror}; check the folder")
    else:
        reason = "the writer failed; check free space and permissions of the folder"
    return OutputError(f"{path} cannot be written: {reason}.")


def sync(path: Path, flags: int = 0) -> None:
    """Bring a file's content, or the names in a folder, to the disk, where a power cut leaves them.

    Args:
        flags: Further flags of opening it.
    """
    handle = os.open(path, os.O_RDONLY | flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make what was made, moved or removed in a folder survive a power cut."""
    sync(folder, os.O_DIRECTORY)


def write_private(path: Path, content: bytes) -> None:
    """Make a file for its owner alone, and bring it to the disk; its name is the caller's to sync.

    Raises:
        OSError: If there is one already, or it cannot be written.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder, and those above that are not there, so that they stay through a power cut.

    Raises:
        OSError: If that is not possible.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=mode, exist_ok=True)
        sync_folder(one.parent)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields a temporary path in the same folder with the same ending (ITK chooses the format by the ending).
    When the block ends well the file is flushed to the disk and takes the place of `path`; when it ends with
    any exception, Ctrl-C too, the temporary file is removed and `path` is as before.

    Args:
        path: The file wanted; missing parent folders are created.

    Raises:
        OutputError: If the system, or ITK (which raises RuntimeError), cannot write.
    """
    ending = ending_of(path) or path.suffix
    temporary = path.with_name(f"{_beginning(path)}{secrets.token_hex(6)}.part{ending}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)  # surfaces permission errors with their number; ITK would hide it
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, (OSError, RuntimeError)) and not isinstance(error, ScansideError):
            raise writing_failed(path, error) from error
        raise


@contextmanager
def folder_beside(out: Path) -> Iterator[Path]:
    """A temporary folder on the file system of `out`; gone at the end, whatever happens.

    Raises:
        OutputError: If it cannot be made, or the system cannot write in the block.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_beginning(out), dir=out.parent))
    except OSError as error:
        raise writing_failed(out, error) from error
    try:
        yield folder
    except OSError as error:  # an OutputError is one, and says more already
        raise error if isinstance(error, ScansideError) else writing_failed(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove what programs that were killed while they wrote these files and folders left beside them.

    Nobody may be writing them. What cannot be removed stays.
    """
    of_folder: dict[Path, set[str]] = {}
    for path in paths:
        of_folder.setdefault(path.parent, set()).add(_beginning(path))
    for folder, beginnings in of_folder.items():
        length = len(_beginning(folder))
        for left in folder.glob(".*"):
            if left.name[:length] not in beginnings:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with suppress(OSError):
                    left.unlink()


def _beginning(path: Path) -> str:
    """How the name of a temporary file or folder for `path` begins, so that it is known whose it was; 14 characters."""
    return f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}."
