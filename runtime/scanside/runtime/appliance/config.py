"""`scanside.toml`: what an appliance receives, computes, keeps and sends. Unknown keys are errors.

A commented example lies beside this module (`example.toml`); docs/appliance.md explains it.
"""

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from scanside.runtime.appliance.accept import Accept
from scanside.runtime.appliance.faults import sentences
from scanside.runtime.errors import UsageError
from scanside.runtime.options import Options
from scanside.runtime.plan import Record


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


class Service(Record):
    """The appliance as a whole.

    Attributes:
        data: Folder of the store, the received studies and the results.
        bundle: The bundle that studies are run with.
        research_use_only: Has to be `true`: somebody has read that results are for research use only.
        require_review: Results are sent only after a person has accepted them.
        open_before_accept: The terminal lets a result be accepted only after its images were opened there.
        show_names: The terminal may show patient names; otherwise only pseudonymous case ids.
    """

    data: FilePath
    bundle: FilePath
    research_use_only: bool
    require_review: bool = False
    open_before_accept: bool = True
    show_names: bool = False

    @model_validator(mode="after")
    def _acknowledged(self) -> Self:
        if not self.research_use_only:
            raise ValueError("research_use_only must be true: results are for research use only")
        return self


class Caller(Record):
    """Who may send.

    Attributes:
        ae_title: Calling AE title.
        address: IP address; None for any.
    """

    ae_title: AETitle
    address: Address | None = None


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
        changed: What becomes of an image that came before and comes again with another header: it is refused (0111), or
            replaces the one before, and its study is computed again. Another picture under its UID is always refused.
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
    changed: Literal["refuse", "replace"] = "refuse"
    reserve_gb: Annotated[float, Field(ge=0)] = 5

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if is_loopback(self.host):
            return self
        if self.tls is None and not self.plaintext:
            raise ValueError(
                f"host {self.host} is reachable from the network: give [receive.tls], or say plaintext = true"
            )
        if not self.callers:
            raise ValueError(f"host {self.host} is reachable from the network: list the callers")
        return self


class Work(Record):
    """How a study is computed. The first seven are those of `scanside run`.

    Attributes:
        stage_seconds: A stage that takes longer is stopped, and the study tried again.
        tries: Then it is quarantined.
        backoff_seconds: Before the second try; doubled for each further one.
    """

    device: str = "auto"
    precision: str = "auto"
    mirroring: bool = True
    step_size: Annotated[float, Field(gt=0, le=1)] = 0.5
    folds: tuple[str, ...] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    on_rejection: Literal["fail", "next"] | None = None
    stage_seconds: Seconds = 900
    tries: Annotated[int, Field(ge=1)] = 3
    backoff_seconds: Annotated[float, Field(ge=0)] = 20

    def options(self) -> Options:
        """For `StudyRunner`."""
        return Options(
            device=self.device,
            precision=self.precision,
            mirroring=self.mirroring,
            step_size=self.step_size,
            folds=self.folds,
            threads=self.threads,
            on_rejection=self.on_rejection,
        )


Kind = Literal["seg", "sr", "sc", "key", "reject"]
ResultStatus = Literal["ok", "indeterminate", "no lesion segmented", "unsuitable input"]


def _report_alone() -> dict[ResultStatus, tuple[Kind, ...]]:
    return {"unsuitable input": ("sr", "reject")}


class Rule(Record):
    """What a destination gets.

    Attributes:
        objects: Kinds of result objects. `reject`, a note that rejects what an older result of the study had sent, is
            not among them unless it is named.
        statuses: Of which results.
        objects_of: Status → those of `objects` that are sent of such a result. Of unsuitable input the report alone.
        calling: Only of studies from these AE titles; empty for all.
    """

    objects: tuple[Kind, ...] = ("seg", "sr", "sc", "key")
    statuses: tuple[ResultStatus, ...] = ("ok", "indeterminate", "no lesion segmented", "unsuitable input")
    objects_of: dict[ResultStatus, tuple[Kind, ...]] = Field(default_factory=_report_alone)
    calling: tuple[AETitle, ...] = ()

    def kinds_of(self, status: ResultStatus) -> tuple[Kind, ...]:
        """Kinds of objects that are sent of a result."""
        if status not in self.statuses:
            return ()
        allowed = self.objects_of.get(status, self.objects)
        return tuple(kind for kind in self.objects if kind in allowed)


class DicomDestination(Record):
    """A peer that takes C-STORE.

    Attributes:
        name: Unique; what the store and the terminal call it.
        commitment: Storage commitment is asked for (PS3.4 J); data are deleted only after it.
        commitment_seconds: An answer that has not come after so long is asked for again, under a new transaction; has
            to be longer than the peer takes when it is busy.
        labelmap: SEG as LABELMAP where the peer negotiates it.
        comprehensive_sr: Reports as Comprehensive SR (88.33), for a peer that takes no Comprehensive 3D SR (88.34).
    """

    kind: Literal["dicom"] = "dicom"
    name: Name
    ae_title: AETitle
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    plaintext: bool = False
    tls: Tls | None = None
    commitment: bool = True
    commitment_seconds: Seconds = 600
    labelmap: bool = False
    comprehensive_sr: bool = False
    rule: Rule = Rule()

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.tls is None and not self.plaintext and not is_loopback(self.host):
            raise ValueError(
                f"{self.name}: {self.host} is not this machine: give its tls, or say plaintext = true"
            )
        return self


class WebDestination(Record):
    """A DICOMweb server that takes STOW-RS (PS3.18 10.5).

    Attributes:
        url: Of the service, such as `https://pacs/dicom-web`.
        authority: PEM file with the certificate authority to trust; None for the system's.
        token: File that holds a bearer token.
    """

    kind: Literal["stow"] = "stow"
    name: Name
    url: str
    plaintext: bool = False
    authority: FilePath | None = None
    token: FilePath | None = None
    rule: Rule = Rule()

    @model_validator(mode="after")
    def _safe(self) -> Self:
        scheme, _, rest = self.url.partition("://")
        host = rest.split("/", 1)[0].rsplit(":", 1)[0].strip("[]")
        if scheme not in ("http", "https") or not host:
            raise ValueError(f"{self.name}: url must begin with https:// or http://")
        if scheme == "http" and not self.plaintext and not is_loopback(host):
            raise ValueError(f"{self.name}: {host} is not this machine: use https, or say plaintext = true")
        return self


Destination = DicomDestination | WebDestination


def _kind(destination: Any) -> Any:
    """Which of the two records a destination is; without a `kind` a DICOM peer."""
    if isinstance(destination, dict):
        return destination.get("kind", "dicom")
    return getattr(destination, "kind", None)


_AnyDestination = Annotated[
    Annotated[DicomDestination, Tag("dicom")] | Annotated[WebDestination, Tag("stow")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message="kind must be 'dicom' or 'stow'",
    ),
]


class Send(Record):
    """Delivery in general.

    Attributes:
        ae_title: As which we call and are answered; None for that of `[receive]`.
        commitment_host, commitment_port: Where the answer to a storage commitment is awaited; 0 takes a free port.
        tls: Of that listener; None for that of the first destination that has TLS.
        plaintext: Allows that listener to be reachable from the network without TLS.
        retry_seconds: Before the second attempt; doubled for each further one, up to `retry_most_seconds`.
        timeout_seconds: For a peer's answer.
        series_number: Added to the source's series number for a Segmentation; 1000, 2000 and 3000 more for report,
            secondary capture and key objects.
    """

    ae_title: AETitle | None = None
    commitment_host: Host = "127.0.0.1"
    commitment_port: Port = 11113
    tls: Tls | None = None
    plaintext: bool = False
    retry_seconds: Annotated[float, Field(ge=0)] = 10
    retry_most_seconds: Seconds = 3600
    timeout_seconds: Seconds = 30
    series_number: Annotated[int, Field(ge=1)] = 9000


class Retention(Record):
    """When local data are deleted.

    Attributes:
        days: After a job is done, its images and results are kept so long.
        unsent_days: Studies that ended without being sent (rejected, cancelled, quarantined) are kept so long.
    """

    days: Annotated[float, Field(ge=0)] = 30
    unsent_days: Annotated[float, Field(ge=0)] = 180


class Watch(Record):
    """Metrics and health over HTTP, and the log.

    Attributes:
        port: 0 switches the HTTP server off.
        log_level: Of the JSON log on stderr.
    """

    host: Host = "127.0.0.1"
    port: Port = 9464
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Config(Record):
    """The whole file."""

    service: Service
    receive: Receive = Receive()
    accept: Accept = Accept()
    work: Work = Work()
    send: Send = Send()
    destinations: tuple[_AnyDestination, ...] = ()
    retention: Retention = Retention()
    watch: Watch = Watch()

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [destination.name for destination in self.destinations]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two destinations are called {twice[0]}")
        return self

    @model_validator(mode="after")
    def _answers_are_safe(self) -> Self:
        host, send = self.send.commitment_host, self.send
        if send.plaintext or is_loopback(host) or not self.committing or self.listener_tls is not None:
            return self
        raise ValueError(
            f"send.commitment_host {host} is reachable from the network: give [send.tls], or say send.plaintext = true"
        )

    @property
    def committing(self) -> tuple[DicomDestination, ...]:
        """Destinations that are asked for storage commitment."""
        return tuple(one for one in self.destinations if isinstance(one, DicomDestination) and one.commitment)

    @property
    def unanswerable(self) -> tuple[DicomDestination, ...]:
        """Destinations off this machine whose answers about commitment are awaited on its loopback, where none come."""
        if not is_loopback(self.send.commitment_host):
            return ()
        return tuple(one for one in self.committing if not is_loopback(one.host))

    @property
    def listener_tls(self) -> Tls | None:
        """Of the listener for their answers."""
        return self.send.tls or next((one.tls for one in self.committing if one.tls is not None), None)

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        ports = {
            "receive.port": self.receive.port,
            "send.commitment_port": self.send.commitment_port if self.destinations else 0,
            "watch.port": self.watch.port,
        }
        taken: dict[int, str] = {}
        for key, port in ports.items():
            if port and port in taken:
                raise ValueError(f"{key} and {taken[port]} are both {port}; two servers cannot share a port")
            taken[port] = key
        return self

    @property
    def database(self) -> Path:
        """The store."""
        return self.service.data / "scanside.db"

    @property
    def spool(self) -> Path:
        """Received instances."""
        return self.service.data / "spool"

    @property
    def results(self) -> Path:
        """Results, by case and job."""
        return self.service.data / "results"

    @property
    def quarantine(self) -> Path:
        """What could not be understood."""
        return self.service.data / "quarantine"


def load_config(path: Path) -> Config:
    """Read and validate a configuration. Relative paths in it are relative to its folder.

    Raises:
        UsageError: If it cannot be read, or a value is not allowed; one line for every fault, with key and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}); pass a scanside.toml with -c."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: it is not UTF-8; save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        end = f"(at line {text.count(chr(10)) + 1}, the end)"
        fault = str(error).replace("(at end of document)", end)
        raise UsageError(f"{path} is not valid TOML: {fault}; correct it.") from error
    try:
        return Config.model_validate(document, context={"folder": path.resolve().parent})
    except ValidationError as error:
        raise UsageError("\n".join(sentences(error, Config, document, text, path))) from error
