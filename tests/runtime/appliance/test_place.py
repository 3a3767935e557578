"""A store on a network file system is refused by name, before a byte of it is written."""

from pathlib import Path

import pytest

from scanside.runtime.appliance.store import place
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.errors import InputError
from tests.support.sentences import assert_one_sentence

ROOT = "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"


def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    file = tmp_path / "mountinfo"
    file.write_text("\n".join([ROOT, *lines]))
    monkeypatch.setattr(place, "MOUNTS", file)
    place.file_system.cache_clear()


@pytest.fixture(autouse=True)
def forget() -> None:
    place.file_system.cache_clear()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "lustre"])
def test_a_store_on_a_network_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "server share"
    folder.mkdir()
    escaped = str(folder).replace(" ", "\\040")
    mounted(tmp_path, monkeypatch, f"31 25 0:44 / {escaped} rw shared:9 - {kind} server:/export rw")
    with pytest.raises(InputError) as caught:
        Database(folder / "store.sqlite", create=True)
    assert_one_sentence(str(caught.value), str(folder / "store.sqlite"), kind)
    assert not list(folder.iterdir())


def test_the_nearest_mount_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = tmp_path / "home" / "disk"
    local.mkdir(parents=True)
    mounted(
        tmp_path,
        monkeypatch,
        f"31 25 0:44 / {tmp_path / 'home'} rw - nfs4 server:/home rw",
        f"32 31 8:2 / {local} rw - xfs /dev/sdb1 rw",
    )
    assert place.file_system(local) == "xfs" and place.file_system(local.parent) == "nfs4"
    assert place.file_system(tmp_path) == "ext4"
    with Database(local / "store.sqlite", create=True):
        pass
    monkeypatch.setattr(place, "MOUNTS", tmp_path / "gone")
    place.file_system.cache_clear()
    assert place.file_system(local) is None  # a system that does not tell: nothing is refused


def test_this_machine_tells_its_own() -> None:
    assert place.file_system(Path("/")) is not None
