"""The conformance statement says what the program does: compared with its tables, and with it as it runs."""

import re
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.presentation import build_context

from scanside.runtime.appliance.conformance import STATUSES, conformance_statement
from scanside.runtime.appliance.deliver.classes import COMMITMENT, NAMES
from scanside.runtime.appliance.receive.classes import HIGH_THROUGHPUT
from tests.runtime.appliance.receive.receiving import (
    associate,
    data_set_of,
    mr_slice,
    receiver,
    send,
    send_bytes,
)
from tests.runtime.cli.conftest import Command, scanside  # noqa: F401 - a fixture
from tests.support.dicom_factory import save

DOCUMENT = Path(__file__).parents[3] / "docs" / "conformance.md"
UID = re.compile(r"`([0-9]+(?:\.[0-9]+)+)`")
MR = "1.2.840.10008.5.1.4.1.1.4"
NOT_STATED = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.2.2.1",  # find studies
    "1.2.840.10008.3.1.2.3.4",  # MPPS Retrieve
    "1.2.840.10008.1.20.1",
)


def section(number: int) -> str:
    return conformance_statement().split(f"\n## {number} ")[1].split("\n## ")[0]


def test_the_document_is_the_programs_own(scanside: Command) -> None:  # noqa: F811
    """After a change: scanside serve --conformance > docs/conformance.md"""
    assert DOCUMENT.read_text() == conformance_statement()
    assert scanside("serve", "--conformance").out == conformance_statement()


def test_a_receiver_takes_what_is_stated_and_nothing_else(tmp_path: Path) -> None:
    table, syntaxes = section(2).split("Each with these transfer syntaxes")
    stated = set(UID.findall(table))
    listed = [uid for uid in UID.findall(syntaxes) if uid not in HIGH_THROUGHPUT]
    assert len(stated) > 40 and len(listed) > 10
    with receiver(tmp_path / "data") as desk:
        entity = AE("MR1")

        def accepted(contexts: list[object]) -> list[tuple[str, str]]:
            association = entity.associate("127.0.0.1", desk.port, contexts=contexts, ae_title="SCANSIDE")
            found = [
                (str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts
            ]
            association.release()
            return found

        every = accepted([build_context(uid) for uid in (*sorted(stated), *NOT_STATED)])
        assert {sop_class for sop_class, _ in every} == stated
        mr = accepted([build_context(MR, syntax) for syntax in (*listed, "1.2.840.10008.1.2.4.100")])
        assert [syntax for _, syntax in mr] == listed
        assert accepted([build_context(MR, [listed[1], listed[0]])]) == [(MR, listed[0])], (
            "the first of the list"
        )
        other = entity.associate("127.0.0.1", desk.port, contexts=[build_context(MR)], ae_title="OTHER")
        assert not other.is_established


def test_the_statuses_are_those_that_are_answered(tmp_path: Path) -> None:
    stated = {code for code, _ in STATUSES}
    corrected = mr_slice(1)
    corrected.PatientID = "P2"
    large = mr_slice(2)
    large.PixelData = bytes(20_000)
    with receiver(tmp_path / "data", max_instance_mb=0.01) as desk:
        association = associate(desk.port)
        seen = [send(association, one) for one in (mr_slice(1), corrected, large)]
        another = data_set_of(save(mr_slice(3), tmp_path / "one.dcm"))
        seen += [send_bytes(association, data, MR, "1.2.4")[0] for data in (b"no data set", another)]
        association.release()
    assert seen == [0x0000, 0x0111, 0xA700, 0xC000, 0xA900] and set(seen) < stated


@pytest.mark.parametrize("uid", sorted(NAMES))
def test_every_class_that_is_sent_is_stated(uid: str) -> None:
    assert f"{NAMES[uid]} `{uid}`" in section(4 if uid == COMMITMENT else 3)
