"""Whom we call: a DICOM entity, or a DICOMweb server; to send to, or to fetch from."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from scanside.runtime.appliance.config.values import AETitle, FilePath, Host, Name, Tls, is_loopback
from scanside.runtime.record import Record


class DicomPeer(Record):
    """A DICOM entity.

    Attributes:
        name: What store, screens and log call it.
        plaintext: Allows a connection without TLS off this machine.
    """

    name: Name
    ae_title: AETitle
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    plaintext: bool = False
    tls: Tls | None = None

    @property
    def where(self) -> str:
        """Its place, for a person: host, port and AE title."""
        return f"{self.host}:{self.port} {self.ae_title}"

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.tls is None and not self.plaintext and not is_loopback(self.host):
            raise ValueError(
                f"{self.name}: {self.host} is not this machine: give its tls, or say plaintext = true"
            )
        return self


class WebPeer(Record):
    """A DICOMweb server.

    Attributes:
        name: What store, screens and log call it.
        url: Of the service, such as `https://pacs/dicom-web`.
        plaintext: Allows http off this machine.
        authority: PEM file with the certificate authority to trust; None for the system's.
        token: File that holds a bearer token.
    """

    name: Name
    url: str
    plaintext: bool = False
    authority: FilePath | None = None
    token: FilePath | None = None

    @property
    def where(self) -> str:
        """Its place, for a person."""
        return self.url

    @model_validator(mode="after")
    def _safe(self) -> Self:
        scheme, _, rest = self.url.partition("://")
        host = rest.split("/", 1)[0].rsplit(":", 1)[0].strip("[]")
        if scheme not in ("http", "https") or not host:
            raise ValueError(f"{self.name}: url must begin with https:// or http://")
        if scheme == "http" and not self.plaintext and not is_loopback(host):
            raise ValueError(f"{self.name}: {host} is not this machine: use https, or say plaintext = true")
        return self


def kind_of(given: Any) -> Any:
    """Which of several records a destination or an archive is; without a `kind` a DICOM peer."""
    if isinstance(given, dict):
        return given.get("kind", "dicom")
    return getattr(given, "kind", None)
