"""TLS as DICOM wants it: both sides show a certificate, nothing below TLS 1.2 (PS3.15 B.12, BCP 195).

Trust is what `authority` has signed, and nothing of the system's: use an authority that signs imaging devices only.
"""

import ssl

from scanside.runtime.appliance.config import Tls
from scanside.runtime.errors import UsageError

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
"""Of TLS 1.2: forward secrecy and authenticated encryption. TLS 1.3 has no others."""


def server_context(tls: Tls) -> ssl.SSLContext:
    """For who is called: the caller has to show a certificate of the authority.

    Raises:
        UsageError: If a file is missing or is not what it should be; it names the file.
    """
    return _prepared(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)


def client_context(tls: Tls, *, check_host: bool = True) -> ssl.SSLContext:
    """For who calls: the certificate of the peer has to be of the authority, and we show ours.

    Args:
        check_host: The certificate has to be for the host that is called. Without it, whoever holds any certificate
            of the authority can pass for the peer.

    Raises:
        UsageError: If a file is missing or is not what it should be; it names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = check_host
    return _prepared(context, tls)


def _prepared(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_ciphers(_CIPHERS)
    for path in (tls.certificate, tls.key, tls.authority):
        try:
            path.open("rb").close()
        except OSError as error:
            raise UsageError(
                f"The TLS file {path} cannot be read ({error.strerror}); check its path."
            ) from error
    try:
        context.load_verify_locations(tls.authority)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            f"{tls.authority} does not hold certificates of an authority in PEM; give the right file."
        ) from error
    try:
        # A key with a password would ask for it at a terminal that a service does not have.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            f"{tls.certificate} and {tls.key} are not a certificate and its key in PEM without a password; "
            "give the right files."
        ) from error
    return context
