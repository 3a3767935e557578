"""A folder as a destination: whole files or none, a missing share is waited for, and a kill loses nothing."""

import shutil
from pathlib import Path

import pytest

from scanside.runtime.appliance.config import FolderDestination
from scanside.runtime.appliance.deliver.echo import echo, refused_classes
from scanside.runtime.appliance.store.states import Sending, State
from tests.runtime.appliance.deliver.desk import Desk
from tests.support.appliance import until
from tests.support.sentences import assert_one_sentence


def test_objects_come_into_the_folder_byte_for_byte(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    desk = Desk(tmp_path, FolderDestination(name="export", path=share))
    made = desk.put("export")
    with desk.sending():
        items = desk.wait("export", Sending.DELIVERED)
    assert {path.name for path in share.rglob("*") if path.is_file()} == {
        f"{one.sop_uid}.dcm" for one in made
    }
    for one in made:
        copy = share / items[0].case_id / f"{one.sop_uid}.dcm"
        assert copy.read_bytes() == (desk.config.results / one.path).read_bytes()
    assert desk.job_states() == {State.DONE}


def test_a_share_that_is_not_mounted_is_waited_for_and_not_filled(tmp_path: Path) -> None:
    share = tmp_path / "share"
    desk = Desk(tmp_path, FolderDestination(name="export", path=share))
    desk.put("export")
    with desk.sending():
        assert_one_sentence(desk.reason("export", "there is no folder"), str(share), "mount")
        assert not share.exists()
        share.mkdir()
        desk.wait("export", Sending.DELIVERED)


def test_a_damaged_object_does_not_hold_the_others(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    desk = Desk(tmp_path, FolderDestination(name="export", path=share))
    first, *others = desk.put("export")
    (desk.config.results / first.path).write_bytes(b"nothing")
    with desk.sending():
        desk.reason("export", "is damaged")
        until(lambda: len(list(share.rglob("*.dcm"))) == len(others), 20, "the others")
    assert not (share / f"{first.sop_uid}.dcm").exists()


def test_what_a_killed_sender_left_is_written_again(tmp_path: Path) -> None:
    """The store did not learn of it: the same object takes the place of the same."""
    share = tmp_path / "share"
    share.mkdir()
    desk = Desk(tmp_path, FolderDestination(name="export", path=share))
    made = desk.put("export", kinds=("sr",))
    case = share / desk.items()[0].case_id
    case.mkdir()
    shutil.copy(desk.config.results / made[0].path, case / f"{made[0].sop_uid}.dcm")
    (case / f".{made[0].sop_uid}.part").write_bytes(b"half")
    with desk.sending():
        desk.wait("export", Sending.DELIVERED)
    assert [path.name for path in case.iterdir()] == [f"{made[0].sop_uid}.dcm"]
    assert (case / f"{made[0].sop_uid}.dcm").read_bytes() == (desk.config.results / made[0].path).read_bytes()


@pytest.mark.parametrize("there", [True, False])
def test_check_asks_a_folder(tmp_path: Path, there: bool) -> None:
    share = tmp_path / "share"
    destination = FolderDestination(name="export", path=share)
    if there:
        share.mkdir()
    desk = Desk(tmp_path, destination)
    said = echo(destination, desk.config, 1.0)
    assert (said is None) is there
    assert refused_classes(destination, desk.config, 1.0) is None
