"""The TLS contexts themselves: who gets through to whom."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from scanside.runtime.appliance.config import Tls
from scanside.runtime.appliance.tls import client_context, server_context
from scanside.runtime.errors import UsageError
from tests.support.tls_files import TlsFiles, make_tls

pytestmark = pytest.mark.requirement("callers")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls(tmp_path_factory.mktemp("tls"))


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """The version agreed on; None if either side refuses."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    answers: list[bytes] = []

    def serve() -> None:
        try:
            with server.wrap_socket(ours, server_side=True) as wrapped:
                answers.append(wrapped.recv(1))
                wrapped.sendall(b"y")
        except OSError:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname="localhost") as wrapped:
            wrapped.sendall(b"x")
            # In TLS 1.3 the client learns only here that its certificate was refused.
            return wrapped.version() if wrapped.recv(1) == b"y" else None
    except OSError:
        return None
    finally:
        theirs.close()
        thread.join(10)


def test_both_sides_show_a_certificate_of_the_authority(files: TlsFiles) -> None:
    assert shake(server_context(files.server), client_context(files.client)) == "TLSv1.3"


@pytest.mark.parametrize("who", ["expired", "stranger", "imposter"])
def test_a_caller_without_a_valid_certificate_is_refused(files: TlsFiles, who: str) -> None:
    assert shake(server_context(files.server), client_context(getattr(files, who))) is None


@pytest.mark.parametrize("who", ["expired", "imposter", "elsewhere"])
def test_a_peer_without_a_valid_certificate_is_not_called(files: TlsFiles, who: str) -> None:
    assert shake(server_context(getattr(files, who)), client_context(files.client)) is None


def test_the_host_name_is_checked_unless_said_otherwise(files: TlsFiles) -> None:
    assert shake(server_context(files.elsewhere), client_context(files.client, check_host=False)) is not None


def test_a_caller_without_a_certificate_is_refused(files: TlsFiles) -> None:
    bare = ssl.create_default_context(cafile=str(files.client.authority))
    assert shake(server_context(files.server), bare) is None


def test_nothing_below_tls_1_2(files: TlsFiles) -> None:
    context = server_context(files.server)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    plain = client_context(files.client)
    plain.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(context, plain) == "TLSv1.2"
    assert all("CBC" not in cipher["name"] for cipher in context.get_ciphers())


@pytest.mark.parametrize("field", ["certificate", "key", "authority"])
def test_a_file_that_is_missing_or_something_else_is_named(
    files: TlsFiles, tmp_path: Path, field: str
) -> None:
    missing = files.server.model_copy(update={field: tmp_path / "none.pem"})
    with pytest.raises(UsageError, match=r"none\.pem cannot be read"):
        server_context(missing)
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("hello")
    with pytest.raises(UsageError, match=r"wrong\.pem"):
        client_context(files.server.model_copy(update={field: wrong}))


def test_a_key_of_another_certificate_is_refused(files: TlsFiles) -> None:
    mixed = Tls(certificate=files.server.certificate, key=files.client.key, authority=files.server.authority)
    with pytest.raises(UsageError, match="not a certificate and its key"):
        server_context(mixed)


def test_a_key_with_a_password_does_not_ask_for_it(files: TlsFiles, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(files.server.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(UsageError, match="without a password"):
        server_context(files.server.model_copy(update={"key": locked}))
