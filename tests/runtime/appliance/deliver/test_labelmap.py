"""LABELMAP goes to peers that are meant to get it and negotiate it, and to nobody else."""

from pathlib import Path

from scanside.runtime.appliance.deliver.labelmap import LABELMAP_STORAGE, take_labelmap
from tests.runtime.appliance.deliver.desk import Desk
from tests.runtime.appliance.deliver.scripted import STORAGE, peer
from tests.support.appliance import free_port


def test_who_takes_labelmap(tmp_path: Path) -> None:
    with peer(takes=(*STORAGE, LABELMAP_STORAGE)) as modern, peer() as old:
        gone = modern.destination("gone", labelmap=True).model_copy(update={"port": free_port()})
        desk = Desk(
            tmp_path,
            modern.destination("modern", labelmap=True),
            modern.destination("not meant to"),
            old.destination("old", labelmap=True),
            gone,
        )
        assert take_labelmap(desk.config, seconds=3) == {"modern"}
        assert modern.got == []
