"""Where an engine is: `triton://host:port/model`, or `triton+https://…` through a proxy that has TLS.

This module is imported with the options of every run, so it loads next to nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from scanside.runtime.errors import UsageError

SCHEMES = {"triton": False, "triton+https": True}
"""Scheme → whether TLS is spoken."""
_EXAMPLE = "triton://server:8000/model"


@dataclass(frozen=True)
class Engine:
    """A server that computes whole cases in place of a device of this machine.

    Attributes:
        url: `triton://host:port/model`. Without a model it is the one that `scanside export triton` names so.
        authority: PEM file of the authority that signed the server's certificate; None for the system's.
        seconds: How long one case may take on the server, its time in the queue included.
    """

    url: str
    authority: Path | None = None
    seconds: float = 900.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        try:
            port = parts.port
        except ValueError:
            port = None
        clean = not (parts.query or parts.fragment or parts.username or parts.password)
        if parts.scheme not in SCHEMES or not parts.hostname or not port or not clean or "/" in self._model:
            raise UsageError(f"'{self.url}' is no engine; write it as {_EXAMPLE}, or with triton+https://.")
        if not self.seconds > 0:
            raise UsageError(f"An engine must be given more than {self.seconds:g} s for a case.")

    @property
    def host(self) -> str:
        """Name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Of KServe v2 over HTTP."""
        return urlsplit(self.url).port or 0

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return SCHEMES[urlsplit(self.url).scheme]

    @property
    def model(self) -> str | None:
        """The model that is named, if one is."""
        return self._model or None

    @property
    def _model(self) -> str:
        return urlsplit(self.url).path.strip("/")

    def at(self, model: str) -> str:
        """The address of a model of this server, for people."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.split('/', 1)[0]}/{model}"
