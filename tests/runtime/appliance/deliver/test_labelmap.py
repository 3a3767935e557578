"""LABELMAP goes to peers that are meant to get it and negotiate it, and to nobody else. The sender asks them."""

from pathlib import Path

from scanside.runtime.appliance.deliver.classes import LABELMAP_STORAGE
from scanside.runtime.appliance.deliver.labelmap import labelmap_takers
from scanside.runtime.appliance.store.answers import keep_answer
from tests.runtime.appliance.deliver.desk import Desk
from tests.runtime.appliance.deliver.scripted import STORAGE, peer
from tests.support.appliance import free_port, until


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
        keep_answer(desk.database, "old", LABELMAP_STORAGE, True)
        keep_answer(desk.database, "not meant to", LABELMAP_STORAGE, True)
        assert labelmap_takers(desk.config, desk.database) == {"old"}, "what it said last"
        with desk.sending():
            until(lambda: labelmap_takers(desk.config, desk.database) == {"modern"}, 20, "answers")
        assert modern.got == []


def test_a_peer_that_cannot_be_asked_keeps_its_answer(tmp_path: Path) -> None:
    with peer(takes=STORAGE) as one:
        gone = one.destination("gone", labelmap=True).model_copy(update={"port": free_port()})
    desk = Desk(tmp_path, gone)
    keep_answer(desk.database, "gone", LABELMAP_STORAGE, True)
    with desk.sending():
        made = desk.put("gone", kinds=("sr",))
        desk.reason("gone", "cannot be reached")
    assert made and labelmap_takers(desk.config, desk.database) == {"gone"}
