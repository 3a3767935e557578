"""Power cuts: whatever of the unsynced operations survives, what was promised to scanner and PACS is kept."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.appliance.power.conftest import Recorded
from tests.runtime.appliance.power.disk import Disk, Loss, Operation, cuts
from tests.runtime.appliance.power.promises import before, broken, laid_out
from tests.runtime.appliance.power.way import go
from tests.support.soak_results import write_soak_results

pytestmark = pytest.mark.requirement("acknowledged", "once")

QUICK, MANY = 300, 10_000
SYNCS = {
    "name of the data folder": r"",
    "names in the data folder": r"data",
    "pages of the store": r"data/scanside\.db",
    "write-ahead log": r"data/scanside\.db-wal",
    "bytes of an instance": r"data/spool/incoming/\d+\.part",
    "name of the spool's folder of a case": r"data/spool",
    "name of a series' folder": r"data/spool/[^/]+",
    "name of an instance": r"data/spool/(?!incoming)[^/]+/[^/]+",
    "bytes of a result's files": r"data/results/[^/]+/[^/]+/.+",
    "names of a result's files": r"data/results/[^/]+/[^/]+",
    "name of a result's folder": r"data/results/[^/]+",
    "name of a case's folder of results": r"data/results",
}
"""Every sync that a promise rests on, by what it makes safe → the paths that are synced. SQLite's rollback journal is
not among them: it is used once, while the store is made, and nothing is promised by then."""


def lost(
    recorded: Recorded, number: int, seed: int, scratch: Path, without: str | None = None
) -> Iterator[tuple[Loss, str]]:
    """Promises that are broken by so many cuts; `without` the syncs of these paths."""

    def ignore(one: Operation, path: str) -> bool:
        return without is not None and re.fullmatch(without, path) is not None

    for place, loss, image in cuts(recorded.operations, number, seed, ignore):
        why = broken(recorded.promises, place, image, scratch)
        if why is not None:
            yield loss, f"after operation {place}: {why}"


def test_the_recorder_misses_nothing(recorded: Recorded) -> None:
    """The replay's end is the folder's end, byte for byte: of the store, the spool and the results."""
    disk = Disk()
    for one in recorded.operations:
        disk.follow(one)
    replayed = {path: data for path, data in disk.now().items() if not path.endswith("-shm")}
    there = {
        path.relative_to(recorded.folder).as_posix(): path.read_bytes()
        for path in recorded.folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }
    assert replayed.keys() == there.keys()
    assert [path for path in there if replayed[path] != there[path]] == []


def test_the_way_promises_what_it_should(recorded: Recorded) -> None:
    files = len(list(recorded.study.rglob("*.dcm")))
    promises = recorded.promises
    assert len(promises.acknowledged) == len(promises.stored) == files
    assert {uid for _, uid in promises.shown} == promises.sent.keys() and len(promises.sent) == 5
    kinds = Counter(one.kind for one in recorded.operations)
    assert min(kinds["s"], kinds["w"], kinds["r"]) > files


def test_nothing_that_was_promised_is_lost(recorded: Recorded, scratch: Path) -> None:
    assert list(lost(recorded, QUICK, random.randrange(1 << 30), scratch)) == []


@pytest.mark.parametrize("name", SYNCS)
def test_a_sync_that_is_taken_out_is_missed(recorded: Recorded, scratch: Path, name: str) -> None:
    """The harness finds the fault that it is there to find: without any one of these syncs a promise is broken."""
    assert any(lost(recorded, QUICK, 7, scratch, without=SYNCS[name]))


def resumed(recorded: Recorded, place: int, loss: Loss, dice: random.Random, folder: Path) -> str | None:
    """Cut, start the appliance on what is there, send the study again: what is wrong in the end, or None."""
    disk = Disk()
    for one in recorded.operations[:place]:
        disk.follow(one)
    laid_out(disk.after_cut(loss, dice), folder)
    again = go(folder, recorded.study, recorded.bundle)
    shown = before(recorded.promises.shown, place)
    if len({*shown, *again}) != len(recorded.promises.sent):
        return f"after operation {place}: the PACS has {len({*shown, *again})} objects of one result"
    changed = [uid for uid in shown if uid in again and again[uid] != recorded.promises.sent[uid]]
    return f"after operation {place}: object {changed[0]} came again with other bytes" if changed else None


def places(recorded: Recorded, number: int) -> list[int]:
    """Instants of the last two thirds of the way, where results are made and sent, and the first shown object's."""
    first, every = recorded.promises.shown[0][0], len(recorded.operations)
    return [first, *(every - every * 2 * turn // (3 * number) for turn in range(1, number))][:number]


def test_an_appliance_goes_on_after_a_cut_and_delivers_once(recorded: Recorded, tmp_path: Path) -> None:
    (place,) = places(recorded, 1)
    assert resumed(recorded, place, Loss.SOME, random.Random(3), tmp_path / "data") is None


@pytest.mark.slow
def test_ten_thousand_cuts(recorded: Recorded, scratch: Path) -> None:
    broke = list(lost(recorded, MANY, 11, scratch))
    without = {name: sum(1 for _ in lost(recorded, QUICK, 11, scratch, path)) for name, path in SYNCS.items()}
    found = {
        "cuts": MANY,
        "operations": len(recorded.operations),
        "syncs": sum(one.kind == "s" for one in recorded.operations),
        "instances_acknowledged": len(recorded.promises.acknowledged),
        "objects_delivered": len(recorded.promises.sent),
        "cuts_that_broke_a_promise": len(broke),
        "cuts_without_a_sync": QUICK,
        "cuts_that_broke_a_promise_without": without,
    }
    write_soak_results("power-cuts", "make soak", ("pynetdicom", "pydicom"), found)
    assert broke == []
    assert [name for name, count in without.items() if not count] == []


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(12))
def test_an_appliance_goes_on_after_any_cut(recorded: Recorded, tmp_path: Path, turn: int) -> None:
    place, loss = places(recorded, 12)[turn], list(Loss)[turn % len(Loss)]
    assert resumed(recorded, place, loss, random.Random(turn), tmp_path / "data") is None
