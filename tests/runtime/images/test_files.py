import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scanside.runtime.errors import BackendError, OutputError
from scanside.runtime.images.files import ENDINGS, atomic_write, ending_of, remove_leftovers
from tests.support.sentences import assert_one_sentence


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.nii.gz", ".nii.gz"),
        ("a.b_0000.nii", ".nii"),
        ("A.NII.GZ", ".nii.gz"),
        ("a.gipl.gz", ".gipl.gz"),
        ("a.mha", ".mha"),
        ("a.gz", None),
        (".nii.gz", None),
        ("nii", None),
        ("a.dcm", None),
        ("a.nii.gz.txt", None),
    ],
)
def test_ending(name: str, ending: str | None) -> None:
    assert ending_of(Path(name)) == ending


def test_endings_are_longest_first() -> None:
    for i, ending in enumerate(ENDINGS):
        assert not any(later.endswith(ending) for later in ENDINGS[i + 1 :])


def test_writes_whole_file_in_new_folders(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.nii.gz"
    with atomic_write(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"all of it")
        assert not target.exists()
    assert target.read_bytes() == b"all of it"
    assert [path.name for path in target.parent.iterdir()] == ["a.nii.gz"]


def test_file_gets_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with atomic_write(tmp_path / "a.nii") as temporary:
        temporary.write_bytes(b"x")
    assert (tmp_path / "a.nii").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, ValueError("x"), MemoryError])
def test_old_file_survives_any_interruption(tmp_path: Path, failure: type[BaseException] | Exception) -> None:
    target = tmp_path / "a.nrrd"
    target.write_bytes(b"old")
    with (
        pytest.raises(failure if isinstance(failure, type) else type(failure)),
        atomic_write(target) as temporary,
    ):
        temporary.write_bytes(b"half")
        raise failure
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrrd"]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError(errno.EACCES, "Permission denied"), "permission is denied"),
        (OSError(errno.EROFS, "Read-only file system"), "read-only"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (RuntimeError("Exception thrown in SimpleITK\nitk::ERROR: bad"), "free space"),
    ],
)
def test_system_errors_become_advice(tmp_path: Path, error: Exception, word: str) -> None:
    with pytest.raises(OutputError) as caught, atomic_write(tmp_path / "mask.nii"):
        raise error
    assert_one_sentence(str(caught.value), "mask.nii", word)
    assert not list(tmp_path.iterdir())


def test_parent_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    for target in (tmp_path / "out" / "a.nii", tmp_path / "out" / "deeper" / "a.nii"):
        with pytest.raises(OutputError) as caught, atomic_write(target):
            pytest.fail("the block must not run")
        assert_one_sentence(str(caught.value), "a.nii", "not a folder")


def test_target_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.nii").mkdir()
    with pytest.raises(OutputError) as caught, atomic_write(tmp_path / "a.nii") as temporary:
        temporary.write_bytes(b"x")
    assert_one_sentence(str(caught.value), "a.nii", "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


def test_name_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, atomic_write(tmp_path / ("x" * 300 + ".nii")) as temporary:
        temporary.write_bytes(b"x")
    assert_one_sentence(str(caught.value), "shorter")


def test_own_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="as it is"), atomic_write(tmp_path / "a.nii"):
        raise BackendError("as it is")


KILLED = """
import os, signal, sys
from pathlib import Path
from scanside.runtime.images.files import atomic_write, folder_beside
with atomic_write(Path(sys.argv[1])) as file, folder_beside(Path(sys.argv[2])) as folder:
    file.write_text("half")
    (folder / "x").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_program_left_is_known_by_the_file_that_it_wrote(tmp_path: Path) -> None:
    """The half files of others, who may be writing, stay."""
    mask, study = tmp_path / ("m" * 240 + ".nii.gz"), tmp_path / "P1"
    killed = subprocess.run([sys.executable, "-c", KILLED, mask, study], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(left := set(tmp_path.iterdir())) == 2
    remove_leftovers([tmp_path / "m.nii.gz", tmp_path / "P1.1", tmp_path / "none" / "P1"])
    assert set(tmp_path.iterdir()) == left
    with atomic_write(tmp_path / "other.nii") as writing:
        remove_leftovers([mask, study])
        assert list(tmp_path.iterdir()) == [writing]
