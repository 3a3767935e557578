"""Signatures of bundles and reports, and whose count: every way in which one can be wrong is refused."""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from scanside.runtime.bundle import open_bundle, verify
from scanside.runtime.errors import BundleError, OutputError, ScansideError, UsageError
from scanside.runtime.signing import SignatureError, SigningKey, beside, key_id, sign, sign_file, verify_file
from scanside.runtime.trust import Trust, TrustedKey, judge
from tests.runtime.study.tiny_study import write_bundle
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("bundle-trusted")

OURS, THEIRS = SigningKey.new(), SigningKey.new()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("signed") / "tiny.bundle")


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "tiny.bundle"))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "accept.json"
    path.write_text('{"passed": 41}\n')
    return path


def trusting(*keys: SigningKey, **more: Any) -> Trust:
    named = tuple(TrustedKey(name=f"key {number}", key=key.public) for number, key in enumerate(keys, 1))
    return Trust(keys=named, **more)


def refusal(bundle: Path, trust: Trust) -> str:
    with pytest.raises(BundleError) as caught:
        judge(open_bundle(bundle), trust)
    assert_one_sentence(str(caught.value))
    return str(caught.value)


def edited(document: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(beside(document).read_text())
    change(content)
    beside(document).write_text(json.dumps(content))


def test_a_bundle_of_a_trusted_key_runs_and_stays_whole(bundle: Path) -> None:
    sign_file(bundle / "bundle.json", "bundle", OURS, "Medical physics")
    standing = judge(open_bundle(bundle), trusting(OURS))
    assert standing.signer == "key 1"
    verify(open_bundle(bundle))


def test_a_stranger_s_bundle_is_refused(bundle: Path) -> None:
    sign_file(bundle / "bundle.json", "bundle", THEIRS, "Medical physics")
    words = refusal(bundle, trusting(OURS))
    assert "Medical physics, whose key is not trusted" in words and "'tiny'" in words


def test_a_bundle_that_nobody_signed_runs_only_by_name(bundle: Path) -> None:
    assert "is not signed" in refusal(bundle, Trust())
    assert "is not signed" in refusal(bundle, trusting(OURS, allow=("tin", "tiny2")))
    assert judge(open_bundle(bundle), Trust(allow=("tiny",))).signer is None
    sha256 = open_bundle(bundle).sha256
    assert judge(open_bundle(bundle), Trust(allow=(f"tiny@{sha256}",))).signer is None
    assert "is not signed" in refusal(bundle, Trust(allow=(f"tiny@{'0' * 64}",)))


def test_an_altered_bundle_is_refused_even_when_it_is_allowed_by_name(bundle: Path) -> None:
    sign_file(bundle / "bundle.json", "bundle", OURS, "us")
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["intended_use"] = "anything"
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    assert "not what was signed" in refusal(bundle, trusting(OURS, allow=("tiny",)))


def test_a_bundle_that_changes_between_opening_and_judging_is_refused(bundle: Path) -> None:
    opened = open_bundle(bundle)
    manifest = bundle / "bundle.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    sign_file(manifest, "bundle", OURS, "us")
    with pytest.raises(BundleError, match="changed after it was opened"):
        judge(opened, trusting(OURS))


def test_revoked_keys_and_bundles_count_no_longer(bundle: Path) -> None:
    manifest = bundle / "bundle.json"
    sign_file(manifest, "bundle", OURS, "us")
    revoked = key_id(OURS.public)
    assert "revoked key" in refusal(bundle, trusting(OURS, THEIRS, revoked=(revoked,), allow=("tiny",)))
    sign_file(manifest, "bundle", THEIRS, "us, with the next key")  # rotation: both are on it
    assert judge(open_bundle(bundle), trusting(OURS, THEIRS, revoked=(revoked,))).signer == "key 2"
    assert len(verify_file(manifest, "bundle")) == 2
    sha256 = open_bundle(bundle).sha256
    assert "is revoked" in refusal(bundle, trusting(THEIRS, revoked=(sha256,), allow=("tiny",)))


def test_a_key_signs_only_what_it_may(bundle: Path) -> None:
    sign_file(bundle / "bundle.json", "bundle", OURS, "a physicist")
    key = TrustedKey(name="physicist", key=OURS.public, signs=("acceptance report",))
    assert "not trusted" in refusal(bundle, Trust(keys=(key,)))


def test_a_report_s_signature_is_not_a_bundle_s(report: Path) -> None:
    sign_file(report, "acceptance report", OURS, "physicist")
    (proven,) = verify_file(report, "acceptance report")
    assert proven.signer == "physicist" and proven.key_id == key_id(OURS.public)
    with pytest.raises(SignatureError, match="as 'acceptance report', not as 'bundle'"):
        verify_file(report, "bundle")
    edited(report, lambda content: content.update(kind="bundle"))
    with pytest.raises(SignatureError, match="not by the key"):
        verify_file(report, "bundle")


@given(place=st.integers(0, 14), bit=st.integers(0, 7))
def test_an_altered_report_is_refused(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    report = tmp_path_factory.mktemp("altered") / "accept.json"
    report.write_text('{"passed": 41}\n')
    sign_file(report, "acceptance report", OURS, "physicist")
    data = bytearray(report.read_bytes())
    data[place] ^= 1 << bit
    report.write_bytes(bytes(data))
    with pytest.raises(SignatureError, match="not what was signed"):
        verify_file(report, "acceptance report")


@pytest.mark.parametrize("field", ["signer", "at", "key", "signature"])
def test_no_part_of_a_signature_can_be_changed(report: Path, field: str) -> None:
    sign_file(report, "acceptance report", OURS, "physicist")
    other = {
        "signer": "chief physicist",
        "at": "2020-01-01T00:00:00Z",
        "key": THEIRS.public,
        "signature": base64.b64encode(bytes(64)).decode(),
    }
    edited(report, lambda content: content["signatures"][0].update({field: other[field]}))
    with pytest.raises(SignatureError, match="not by the key"):
        verify_file(report, "acceptance report")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "scanside.signatures/9"}'])
def test_a_damaged_signature_file_is_refused(report: Path, text: str) -> None:
    beside(report).write_text(text)
    with pytest.raises(SignatureError, match="damaged"):
        verify_file(report, "acceptance report")


def test_a_file_that_lost_its_signature_is_unsigned(report: Path) -> None:
    assert verify_file(report, "acceptance report") == ()


def test_a_signer_is_one_line(report: Path) -> None:
    for words in ("", "two\nlines", "x" * 121):
        with pytest.raises(UsageError):
            sign(report.read_bytes(), "acceptance report", OURS, words)


def test_the_signature_is_plain_ed25519_of_the_documented_bytes(report: Path) -> None:
    made = sign_file(report, "acceptance report", OURS, "physicist")
    sha256 = hashlib.sha256(report.read_bytes()).hexdigest()
    message = f"scanside signature 1\nacceptance report\n{sha256}\nphysicist\n{made.at}\n".encode()
    raw = base64.b64decode(made.key.removeprefix("ed25519:"))
    Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(made.signature), message)


def test_keys_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "physics.key"
    OURS.write(path, b"word")
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.read(path, b"word").public == OURS.public
    for password in (None, b"another"):
        with pytest.raises(UsageError, match="password"):
            SigningKey.read(path, password)
    with pytest.raises(OutputError):
        THEIRS.write(path)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        SigningKey.read(path, b"word")
    for broken in (tmp_path / "none.key", tmp_path / "no.key"):
        (tmp_path / "no.key").write_text("no key")
        (tmp_path / "no.key").chmod(0o600)
        with pytest.raises(ScansideError):
            SigningKey.read(broken)


@pytest.mark.parametrize("key", ["ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:%%%"])
def test_a_key_in_the_configuration_is_a_key(key: str) -> None:
    with pytest.raises(ValueError):
        TrustedKey(name="x", key=key)


def test_a_key_is_trusted_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        trusting(OURS, OURS)
