"""The one place that knows which kinds of destinations there are. A further kind: a record, a `Sender`, a case here."""

from scanside.runtime.appliance.config import (
    Config,
    Destination,
    DicomDestination,
    FolderDestination,
    WebDestination,
)
from scanside.runtime.appliance.deliver.commitment import Answers
from scanside.runtime.appliance.deliver.dicom import DicomSender
from scanside.runtime.appliance.deliver.folder import FolderSender
from scanside.runtime.appliance.deliver.sender import Sender
from scanside.runtime.appliance.deliver.stow import WebSender


def sender_of(destination: Destination, config: Config, answers: Answers | None = None) -> Sender:
    """The sender of a destination.

    Args:
        answers: Takes answers to storage commitment; None for one that only asks.
    """
    match destination:
        case DicomDestination():
            return DicomSender(destination, config, answers or Answers(config))
        case WebDestination():
            return WebSender(destination, config)
        case FolderDestination():
            return FolderSender(destination, config)
