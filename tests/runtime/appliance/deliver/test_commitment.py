"""Storage commitment: answered in every way that peers answer, and never taken as given."""

import json
from pathlib import Path

import pytest

from scanside.runtime.appliance.deliver.listener import port_file
from scanside.runtime.appliance.store.states import DELIVERIES, Delivery, Sending, State
from tests.runtime.appliance.deliver.desk import Desk
from tests.runtime.appliance.deliver.scripted import Answer, peer
from tests.support.appliance import until

pytestmark = pytest.mark.requirement("commitment")


def _listener(desk: Desk) -> tuple[str, int]:
    path = port_file(desk.config)
    until(path.exists, 10, "the listener")
    found = json.loads(path.read_text())
    return found["host"], found["port"]


@pytest.mark.parametrize("answer", [Answer.SAME, Answer.LATER, Answer.LATER_WITHOUT_ROLE])
def test_answers_are_taken_however_they_come(tmp_path: Path, answer: Answer) -> None:
    with peer(answer=answer) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        with desk.sending():
            pacs.listener = _listener(desk)
            made = desk.put("pacs")
            items = desk.wait("pacs", Sending.COMMITTED)
        assert sorted(pacs.got) == sorted(one.sop_uid for one in made)
        assert sorted(uid for _, uids in pacs.requests for uid in uids) == sorted(pacs.got)
        assert {item.transaction_uid for item in items} == {uid for uid, _ in pacs.requests}
        assert set(pacs.answered) == {0}
    assert desk.job_states() == {State.DONE}
    assert not port_file(desk.config).exists()


def test_an_object_that_the_peer_lost_is_sent_again(tmp_path: Path) -> None:
    with peer() as pacs:
        desk = Desk(tmp_path, pacs.destination())
        made = desk.put("pacs")
        lost = made[1].sop_uid
        pacs.lacks = {lost}
        with desk.sending():
            assert "0112" in desk.reason("pacs", "no such object instance")
            until(lambda: pacs.got.count(lost) > 1, 20, "sent again")
            assert desk.job_states() == {State.SENDING}
            pacs.lacks = set()
            desk.wait("pacs", Sending.COMMITTED)
        assert [pacs.got.count(one.sop_uid) for one in (made[0], made[2])] == [1, 1]
    assert desk.audited("delivery failed") == 0  # the reason is that of the answer, which the audit log has
    assert desk.job_states() == {State.DONE}


def test_no_answer_means_asking_again_and_not_sending_again(tmp_path: Path) -> None:
    with peer(answer=Answer.NEVER) as pacs:
        desk = Desk(tmp_path, pacs.destination(commitment_seconds=0.2), timeout_seconds=1)
        desk.put("pacs", kinds=("sr",))
        with desk.sending():
            until(lambda: len(pacs.requests) > 1, 20, "asked again")
            pacs.answer = Answer.SAME
            desk.wait("pacs", Sending.COMMITTED)
        assert len(pacs.got) == 1
        assert len({uid for uid, _ in pacs.requests}) == len(pacs.requests)  # a transaction UID is used once


def test_the_reason_names_a_listener_that_no_peer_can_reach(tmp_path: Path) -> None:
    """Another way to write 127.0.0.1: for the configuration a PACS elsewhere, which is to call our loopback."""
    with peer(answer=Answer.NEVER) as pacs:
        desk = Desk(tmp_path, pacs.destination(host="127.1", plaintext=True, commitment_seconds=0.2))
        assert desk.config.unanswerable == desk.config.destinations
        desk.put("pacs", kinds=("sr",))
        with desk.sending():
            reason = desk.reason("pacs", "no answer to the request for commitment, and ")
    assert "send.commitment_host" in reason and "127.0.0.1" in reason


def test_a_refused_request_is_made_again(tmp_path: Path) -> None:
    with peer(answer=Answer.REFUSED) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        desk.put("pacs", kinds=("sr",))
        with desk.sending():
            desk.reason("pacs", "resource limitation, status 0213")
            pacs.answer = Answer.SAME
            desk.wait("pacs", Sending.COMMITTED)
        assert len(pacs.got) == 1


def test_a_peer_without_commitment_holds_the_objects_and_says_what_to_do(tmp_path: Path) -> None:
    with peer(commitment=False) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        desk.put("pacs")
        with desk.sending():
            reason = desk.reason("pacs", "does not offer storage commitment")
            assert "commitment = false" in reason
            until(lambda: max(item.attempts for item in desk.items()) > 2, 20, "asked again")
            assert desk.states("pacs") == {Sending.SENT}
        assert desk.audited("commitment not supported") == 1
        assert desk.job_states() == {State.SENDING}
        assert len(pacs.got) == 3


def test_an_answer_after_a_restart_is_taken(tmp_path: Path) -> None:
    with peer(answer=Answer.NEVER) as pacs:
        desk = Desk(tmp_path, pacs.destination(), timeout_seconds=1)
        made = desk.put("pacs", kinds=("sr",))
        with desk.sending():
            desk.wait("pacs", Sending.AWAITING)
        with desk.sending():
            pacs.listener = _listener(desk)
            ((transaction_uid, _),) = until(lambda: list(pacs.requests), 10, "the request")
            assert pacs.call_back(pacs.report(transaction_uid, [(made[0].sop_class, made[0].sop_uid)]))
            desk.wait("pacs", Sending.COMMITTED)


def test_the_listener_takes_answers_of_destinations_and_of_its_own_transactions_alone(tmp_path: Path) -> None:
    with peer(answer=Answer.NEVER) as pacs:
        desk = Desk(tmp_path, pacs.destination(), timeout_seconds=1)
        made = desk.put("pacs", kinds=("sr",))
        with desk.sending():
            pacs.listener = _listener(desk)
            desk.wait("pacs", Sending.AWAITING)
            about = [(made[0].sop_class, made[0].sop_uid)]
            ((transaction_uid, _),) = until(lambda: list(pacs.requests), 10, "the request")
            report = pacs.report(transaction_uid, about)
            assert not pacs.call_back(report, title="STRANGER")
            assert not pacs.call_back(report, called="SOMEONE")
            assert pacs.call_back(pacs.report("1.2.3", about))
            assert desk.states("pacs") == {Sending.AWAITING}
            del report.TransactionUID
            assert pacs.call_back(report)
            assert pacs.answered == [0, 0x0115]


def test_a_silent_caller_does_not_hold_the_listener(tmp_path: Path) -> None:
    import socket

    with peer(answer=Answer.LATER) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        with desk.sending():
            pacs.listener = _listener(desk)
            with socket.create_connection(pacs.listener), socket.create_connection(pacs.listener):
                desk.put("pacs", kinds=("sr",))
                desk.wait("pacs", Sending.COMMITTED)


def test_a_listener_port_in_use_is_said_and_does_not_stop_delivery(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken, peer() as pacs:
        desk = Desk(tmp_path, pacs.destination(), commitment_port=taken.getsockname()[1])
        desk.put("pacs", kinds=("sr",))
        with desk.sending():
            desk.wait("pacs", Sending.COMMITTED)
    assert any("send.commitment_port" in record.message for record in caplog.records)


@pytest.mark.skipif(
    (Sending.SENT, Delivery.STORED_FOR_GOOD) not in DELIVERIES, reason="the store has no such transition yet"
)
def test_commitment_switched_off_settles_what_waited_for_it(tmp_path: Path) -> None:
    with peer(commitment=False) as pacs:
        desk = Desk(tmp_path, pacs.destination())
        desk.put("pacs")
        with desk.sending():
            desk.reason("pacs", "does not offer storage commitment")
        desk.destinations(pacs.destination(commitment=False))
        with desk.sending():
            desk.wait("pacs", Sending.DELIVERED)
        assert len(pacs.got) == 3
    assert desk.job_states() == {State.DONE}
