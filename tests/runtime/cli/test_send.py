"""`scanside send` to dcmtk's receiver: what arrives is what was sent."""

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from tests.runtime.cli.conftest import Command
from tests.runtime.cli.receivers import Receiver, storescp
from tests.support.dicom_factory import save, stored_values, write_series
from tests.support.peers import free_port
from tests.support.sentences import assert_one_sentence
from tests.support.tls_files import make_tls


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with storescp(tmp_path / "received") as running:
        yield running


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = write_series(tmp_path / "study" / "t2", stored_values())
    (tmp_path / "study" / "notes.txt").write_text("not an image")
    return folder.parent


@pytest.fixture
def anything(tmp_path: Path) -> Iterator[Receiver]:
    with storescp(tmp_path / "all", "+xa") as running:
        yield running


def to(receiver: Receiver | int) -> tuple[str, str, str, str]:
    port = receiver if isinstance(receiver, int) else receiver.port
    return ("--to", f"127.0.0.1:{port}", "--called", "STORESCP")


def pixels(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".txt":
            dataset = pydicom.dcmread(path)
            found[str(dataset.SOPInstanceUID)] = dataset.pixel_array.tobytes()
    return found


def test_a_folder_arrives_whole(scanside: Command, study: Path, receiver: Receiver) -> None:
    found = scanside("send", *to(receiver), study)
    assert found.code == 0 and len(found.out.splitlines()) == 5
    assert "5 of 5 objects sent" in found.err and "1 files are no DICOM" in found.err
    assert pixels(receiver.folder) == pixels(study)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_every_transfer_syntax_gets_through(
    scanside: Command, tmp_path: Path, anything: Receiver, syntax: pydicom.uid.UID
) -> None:
    folder = write_series(tmp_path / "other", stored_values())
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        if syntax.is_compressed:
            dataset.compress(syntax)
        else:
            if not syntax.is_little_endian:
                dataset.PixelData = dataset.pixel_array.byteswap().tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
        save(dataset, path)
    found = scanside("send", *to(anything), folder)
    assert found.code == 0, found.err
    assert pixels(anything.folder) == pixels(folder) and len(pixels(folder)) == 5


def test_what_is_refused_is_named_with_its_reason(scanside: Command, study: Path, receiver: Receiver) -> None:
    files = sorted((study / "t2").iterdir())
    compressed = pydicom.dcmread(files[0])
    compressed.compress(RLELossless)
    save(compressed, files[0])  # this receiver takes uncompressed objects alone
    files[1].write_bytes(files[1].read_bytes()[:300])
    found = scanside("send", *to(receiver), study, "--json")
    assert found.code == 1 and len(found.json["sent"]) == 3 and len(receiver.received()) == 3
    refused = {Path(one["path"]).name: one["reason"] for one in found.json["refused"]}
    assert set(refused) == {files[0].name, files[1].name}
    for reason in refused.values():
        assert_one_sentence(reason)
    assert "transfer syntax" in refused[files[0].name]


def test_many_kinds_of_objects_take_several_associations(
    scanside: Command, study: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scanside.runtime.cli.send._MOST_CONTEXTS", 1)
    first, second, *_ = sorted((study / "t2").iterdir())
    for number, path in enumerate((first, second)):
        dataset = pydicom.dcmread(path)
        dataset.SOPClassUID = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7")[number]
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        save(dataset, path)
    assert scanside("send", *to(receiver), study).code == 0 and len(receiver.received()) == 5


def test_over_tls(scanside: Command, study: Path, tmp_path: Path) -> None:
    tls = make_tls(tmp_path / "tls")
    with storescp(tmp_path / "secure", tls=tls.server) as receiver:
        files = (
            "--certificate",
            tls.client.certificate,
            "--key",
            tls.client.key,
            "--authority",
            tls.client.authority,
        )
        assert scanside("send", *to(receiver), *files, study).code == 0
        assert len(receiver.received()) == 5
        stranger = ("--certificate", tls.imposter.certificate, "--key", tls.imposter.key,
                    "--authority", tls.imposter.authority)  # fmt: skip
        assert scanside("send", *to(receiver), *stranger, study).code == 1
        assert scanside("send", *to(receiver), study).code == 1, "plaintext"
        assert len(receiver.received()) == 5


def test_our_own_receiver_is_the_default(
    scanside: Command, study: Path, receiver: Receiver, tmp_path: Path
) -> None:
    config = tmp_path / "scanside.toml"
    config.write_text(
        '[service]\ndata = "data"\nbundle = "b"\nresearch_use_only = true\n'
        f'[receive]\nae_title = "STORESCP"\nport = {receiver.port}\n'
    )
    assert scanside("send", "-c", config, study).code == 0 and len(receiver.received()) == 5


def test_nobody_there_refuses_every_file_with_the_reason(scanside: Command, study: Path) -> None:
    found = scanside("send", *to(free_port()), study, "--json")
    assert found.code == 1 and len(found.json["refused"]) == 5
    assert_one_sentence(found.json["refused"][0]["reason"], "cannot be reached")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--to", "pacs"), "HOST:PORT"),
        (("--to", "pacs.example:104"), "--plaintext"),
        (("--to", "127.0.0.1:104", "--key", "x.pem"), "--certificate"),
        (("--to", "127.0.0.1:104", "--called", "A title that is too long"), "AE title"),
    ],
)
def test_nonsense_is_refused(scanside: Command, study: Path, arguments: tuple[str, ...], word: str) -> None:
    found = scanside("send", *arguments, study)
    assert found.code == 2
    assert_one_sentence(found.err.strip(), word)


def test_a_folder_without_dicom_is_refused(scanside: Command, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    found = scanside("send", *to(104), tmp_path)
    assert found.code == 5
    assert_one_sentence(found.err.strip(), "no DICOM files")
    assert scanside("send", *to(104), tmp_path / "none").code == 5
