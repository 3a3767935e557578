"""Values that several tables of the configuration have: titles, addresses, paths, TLS files."""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from scanside.runtime.record import Record


def _ae_title(title: str) -> str:
    if (
        not title.strip()
        or len(title) > 16
        or "\\" in title
        or not title.isascii()
        or not title.isprintable()
    ):
        raise ValueError("an AE title has 1 to 16 printable ASCII characters without a backslash (PS3.5 6.2)")
    return title.strip()


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"'{text}' is not an IP address; host names are not looked up") from None


def _host(text: str) -> str:
    if not text.strip() or any(letter.isspace() or letter in "/\\" for letter in text.strip()):
        raise ValueError(f"'{text}' is not a host name or address")
    return text.strip()


def _name(text: str) -> str:
    if not text.strip() or len(text) > 64 or not text.isprintable():
        raise ValueError("a name has 1 to 64 printable characters")
    return text.strip()


def _beside(path: Path, info: ValidationInfo) -> Path:
    """A relative path of a file is relative to that file: the service may be started anywhere."""
    if path == Path():
        raise ValueError("the path is empty")
    folder = (info.context or {}).get("folder")
    expanded = path.expanduser()
    return expanded if folder is None or expanded.is_absolute() else Path(folder) / expanded


AETitle = Annotated[str, AfterValidator(_ae_title)]
Address = Annotated[str, AfterValidator(_address)]
Host = Annotated[str, AfterValidator(_host)]
Name = Annotated[str, AfterValidator(_name)]
FilePath = Annotated[Path, AfterValidator(_beside)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


def is_loopback(host: str) -> bool:
    """Whether an address stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Tls(Record):
    """Mutual TLS (PS3.15 B.12, BCP 195): both sides show a certificate that `authority` signed.

    Attributes:
        certificate, key, authority: PEM files.
    """

    certificate: FilePath
    key: FilePath
    authority: FilePath


def require_tls(host: str, tls: Tls | None, plaintext: bool, table: str) -> None:
    """See that a listener that others can reach is encrypted, unless its owner said otherwise.

    Args:
        table: Where its TLS is configured.

    Raises:
        ValueError: If it is not.
    """
    if tls is None and not plaintext:
        raise ValueError(
            f"host {host} is reachable from the network: give [{table}], or say plaintext = true"
        )
