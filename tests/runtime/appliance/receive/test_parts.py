"""The parts of the receiver: spool, limits, identity, quarantine."""

import json
import os
import threading
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.receive import main, scp, spool
from scanside.runtime.appliance.receive.identity import Identity, UnreadableError, _identity, identify
from scanside.runtime.appliance.receive.incoming import (
    PREAMBLE,
    Announced,
    Conditions,
    Incoming,
    file_meta,
)
from scanside.runtime.appliance.receive.ledger import Ledger
from scanside.runtime.appliance.receive.limits import Callers, DiskReserve, Sparing, free_bytes
from scanside.runtime.appliance.receive.quarantine import Quarantine
from scanside.runtime.appliance.receive.spool import Spool, Swept
from scanside.runtime.appliance.store.records import Patient
from scanside.runtime.errors import OutputError
from tests.runtime.appliance.receive.receiving import (
    MR,
    associate,
    configuration,
    data_set_of,
    mr_slice,
    receiver,
    send,
)
from tests.support.appliance import until
from tests.support.dicom_factory import ROOT, save
from tests.support.properties import examples

EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
)


def test_an_instance_is_on_disk_and_in_the_store_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real calls, in their order: sync the file, move it, sync the folder, write the row, answer."""
    seen: list[str] = []
    real_sync, real_replace, real_add, real_store = os.fsync, Path.replace, Ledger.add, scp.Receiver.store

    def fsync(handle: int) -> None:
        seen.append("sync folder" if Path(f"/proc/self/fd/{handle}").resolve().is_dir() else "sync file")
        real_sync(handle)

    def replace(self: Path, target: Path) -> Path:
        if self.suffix == ".part" and "incoming" in self.parts:
            seen.append("move")
        return real_replace(self, target)

    def add(self: Ledger, *args: object) -> object:
        seen.append("row")
        return real_add(self, *args)  # type: ignore[arg-type]

    def store(self: scp.Receiver, event: object) -> object:
        seen.clear()
        answer = real_store(self, event)
        seen.append(f"answer {answer}")
        return answer

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Ledger, "add", add)
    monkeypatch.setattr(scp.Receiver, "store", store)
    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port)
        assert send(association, mr_slice(1)) == 0
        # The first of a study makes two folders, each of which has to be known to the one above.
        assert seen == ["sync file", "sync folder", "sync folder", "move", "sync folder", "row", "answer 0"]
        assert send(association, mr_slice(2)) == 0
        assert seen == ["sync file", "move", "sync folder", "row", "answer 0"]
        association.release()


def test_a_store_that_cannot_be_written_refuses_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Ledger, *args: object) -> object:
        raise OutputError("The store cannot be written.")

    def unexpected(self: Ledger, *args: object) -> object:
        raise ZeroDivisionError("Doe^Ann")

    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port)
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "add", fail)
            assert send(association, mr_slice(1)) == 0xA700
        assert desk.spooled() == [] and desk.incoming() == []
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "add", unexpected)
            assert send(association, mr_slice(1)) == 0x0110
        assert desk.incoming() == []
        assert send(association, mr_slice(1)) == 0
        association.release()
        (entry,) = desk.audited("instance failed")
        assert "ZeroDivisionError" in entry.detail and "Doe" not in entry.detail


def test_the_spool_forgets_what_the_store_does_not_know(tmp_path: Path) -> None:
    mine = Spool(tmp_path / "spool")
    places = [mine.path_of("AAAAA-BBBBB", "1.2", f"1.2.{n}") for n in range(4)]
    for place in places:
        part = mine.new_part()
        part.write_bytes(b"x")
        mine.place(part, place)
    known = {places[0], places[1], "CCCCC-DDDDD/a/b.dcm"}
    # The row of one comes between the reading of the store and the sweep.
    swept = mine.sweep(known, lambda path: path == places[2], older=0)
    assert swept == Swept(1, ("CCCCC-DDDDD/a/b.dcm",))
    assert [(tmp_path / "spool" / place).exists() for place in places] == [True, True, True, False]
    assert mine.sweep(set(), lambda path: False).removed == 0, "they are younger than a minute"
    assert mine.sweep(set(), lambda path: False, cases=["AAAAA-BBBBB"], older=0) == Swept(3, ())
    assert not (tmp_path / "spool" / "AAAAA-BBBBB").exists()


def test_a_folder_that_the_sweep_removes_is_made_again(tmp_path: Path) -> None:
    mine, over = Spool(tmp_path / "spool"), threading.Event()

    def sweep() -> None:
        while not over.is_set():
            mine.sweep(set(), lambda path: False, older=0)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        for number in range(200):
            part = mine.new_part()
            part.write_bytes(b"x")
            place = mine.path_of("AAAAA-BBBBB", "1.2", f"1.{number}")
            with mine.lock(place):
                mine.place(part, place)
                assert (tmp_path / "spool" / place).exists()
    finally:
        over.set()
        thread.join()


def test_an_unfinished_instance_of_an_earlier_process_is_removed(tmp_path: Path) -> None:
    left = Spool(tmp_path / "spool").new_part()
    left.write_bytes(b"half")
    Spool(tmp_path / "spool")
    assert not left.exists()


def test_missing_files_are_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port)
        assert [send(association, mr_slice(number)) for number in (1, 2)] == [0, 0]
        association.release()
        desk.spooled()[0].unlink()
    with receiver(tmp_path / "data") as desk:
        (entry,) = until(lambda: desk.audited("files missing"), 10, "the audit entry")
        assert json.loads(entry.detail) == {"count": 1}
        assert entry.case_id == desk.cases[0].case_id


def test_names_in_the_spool_are_hashes(tmp_path: Path) -> None:
    place = Spool(tmp_path).path_of("AAAAA-BBBBB", "../../etc", "1.2.3")
    case, series, name = place.split("/")
    assert case == "AAAAA-BBBBB" and len(series) == 20 and set(series) <= set("0123456789abcdef")
    assert name == spool.short_hash("1.2.3") + ".dcm"


def test_callers_and_addresses(tmp_path: Path) -> None:
    def callers(*known: tuple[str, str | None]) -> Callers:
        listed = [{"ae_title": title, "address": address} for title, address in known]
        return Callers(configuration(tmp_path / "data", callers=listed).receive)

    judge = callers(("MR1", "10.0.0.1"), ("MR1", "10.0.0.2"), ("MR2", "::1"))
    assert judge.judge("MR1 ", "SCANSIDE ", "10.0.0.2") is None
    assert judge.judge("MR1", "SCANSIDE", "::ffff:10.0.0.1") is None, "IPv4 in IPv6"
    assert judge.judge("MR2", "SCANSIDE", "0:0:0:0:0:0:0:1") is None
    assert judge.judge("MR2", "SCANSIDE", "10.0.0.1") is not None
    assert judge.judge("MR1", "scanside", "10.0.0.1") is not None
    assert judge.reaches("10.0.0.1") and not judge.reaches("10.0.0.9")
    assert callers(("MR1", None)).reaches("10.0.0.9")
    assert callers().judge("ANYBODY", "SCANSIDE", "127.0.0.1") is None


def test_the_same_is_said_a_few_times_a_minute(tmp_path: Path) -> None:
    sparing = Sparing(times=2, seconds=60)
    assert [sparing.may("a", now=t) for t in (0, 1, 2, 3)] == [0, 0, None, None]
    assert sparing.may("b", now=3) == 0
    assert sparing.may("a", now=61) == 2, "so often it was not said"
    assert [sparing.may("a", now=t) for t in (62, 63)] == [0, None]
    for number in range(3000):
        sparing.may(number, now=63)
    assert len(sparing._said) <= 1000


def test_a_lack_of_room_is_one_episode(tmp_path: Path) -> None:
    assert (
        DiskReserve(tmp_path, 0).enough() and not DiskReserve(tmp_path, free_bytes(tmp_path) + 1e12).enough()
    )
    lacking = DiskReserve(tmp_path, free_bytes(tmp_path) + 1e12)
    assert [lacking.lacks() for _ in range(3)] == [True, False, False]
    assert lacking.recovered() == 0
    lacking._reserve = 0
    assert (lacking.recovered(), lacking.recovered()) == (3, 0)
    assert lacking.lacks(), "another episode"


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_identity_in_every_encoding(tmp_path: Path, syntax: str) -> None:
    dataset = mr_slice(1)
    dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "Müller^Jörg"
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.set_original_encoding(syntax == IMPLICIT, syntax != BIG_ENDIAN)
    path = save(dataset, tmp_path / "one.dcm")
    offset = path.stat().st_size - len(data_set_of(path))
    expected = Identity(MR, f"{ROOT}.1.3.1", f"{ROOT}.1", f"{ROOT}.1.2", Patient("P1", "Müller^Jörg"))
    assert identify(path, offset, syntax, 1 << 20) == expected


def test_a_deflated_data_set_that_is_cut_off_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one"
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes((packer.compress(os.urandom(5000)) + packer.flush())[:-2000])
    with pytest.raises(UnreadableError, match="cut off"):
        identify(path, 0, DEFLATED, 1 << 20)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(UnreadableError, match="not deflated"):
        identify(path, 0, DEFLATED, 1 << 20)


@examples(200)
@given(st.binary(max_size=400), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN]))
def test_any_bytes_have_an_identity_or_are_refused(data: bytes, syntax: str) -> None:
    try:
        found = _identity(data, syntax)
    except UnreadableError:
        return
    assert found.study_uid and set(found.study_uid) <= set("0123456789.")


@examples(200)
@given(
    st.lists(
        st.sampled_from([b"\x08\0\x18\0", b"UI", b"UN", b"SQ", b"\x04\0", b"1.2\0", b"\xff\xff\xff\xff",
                         b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0", b"\x20\0\x0d\0", b"\x20\0\x0e\0", b"\0\0"]),
        max_size=60,
    )
)  # fmt: skip
def test_anything_made_of_pieces_of_dicom_has_an_identity_or_is_refused(pieces: list[bytes]) -> None:
    for syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN):
        try:
            _identity(b"".join(pieces), syntax)
        except UnreadableError as error:
            assert str(error)


def test_the_file_meta_is_valid_and_always_the_same(tmp_path: Path) -> None:
    announced = Announced(MR, "1.2.3", EXPLICIT)
    path = tmp_path / "one.dcm"
    path.write_bytes(PREAMBLE + file_meta(announced) + data_set_of(save(mr_slice(1), tmp_path / "two.dcm")))
    meta = pydicom.dcmread(path).file_meta
    pydicom.dataset.validate_file_meta(meta, enforce_standard=False)
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (MR, "1.2.3")
    assert meta.TransferSyntaxUID == EXPLICIT and meta.FileMetaInformationVersion == b"\0\1"
    assert meta.FileMetaInformationGroupLength == len(file_meta(announced)) - 12
    assert file_meta(announced) == file_meta(announced)


def test_an_instance_that_comes_in_is_never_in_memory(tmp_path: Path) -> None:
    conditions = Conditions(Spool(tmp_path), DiskReserve(tmp_path, 0), 10_000)
    one = Incoming(conditions, lambda: Announced(MR, "1.2.3", EXPLICIT))
    for _ in range(9):
        assert one.write(bytes(1000)) == 1000
    one.finish()
    assert one.getbuffer().nbytes == 0 and one.refusal is None and one.part is not None
    assert one.part.stat().st_size == one.size == 9000 + one.offset
    one.discard()
    assert list((tmp_path / "incoming").iterdir()) == []


def test_the_quarantine_keeps_the_newest(tmp_path: Path) -> None:
    kept = Quarantine(tmp_path, most_bytes=300, most_files=10)
    for number in range(5):
        part = tmp_path / f"{number}.part"
        part.write_bytes(bytes([number]) * 100)
        assert kept.keep(part, f"{number:064d}", "because", "MR1") and not part.exists()
    files = sorted(kept.folder.glob("*.dcm"))
    assert [path.read_bytes()[0] for path in files] == [2, 3, 4]
    assert len(list(kept.folder.glob("*.reason"))) == 3
    few = Quarantine(tmp_path / "few", most_files=2)
    for number in range(4):
        part = tmp_path / f"{number}.part"
        part.write_bytes(b"x")
        few.keep(part, "0" * 64, "because", "MR1")
    assert len(list(few.folder.glob("*.dcm"))) == 2
    large = tmp_path / "large.part"
    large.write_bytes(bytes(400))
    assert not kept.keep(large, "0" * 64, "because", "MR1") and not large.exists()


def test_a_data_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    config = Config.model_validate(
        {"service": {"data": file, "bundle": file, "research_use_only": True}, "receive": {"port": 0}}
    )
    with pytest.raises(OutputError, match="cannot be written"):
        main.run(config, threading.Event())
