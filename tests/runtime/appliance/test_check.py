"""`scanside serve --check`: what is right is found right, and each fault by its name."""

import fcntl
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.uid import ComprehensiveSRStorage, SegmentationStorage

from scanside.runtime.appliance.check import Finding, check, print_findings, runs
from scanside.runtime.appliance.config import (
    Config,
    DicomDestination,
    Fetch,
    Receive,
    Rule,
    Send,
    Service,
    Tls,
    Watch,
    WebDestination,
    WebReceive,
    Work,
)
from scanside.runtime.appliance.deliver.classes import NAMES
from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.schema import VERSION
from scanside.runtime.appliance.watch.health import examine
from scanside.runtime.trust import Trust
from tests.runtime.appliance.deliver.scripted import peer
from tests.runtime.study.tiny_study import TinyBundle, write_bundle
from tests.support.peers import Orthanc, free_port
from tests.support.sentences import assert_one_sentence
from tests.support.tls_files import TlsFiles, make_tls


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("checked") / "tiny.bundle")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    made = make_tls(tmp_path_factory.mktemp("tls"))
    for key in made.server.key.parent.glob("*.key"):
        key.chmod(0o600)
    return made


@pytest.fixture
def config(tmp_path: Path, bundle: Path) -> Config:
    (tmp_path / "data").mkdir(mode=0o700)
    with Database(tmp_path / "data" / "scanside.db", create=True) as database:
        audit.record(database, "test", "started", detail={})
    return Config(
        service=Service(data=tmp_path / "data", bundle=bundle, research_use_only=True),
        trust=Trust(allow=("tiny",)),
        receive=Receive(port=free_port(), reserve_gb=0),
        send=Send(commitment_port=free_port(), timeout_seconds=3),
        watch=Watch(port=0),
    )


def test_a_bundle_that_nobody_trusts_is_found(config: Config) -> None:
    distrusting = config.model_copy(update={"trust": Trust()})
    (found,) = [one for one in check(distrusting) if one.what == "bundle"]
    assert not found.ok and "allow 'tiny' by name" in found.sentence
    (found,) = [one for one in check(config) if one.what == "bundle"]
    assert found.ok and "allowed by name" in found.sentence


@pytest.fixture
def verifier() -> Iterator[int]:
    """The port of a DICOM server that takes whatever is sent."""
    from pynetdicom import AE

    entity = AE("PACS")
    for sop_class in ("1.2.840.10008.1.1", *NAMES):
        entity.add_supported_context(sop_class)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    yield server.server_address[1]
    server.shutdown()


def fault(config: Config) -> Finding:
    """The one thing that is not ok."""
    faults = [finding for finding in check(config) if not finding.ok]
    assert len(faults) == 1, faults
    assert faults[0].sentence.endswith(".") and "\n" not in faults[0].sentence
    return faults[0]


def with_(config: Config, **parts: object) -> Config:
    return config.model_copy(update=parts)


def test_everything_right_is_found_right(
    config: Config, verifier: int, tls: TlsFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    pacs = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=verifier)
    receive = config.receive.model_copy(update={"tls": tls.server})
    findings = check(with_(config, destinations=(pacs,), receive=receive))
    assert all(finding.ok for finding in findings), findings
    assert {finding.what for finding in findings} == {
        "data folder", "disk", "store", "audit log", "receive.tls", "bundle", "device", "receive.port",
        "send.commitment_port", "completion", "destination pacs",
    }  # fmt: skip
    assert print_findings(findings) == 0
    assert capsys.readouterr().out.count("\nok ") == len(findings) - 1


def test_checking_changes_nothing(config: Config) -> None:
    before = sorted(path.name for path in config.service.data.iterdir())
    with Database(config.database) as database:
        head = audit.head(database)
    check(config)
    with Database(config.database) as database:
        assert audit.head(database) == head
    assert sorted(path.name for path in config.service.data.iterdir()) == before


def test_a_first_start_needs_a_place_for_the_data(config: Config, tmp_path: Path) -> None:
    fresh = with_(config, service=config.service.model_copy(update={"data": tmp_path / "new" / "data"}))
    assert next(iter(check(fresh))).sentence.endswith("will be made.")
    assert not (tmp_path / "new").exists()


def test_data_that_others_may_read_are_a_fault(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    config.service.data.chmod(0o755)
    found = fault(config)
    assert found.what == "data folder" and "chmod 700" in found.sentence
    assert print_findings([found]) == 1 and capsys.readouterr().out.startswith("NO ")


def test_data_of_another_user_are_a_fault(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    found = fault(config)
    assert found.what == "data folder" and "belongs to user" in found.sentence


def test_a_full_disk_is_a_fault(config: Config) -> None:
    receive = config.receive.model_copy(update={"reserve_gb": 1e9})
    assert "reserve" in fault(with_(config, receive=receive)).sentence


def test_a_damaged_store_is_a_fault(config: Config) -> None:
    config.database.write_bytes(b"SQLite format 3\0" + bytes(4096))
    assert fault(config).what == "store"


def test_a_store_of_a_newer_program_is_a_fault(config: Config) -> None:
    with closing(sqlite3.connect(config.database)) as store:
        store.execute(f"PRAGMA user_version = {VERSION + 1}")
    found = fault(config)
    assert found.what == "store" and "newer" in found.sentence


def test_an_older_store_is_announced_and_left_alone(config: Config) -> None:
    with closing(sqlite3.connect(config.database)) as store:
        store.execute("PRAGMA user_version = 0")
    (found,) = [finding for finding in check(config) if finding.what == "store"]
    assert found.ok and "back it up" in found.sentence
    with closing(sqlite3.connect(config.database)) as store:
        assert store.execute("PRAGMA user_version").fetchone()[0] == 0


def test_a_forged_audit_log_is_a_fault(config: Config) -> None:
    with closing(sqlite3.connect(config.database, isolation_level=None)) as store:
        store.execute("DROP TRIGGER audit_is_not_changed")
        store.execute("UPDATE audit SET actor = 'nobody'")
    found = fault(config)
    assert found.what == "audit log" and "changed" in found.sentence


@pytest.mark.parametrize(
    ("name", "words"), [("expired", "expired"), ("imposter", "issuer"), ("server", None), ("elsewhere", None)]
)
def test_the_certificate_of_the_receiver_is_tried(
    config: Config, tls: TlsFiles, name: str, words: str | None
) -> None:
    receive = config.receive.model_copy(update={"tls": getattr(tls, name)})
    (found,) = [finding for finding in check(with_(config, receive=receive)) if finding.what == "receive.tls"]
    assert found.ok is (words is None) and (words or "valid for") in found.sentence


def test_tls_files_that_do_not_fit_are_faults(config: Config, tls: TlsFiles, tmp_path: Path) -> None:
    wrong_key = Tls(certificate=tls.server.certificate, key=tls.client.key, authority=tls.server.authority)
    receive = config.receive.model_copy(update={"tls": wrong_key})
    assert "certificate and its key" in fault(with_(config, receive=receive)).sentence
    missing = tls.server.model_copy(update={"key": tmp_path / "none.pem"})
    receive = config.receive.model_copy(update={"tls": missing})
    assert "none.pem" in fault(with_(config, receive=receive)).sentence


def test_a_key_that_everybody_may_read_is_a_fault(config: Config, tls: TlsFiles, tmp_path: Path) -> None:
    key = tmp_path / "open.key"
    key.write_bytes(tls.server.key.read_bytes())
    key.chmod(0o644)
    receive = config.receive.model_copy(update={"tls": tls.server.model_copy(update={"key": key})})
    assert "chmod o=" in fault(with_(config, receive=receive)).sentence


def test_a_bundle_that_was_changed_is_a_fault(config: Config, bundle: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(bundle, tmp_path / "copy.bundle"))
    target = next(copy.rglob("*.onnx"))
    target.write_bytes(target.read_bytes()[:-1] + b"x")
    found = fault(with_(config, service=config.service.model_copy(update={"bundle": copy})))
    assert found.what == "bundle" and "sha256" in found.sentence


def test_a_bundle_without_a_classifier_is_a_fault(config: Config, tmp_path: Path) -> None:
    segmenters = write_bundle(tmp_path / "segmenters.bundle", TinyBundle(classifier=False))
    found = fault(with_(config, service=config.service.model_copy(update={"bundle": segmenters})))
    assert found.what == "bundle" and "no classifier" in found.sentence


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (Work(device="abacus"), "abacus"),
        (Work(device="cpu", precision="int3"), "int3"),
        (Work(device="cpu"), ""),
    ],
)
def test_the_device_is_looked_for(config: Config, work: Work, words: str) -> None:
    (found,) = [finding for finding in check(with_(config, work=work)) if finding.what == "device"]
    assert found.ok is (not words) and words in found.sentence


def test_a_taken_port_is_a_fault(config: Config) -> None:
    with socket.create_server(("127.0.0.1", config.receive.port)):
        found = fault(config)
    assert found.what == "receive.port" and str(config.receive.port) in found.sentence


def test_ports_are_not_tried_while_the_service_runs(config: Config) -> None:
    assert not runs(config)
    with (
        (config.service.data / "serve.lock").open("a") as lock,
        socket.create_server(("127.0.0.1", config.receive.port)),
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert runs(config) and all(finding.ok for finding in check(config))
    assert not runs(config)


def test_a_destination_that_does_not_answer_is_a_fault(config: Config) -> None:
    pacs = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=free_port())
    found = fault(with_(config, destinations=(pacs,)))
    assert found.what == "destination pacs"
    web = WebDestination(name="web", url=f"http://127.0.0.1:{free_port()}/dicom-web")
    assert fault(with_(config, destinations=(web,))).what == "destination web"


def about(config: Config, destination: DicomDestination) -> list[Finding]:
    findings = check(with_(config, destinations=(destination,)))
    return [found for found in findings if found.what.startswith(("destination", "send.commitment_host"))]


def test_what_a_destination_does_not_take_is_named(config: Config) -> None:
    with peer(takes=(SegmentationStorage, ComprehensiveSRStorage), commitment=False) as pacs:
        (found,) = about(config, pacs.destination())
        assert not found.ok
        assert_one_sentence(
            found.sentence, "Comprehensive 3D SR Storage", "Key Object Selection", "Secondary Capture",
            "Storage Commitment", "comprehensive_sr = true",
        )  # fmt: skip
        assert "Segmentation Storage" not in found.sentence
        rule = Rule(objects=("seg", "sr"))
        (found,) = about(config, pacs.destination(rule=rule, commitment=False, comprehensive_sr=True))
        assert found.ok and "refuses nothing" in found.sentence
        assert pacs.got == [], "nothing was sent"


def test_answers_to_commitment_that_cannot_come_are_a_fault(config: Config) -> None:
    """The default listener is the loopback, where no PACS of the network calls back."""
    remote = DicomDestination(name="pacs", ae_title="PACS", host="192.0.2.1", port=104, plaintext=True)
    send = config.send.model_copy(update={"timeout_seconds": 0.2})
    found, _ = about(with_(config, send=send), remote)
    assert found.what == "send.commitment_host" and not found.ok
    assert_one_sentence(found.sentence, "pacs cannot call back", "127.0.0.1", "commitment = false")
    assert "pacs cannot call back" in examine(with_(config, destinations=(remote,)))["notes"][0]
    (other,) = about(with_(config, send=send), remote.model_copy(update={"commitment": False}))
    assert other.what == "destination pacs"


def test_what_completes_a_study_is_said_and_a_limit_that_limits_nothing_is_a_fault(config: Config) -> None:
    (found,) = [one for one in check(config) if one.what == "completion"]
    assert found.ok and "silence" in found.sentence and "MPPS" in found.sentence
    receive = config.receive.model_copy(update={"quiet_seconds": 60, "step_seconds": 30})
    (found,) = [one for one in check(with_(config, receive=receive)) if one.what == "completion"]
    assert not found.ok and "receive.step_seconds" in found.sentence


def test_a_token_of_the_web_receiver_is_looked_at(config: Config, tmp_path: Path) -> None:
    token = tmp_path / "token"
    web = WebReceive(port=0, token=token)
    watched = with_(config, receive=config.receive.model_copy(update={"web": web}))

    def found() -> Finding:
        return next(one for one in check(watched) if one.what == "receive.web.token")

    assert_one_sentence(found().sentence, "cannot be read", "receive.web.token")
    token.write_text("short")
    assert not found().ok
    token.write_text("0123456789abcdef")
    token.chmod(0o644)
    assert not found().ok and "chmod" in found().sentence
    token.chmod(0o600)
    assert found().ok


def test_an_archive_that_cannot_be_fetched_from_is_found(config: Config, tmp_path: Path) -> None:
    def archived(receive: Receive | None = None, **archive: object) -> Config:
        fetch = Fetch.model_validate({"archives": [{"name": "archive", **archive}]})
        return with_(config, fetch=fetch, receive=receive or config.receive)

    def at(port: int) -> dict[str, object]:
        return {"ae_title": "PACS", "host": "127.0.0.1", "port": port}

    with Orthanc(tmp_path / "a", dicom_web=True, modalities={"SCANSIDE": ("127.0.0.1", 1)}) as orthanc:
        for right in (at(orthanc.port), {"kind": "dicomweb", "url": orthanc.dicom_web}):
            for priors in (False, True):
                (found,) = [
                    one for one in check(archived(**right, priors=priors)) if one.what == "archive archive"
                ]
                assert found.ok and ("lets reports be searched" in found.sentence) is priors, found
        wrong = {"kind": "dicomweb", "url": f"{orthanc.url}/nothing"}
        assert "HTTP 404" in fault(archived(**wrong)).sentence
        other = archived(**at(orthanc.port))
        other = with_(other, send=other.send.model_copy(update={"ae_title": "OTHER"}))
        words = "ended the association at C-MOVE; check that it knows OTHER"
        assert words in fault(other).sentence
    with peer() as one:
        assert "does not take C-FIND and C-MOVE" in fault(archived(**at(one.port))).sentence
        assert "C-MOVE and C-GET" in fault(archived(**at(one.port), priors=True)).sentence
    assert "connection refused" in fault(archived(**at(free_port()))).sentence
    off = {**at(1), "host": "192.0.2.1", "plaintext": True}
    assert "receive.host to an address" in fault(archived(**off)).sentence
