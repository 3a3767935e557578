"""`[send]` and `[[destinations]]`: who gets which objects, and how."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from scanside.runtime.appliance.config.peers import DicomPeer, WebPeer, kind_of
from scanside.runtime.appliance.config.values import AETitle, FilePath, Host, Name, Port, Seconds, Tls
from scanside.runtime.record import Record

Kind = Literal["seg", "sr", "sc", "key", "reject", "gsps"]
ResultStatus = Literal["ok", "indeterminate", "no lesion segmented", "unsuitable input"]


def _report_alone() -> dict[ResultStatus, tuple[Kind, ...]]:
    return {"unsuitable input": ("sr", "reject")}


class Rule(Record):
    """What a destination gets.

    Attributes:
        objects: Kinds of result objects. `reject`, a note that rejects what an older result of the study had sent, and
            `gsps`, outlines that viewers draw on the original images, are not among them unless they are named.
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


class AnyPeer(Record):
    """What destinations of every kind have.

    Attributes:
        name: Unique; what the store and the terminal call it.
        rule: What it gets.
    """

    name: Name
    rule: Rule = Rule()

    @property
    def commits(self) -> bool:
        """Whether it is asked to commit itself to what it was sent."""
        return False

    @property
    def wants_labelmap(self) -> bool:
        """Whether it gets SEG as LABELMAP where it takes that."""
        return False

    @property
    def wants_plain_reports(self) -> bool:
        """Whether it gets reports as Comprehensive SR."""
        return False


class DicomDestination(DicomPeer, AnyPeer):
    """A peer that takes C-STORE.

    Attributes:
        commitment: Storage commitment is asked for (PS3.4 J); data are deleted only after it.
        commitment_seconds: An answer that has not come after so long is asked for again, under a new transaction; has
            to be longer than the peer takes when it is busy.
        labelmap: SEG as LABELMAP where the peer negotiates it.
        comprehensive_sr: Reports as Comprehensive SR (88.33), for a peer that takes no Comprehensive 3D SR (88.34).
    """

    kind: Literal["dicom"] = "dicom"
    commitment: bool = True
    commitment_seconds: Seconds = 600
    labelmap: bool = False
    comprehensive_sr: bool = False

    @property
    def commits(self) -> bool:
        """As configured."""
        return self.commitment

    @property
    def wants_labelmap(self) -> bool:
        """As configured."""
        return self.labelmap

    @property
    def wants_plain_reports(self) -> bool:
        """As configured."""
        return self.comprehensive_sr


class WebDestination(WebPeer, AnyPeer):
    """A DICOMweb server that takes STOW-RS (PS3.18 10.5)."""

    kind: Literal["stow"] = "stow"


class FolderDestination(AnyPeer):
    """A folder, such as one that another program watches: `<path>/<case>/<SOP Instance UID>.dcm`, whole or not at all.

    Attributes:
        path: Has to be there: a share that is not mounted must not be filled beside its mount point.
    """

    kind: Literal["folder"] = "folder"
    path: FilePath

    @property
    def where(self) -> str:
        """Its place, for a person."""
        return str(self.path)


Destination = DicomDestination | WebDestination | FolderDestination


AnyDestination = Annotated[
    Annotated[DicomDestination, Tag("dicom")]
    | Annotated[WebDestination, Tag("stow")]
    | Annotated[FolderDestination, Tag("folder")],
    Discriminator(
        kind_of,
        custom_error_type="kind",
        custom_error_message="kind must be 'dicom', 'stow' or 'folder'",
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
