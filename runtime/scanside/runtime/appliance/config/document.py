"""The whole of `scanside.toml`, and reading it."""

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from scanside.runtime.appliance.admission import Accept
from scanside.runtime.appliance.config.errors import sentences
from scanside.runtime.appliance.config.fetch import Fetch
from scanside.runtime.appliance.config.receive import Mrd, Receive
from scanside.runtime.appliance.config.send import AnyDestination, DicomDestination, Send
from scanside.runtime.appliance.config.values import FilePath, Host, Port, Seconds, Tls, is_loopback
from scanside.runtime.errors import UsageError
from scanside.runtime.options import Options
from scanside.runtime.record import Record
from scanside.runtime.triton.address import Engine
from scanside.runtime.trust import Trust


class Service(Record):
    """The appliance as a whole.

    Attributes:
        data: Folder of the store, the received studies and the results.
        bundle: The bundle that studies are run with.
        research_use_only: Has to be `true`: somebody has read that results are for research use only.
        anchor: File that says what the store has come to; None for one in the data folder. On another disk it
            shows, too, that the whole folder was put back.
        require_review: Results are sent only after a person has accepted them.
        open_before_accept: The terminal lets a result be accepted only after its images were opened there.
        show_names: The terminal may show patient names; otherwise only pseudonymous case ids.
    """

    data: FilePath
    bundle: FilePath
    research_use_only: bool
    anchor: FilePath | None = None
    require_review: bool = False
    open_before_accept: bool = True
    show_names: bool = False

    @model_validator(mode="after")
    def _acknowledged(self) -> Self:
        if not self.research_use_only:
            raise ValueError("research_use_only must be true: results are for research use only")
        return self


class EngineServer(Record):
    """A Triton server that computes in place of this machine (docs/triton.md).

    Attributes:
        url: `triton://host:port` or `triton+https://host:port`, with no model where the bundle has several segmenters.
        plaintext: Allows a server off this machine without TLS: images cross the network, without names.
        authority: PEM file with the certificate authority to trust; None for the system's.
    """

    url: str
    plaintext: bool = False
    authority: FilePath | None = None

    @model_validator(mode="after")
    def _safe(self) -> Self:
        engine = self.engine(1.0)
        if not engine.secure and not self.plaintext and not is_loopback(engine.host):
            raise ValueError(f"{engine.host} is not this machine: use triton+https, or say plaintext = true")
        return self

    def engine(self, seconds: float) -> Engine:
        """For `Options`.

        Args:
            seconds: What a case may take.

        Raises:
            UsageError: If the url is none.
        """
        return Engine(self.url, self.authority, seconds)


class Work(Record):
    """How a study is computed. The first seven are those of `scanside run`.

    Attributes:
        engine: A server that computes in place of the device; what it cannot heed then keeps its default.
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
    engine: EngineServer | None = None
    stage_seconds: Seconds = 900
    tries: Annotated[int, Field(ge=1)] = 3
    backoff_seconds: Annotated[float, Field(ge=0)] = 20

    @model_validator(mode="after")
    def _engine_heeds(self) -> Self:
        if self.engine is not None:
            self.options()
        return self

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
            engine=None if self.engine is None else self.engine.engine(self.stage_seconds),
        )


class Retention(Record):
    """When local data are deleted.

    Attributes:
        days: After a job is done, its images and results are kept so long.
        unsent_days: Studies that ended without being sent (rejected, cancelled, quarantined) are kept so long.
        prior_days: For so long after a result the volumes and diameters that it measured are kept, under a keyed hash
            in place of the patient, and later results of the patient state them. 0 switches that off.
    """

    days: Annotated[float, Field(ge=0)] = 30
    unsent_days: Annotated[float, Field(ge=0)] = 180
    prior_days: Annotated[float, Field(ge=0)] = 1825


class Watch(Record):
    """Metrics and health over HTTP, and the log.

    Attributes:
        port: 0 switches the HTTP server off.
        log_level: Of the JSON log on stderr.
        commissioned: First and last day of commissioning: limits of monitoring come from the results of these days.
            None where nothing is watched for drift.
    """

    host: Host = "127.0.0.1"
    port: Port = 9464
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    commissioned: tuple[date, date] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.commissioned is not None and self.commissioned[0] > self.commissioned[1]:
            raise ValueError("commissioned ends before it begins")
        return self


class Config(Record):
    """The configuration file of an appliance."""

    service: Service
    trust: Trust = Trust()
    receive: Receive = Receive()
    mrd: Mrd = Mrd()
    fetch: Fetch = Fetch()
    accept: Accept = Accept()
    work: Work = Work()
    send: Send = Send()
    destinations: tuple[AnyDestination, ...] = ()
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
    def _priors_are_stated(self) -> Self:
        if self.fetch.prior_archives and not self.retention.prior_days:
            name = self.fetch.prior_archives[0].name
            raise ValueError(
                f"archive {name} has priors = true, and retention.prior_days = 0 switches earlier results off"
            )
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
        return tuple(one for one in self.dicom_peers if one.commitment)

    @property
    def dicom_peers(self) -> tuple[DicomDestination, ...]:
        """Destinations that are sent to by C-STORE."""
        return tuple(one for one in self.destinations if isinstance(one, DicomDestination))

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
            "receive.web.port": self.receive.web.port if self.receive.web is not None else 0,
            "send.commitment_port": self.send.commitment_port if self.destinations else 0,
            "watch.port": self.watch.port,
            "mrd.port": self.mrd.port,
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
    def anchor(self) -> Path:
        """What the store has come to."""
        return self.service.anchor or self.service.data / "anchor.json"

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
