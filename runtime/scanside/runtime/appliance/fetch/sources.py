"""The one place that knows which kinds of archives there are."""

from scanside.runtime.appliance.config import Archive, Config, DicomArchive, WebArchive
from scanside.runtime.appliance.fetch.archive import Source
from scanside.runtime.appliance.fetch.dicom import DicomSource
from scanside.runtime.appliance.fetch.web import WebSource
from scanside.runtime.appliance.receive.incoming import Conditions
from scanside.runtime.appliance.receive.scp import Receiver


def source_of(
    archive: Archive, config: Config, conditions: Conditions | None = None, receiver: Receiver | None = None
) -> Source:
    """The source that an archive is.

    Args:
        conditions, receiver: By which files are kept that come over the web; None for a source that is only asked.
    """
    match archive:
        case DicomArchive():
            return DicomSource(archive, config)
        case WebArchive():
            return WebSource(archive, config.send.timeout_seconds, conditions, receiver)
