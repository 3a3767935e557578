"""Certificates for tests: an authority, what it signed, what it did not, and what is out of date."""

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme

from scanside.runtime.appliance.config import Tls

NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class TlsFiles:
    """Each with certificate, key and authority; the authority is the good one but for `stranger`.

    Attributes:
        server, client: Signed by the authority.
        expired: Signed by it, until yesterday.
        stranger: Of another authority, which it also trusts.
        imposter: Of another authority; it trusts the good one.
        elsewhere: Signed by the authority for another host.
    """

    server: Tls
    client: Tls
    expired: Tls
    stranger: Tls
    imposter: Tls
    elsewhere: Tls


def make_tls(folder: Path) -> TlsFiles:
    """Write the files."""
    folder.mkdir(parents=True, exist_ok=True)
    ours, theirs = trustme.CA(), trustme.CA()
    good = _authority(ours, folder / "authority.pem")
    other = _authority(theirs, folder / "stranger-authority.pem")
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    stranger = _issue(theirs, folder / "stranger", other)
    return TlsFiles(
        server=_issue(ours, folder / "server", good),
        client=_issue(ours, folder / "client", good),
        expired=_issue(ours, folder / "expired", good, not_after=yesterday),
        stranger=stranger,
        imposter=stranger.model_copy(update={"authority": good}),
        elsewhere=_issue(ours, folder / "elsewhere", good, names=("pacs.example.org",)),
    )


def _authority(authority: trustme.CA, path: Path) -> Path:
    authority.cert_pem.write_to_path(str(path))
    return path


def _issue(
    authority: trustme.CA,
    stem: Path,
    trusted: Path,
    names: tuple[str, ...] = NAMES,
    not_after: datetime.datetime | None = None,
) -> Tls:
    certificate, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
    issued = authority.issue_cert(*names, not_after=not_after)
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    return Tls(certificate=certificate, key=key, authority=trusted)
