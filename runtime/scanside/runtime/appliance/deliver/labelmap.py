"""Which peers take Segmentations as LABELMAP (Sup 243): those that are meant to and that negotiate it.

Asked before a result is put into the outbox and not while it is sent: a LABELMAP Segmentation is another object than
the BINARY one, with a SOP Instance UID of its own, and the report has to refer to the one that the peer gets.
"""

import logging

from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.appliance.deliver.association import Context, ContextError, associate
from scanside.runtime.errors import ScansideError

LABELMAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage (PS3.6 table A-1)."""

log = logging.getLogger("scanside.deliver")


def take_labelmap(config: Config, seconds: float) -> frozenset[str]:
    """Ask every destination that has `labelmap = true`.

    Args:
        seconds: For each answer of a peer.

    Returns:
        Names of those that accept the SOP class. Who cannot be asked is not among them and gets BINARY, which all take.
    """
    return frozenset(
        one.name
        for one in config.destinations
        if isinstance(one, DicomDestination) and one.labelmap and _takes(one, config, seconds)
    )


def _takes(destination: DicomDestination, config: Config, seconds: float) -> bool:
    try:
        with associate(destination, config, [Context(LABELMAP_STORAGE)], seconds=seconds) as association:
            return association.accepts(LABELMAP_STORAGE)
    except ContextError:
        log.info("%s does not negotiate LABELMAP and gets BINARY", destination.name)
    except ScansideError as error:
        log.warning("%s gets BINARY, since it cannot be asked about LABELMAP: %s", destination.name, error)
    return False
