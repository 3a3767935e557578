"""Which peers take Segmentations as LABELMAP (Sup 243): those that are meant to and that negotiate it.

The sender asks, at its start and every hour, and the store keeps the answers: the worker reads them when a result is
made, and waits for no peer. It is made then, and not while it is sent, since a LABELMAP Segmentation is another object
than the BINARY one, with a SOP Instance UID of its own, and the report has to refer to the one that the peer gets.
"""

import logging
import time

from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.appliance.deliver.association import Context, ContextError, associate
from scanside.runtime.appliance.deliver.classes import LABELMAP_STORAGE
from scanside.runtime.appliance.store.answers import keep_answer, takers
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.errors import ScansideError

_AGAIN_SECONDS, _UNREACHED_SECONDS = 3600.0, 60.0
"""After an answer; after a peer that could not be asked."""

log = logging.getLogger("scanside.deliver")


class LabelmapQuestion:
    """Asks one destination now and then. One that cannot be asked keeps the answer it gave last."""

    def __init__(self, destination: DicomDestination, config: Config) -> None:
        self._destination, self._config, self._next = destination, config, 0.0

    def ask(self, database: Database) -> None:
        """Ask, if it is time and the destination is meant to get LABELMAP."""
        if not self._destination.labelmap or time.monotonic() < self._next:
            return
        answer = self._answer()
        self._next = time.monotonic() + (_UNREACHED_SECONDS if answer is None else _AGAIN_SECONDS)
        if answer is not None:
            keep_answer(database, self._destination.name, LABELMAP_STORAGE, answer)

    def _answer(self) -> bool | None:
        destination = self._destination
        try:
            with associate(
                destination,
                self._config,
                [Context(LABELMAP_STORAGE)],
                seconds=self._config.send.timeout_seconds,
            ) as association:
                return association.accepts(LABELMAP_STORAGE)
        except ContextError:
            log.info("%s does not negotiate LABELMAP and gets BINARY", destination.name)
            return False
        except ScansideError as error:
            log.warning("%s cannot be asked about LABELMAP: %s", destination.name, error)
            return None


def labelmap_takers(config: Config, database: Database) -> frozenset[str]:
    """Destinations that are meant to get LABELMAP and have said that they take it; all others get BINARY."""
    meant = {one.name for one in config.destinations if one.wants_labelmap}
    return takers(database, LABELMAP_STORAGE) & meant
