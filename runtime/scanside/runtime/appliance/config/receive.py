"""`[receive]` and `[mrd]`: who may send, what, and when a study is complete."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scanside.runtime.appliance.config.values import (
    Address,
    AETitle,
    FilePath,
    Host,
    Port,
    Seconds,
    Tls,
    is_loopback,
    require_tls,
)
from scanside.runtime.record import Record


class Caller(Record):
    """Who may send.

    Attributes:
        ae_title: Calling AE title.
        address: IP address; None for any.
        priority: Of its studies; a higher one goes first.
    """

    ae_title: AETitle
    address: Address | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class WebReceive(Record):
    """STOW-RS beside the storage SCP, for senders that have DICOMweb alone.

    Attributes:
        ae_title: Stands for its senders in rules, in the queue and in the audit log.
        port: 0 takes a free one and says which (for tests).
        token: File with a bearer token that senders have to show.
        priority: Of its studies; a higher one goes first.
    """

    ae_title: AETitle = "STOW"
    host: Host = "127.0.0.1"
    port: Port = 8042
    plaintext: bool = False
    tls: Tls | None = None
    token: FilePath | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if is_loopback(self.host):
            return self
        require_tls(self.host, self.tls, self.plaintext, "receive.web.tls")
        if self.tls is None and self.token is None:
            raise ValueError(f"host {self.host} is reachable from the network: give a token")
        return self


class Receive(Record):
    """The storage SCP.

    Attributes:
        port: 0 takes a free one and says which (for tests).
        callers: Who may associate; empty allows anybody, which is accepted on loopback only.
        plaintext: Allows a connection without TLS off loopback; the network is then trusted, which the log says.
        max_associations, max_pdu: At once; bytes.
        max_instance_mb, max_study_instances: A larger instance or study is refused.
        idle_seconds: An association that says nothing for so long is aborted.
        quiet_seconds: A study is complete when its associations have closed and nothing came for so long.
        complete_series: A study is complete as soon as it has so many series and its associations have closed.
        step_seconds: A procedure step in progress (MPPS) keeps its study open until it has been silent for so long.
        changed: What becomes of an image that came before and comes again with another header: it is refused (0111), or
            replaces the one before, and its study is computed again. Another picture under its UID is always refused.
        web: STOW-RS; None for none.
        reserve_gb: With less free on the data folder's disk, instances are refused with A700.
    """

    ae_title: AETitle = "SCANSIDE"
    host: Host = "127.0.0.1"
    port: Port = 11112
    callers: tuple[Caller, ...] = ()
    plaintext: bool = False
    tls: Tls | None = None
    max_associations: Annotated[int, Field(ge=1, le=256)] = 16
    max_pdu: Annotated[int, Field(ge=4096, le=1 << 20)] = 65536
    max_instance_mb: Annotated[float, Field(gt=0)] = 512
    max_study_instances: Annotated[int, Field(ge=1)] = 20_000
    idle_seconds: Seconds = 60
    quiet_seconds: Annotated[float, Field(ge=0)] = 30
    complete_series: Annotated[int, Field(ge=1)] | None = None
    step_seconds: Annotated[float, Field(ge=0)] = 1800
    changed: Literal["refuse", "replace"] = "refuse"
    reserve_gb: Annotated[float, Field(ge=0)] = 5
    web: WebReceive | None = None

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if is_loopback(self.host):
            return self
        require_tls(self.host, self.tls, self.plaintext, "receive.tls")
        if not self.callers:
            raise ValueError(f"host {self.host} is reachable from the network: list the callers")
        return self


class Mrd(Record):
    """MRD sessions of a scanner's reconstruction, beside DICOM.

    Attributes:
        ae_title: What the worklist calls the scanner, and rules of destinations; MRD itself has no such name.
        port: 0 switches MRD off; scanners call 9002.
        callers: Addresses that may connect; empty allows any, which is accepted on loopback only.
        plaintext: Allows connections off loopback: MRD has no encryption; the network is then trusted.
        answer_seconds: The session that completes a study waits so long for its labels; what takes longer is retrieved
            by another session.
        max_session_mb: A session with more images is refused.
    """

    ae_title: AETitle = "MRD"
    host: Host = "127.0.0.1"
    port: Port = 0
    callers: tuple[Address, ...] = ()
    plaintext: bool = False
    answer_seconds: Annotated[float, Field(ge=0)] = 0
    max_session_mb: Annotated[float, Field(gt=0)] = 4096

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if is_loopback(self.host):
            return self
        if not self.plaintext:
            raise ValueError(
                f"host {self.host} is reachable from the network, and MRD has no encryption: say plaintext = true"
            )
        if not self.callers:
            raise ValueError(f"host {self.host} is reachable from the network: list the callers")
        return self
