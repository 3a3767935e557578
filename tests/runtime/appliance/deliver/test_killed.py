"""A sender that is killed exactly between what the peer has done and what the store knows of it."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scanside.runtime.appliance.store.states import Sending, State
from tests.runtime.appliance.deliver.desk import Desk, end
from tests.runtime.appliance.deliver.scripted import peer

pytestmark = pytest.mark.requirement("once")


class _Killer:
    """Kills the sender at its n-th call; those after it do nothing."""

    def __init__(self, call: int) -> None:
        self.left = call
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            assert self.process is not None
            end(self.process)


@contextmanager
def _process(desk: Desk, killer: _Killer | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    process = desk.start_process()
    if killer is not None:
        killer.process = process
    try:
        yield process
    finally:
        if process.poll() is None:
            end(process, signal.SIGTERM)


@pytest.mark.parametrize("call", [1, 3])
def test_between_the_peers_having_it_and_the_row(tmp_path: Path, call: int) -> None:
    """The same object goes again, with the same UID and the same bytes; nothing else does."""
    with peer() as pacs:
        desk = Desk(tmp_path, pacs.destination())
        made = [one.sop_uid for one in desk.put("pacs")]
        pacs.on_store = killer = _Killer(call)
        with _process(desk, killer) as process:
            assert process.wait(60) == -signal.SIGKILL
        assert pacs.got == made[:call]
        assert [item.state for item in desk.items()].count(Sending.SENT) == call - 1
        with _process(desk):
            desk.wait("pacs", Sending.COMMITTED, 60)
        assert pacs.got == [*made[:call], *made[call - 1 :]]
        assert all(len(set(held)) == 1 for held in pacs.held.values())
    assert desk.job_states() == {State.DONE}


def test_between_the_request_for_commitment_and_its_answer(tmp_path: Path) -> None:
    """Nothing is sent again, and nothing is taken for committed: it is asked for again once that is overdue."""
    with peer() as pacs:
        desk = Desk(tmp_path, pacs.destination(commitment_seconds=0.5))
        made = [one.sop_uid for one in desk.put("pacs", kinds=("seg", "sr"))]
        pacs.on_action = killer = _Killer(1)
        with _process(desk, killer) as process:
            assert process.wait(60) == -signal.SIGKILL
        assert desk.states("pacs") == {Sending.AWAITING}
        with _process(desk):
            desk.wait("pacs", Sending.COMMITTED, 60)
        assert pacs.got == made
        assert len(pacs.requests) >= 2
