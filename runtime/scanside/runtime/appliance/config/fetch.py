"""`[fetch]`: archives that are asked for what a complete study lacks, and for earlier results. Off without one."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from scanside.runtime.appliance.config.peers import DicomPeer, WebPeer, kind_of
from scanside.runtime.appliance.config.values import Seconds
from scanside.runtime.record import Record


class DicomArchive(DicomPeer):
    """An archive that answers C-FIND, and sends to our receiver when it is told to (C-MOVE).

    Attributes:
        priors: Reports of earlier studies of the patient that Scanside wrote are read from it (C-GET).
    """

    kind: Literal["dicom"] = "dicom"
    priors: bool = False


class WebArchive(WebPeer):
    """A DICOMweb server that is searched (QIDO-RS) and read from (WADO-RS).

    Attributes:
        priors: Reports of earlier studies of the patient that Scanside wrote are read from it.
    """

    kind: Literal["dicomweb"] = "dicomweb"
    priors: bool = False


Archive = DicomArchive | WebArchive


AnyArchive = Annotated[
    Annotated[DicomArchive, Tag("dicom")] | Annotated[WebArchive, Tag("dicomweb")],
    Discriminator(
        kind_of, custom_error_type="kind", custom_error_message="kind must be 'dicom' or 'dicomweb'"
    ),
]


class Fetch(Record):
    """Series of a study that were never sent here, and earlier results of its patient.

    Attributes:
        archives: Asked in this order, until nothing is missing.
        seconds: A complete study waits so long at most, whatever an archive does; then it is computed as it is.
        tries: Of an archive that fails, within that time.
        retry_seconds: Before the second try; doubled for each further one.
        most_instances: Of the series that are fetched for one study; with more, none is.
    """

    archives: tuple[AnyArchive, ...] = ()
    seconds: Seconds = 300
    tries: Annotated[int, Field(ge=1, le=100)] = 3
    retry_seconds: Annotated[float, Field(ge=0)] = 10
    most_instances: Annotated[int, Field(ge=1)] = 2000

    @model_validator(mode="after")
    def _named_once(self) -> "Fetch":
        names = [archive.name for archive in self.archives]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two archives are called {twice[0]}")
        return self

    @property
    def dicom_archives(self) -> tuple[DicomArchive, ...]:
        """Those that send to our receiver."""
        return tuple(one for one in self.archives if isinstance(one, DicomArchive))

    def wait(self, failed: int) -> float:
        """Seconds before the next try; doubled for each one that had failed before."""
        return self.retry_seconds * 2**failed

    @property
    def prior_archives(self) -> tuple[Archive, ...]:
        """Those that are asked for earlier results."""
        return tuple(one for one in self.archives if one.priors)
