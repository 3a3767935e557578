"""C-STORE: a batch of objects to one destination over one association."""

import logging
from collections.abc import Callable, Sequence

from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.appliance.deliver.association import (
    EXPLICIT,
    IMPLICIT,
    Association,
    AssociationError,
    Context,
    associate,
)
from scanside.runtime.appliance.deliver.objects import DamagedError, read_object
from scanside.runtime.appliance.deliver.retry import SLOWEST, DeliveryError
from scanside.runtime.appliance.deliver.sender import Failed, Took
from scanside.runtime.appliance.deliver.status_codes import status_words, took
from scanside.runtime.appliance.store.records import Item

log = logging.getLogger("scanside.deliver")


def store(
    destination: DicomDestination,
    config: Config,
    items: Sequence[Item],
    took_it: Took,
    failed: Failed,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Send objects, and say of each what became of it at once.

    When the association breaks, the object at fault has failed, and those behind it were not tried: nothing is said of
    them, and the next association begins with them, so that one object that breaks a peer does not hold the others.

    Raises:
        AssociationError: If no association came about; nothing was sent then.
    """
    sound: list[Item] = []
    contexts: dict[Context, None] = {}
    for item in items:
        try:
            contexts[_context_for(item, config)] = None
            sound.append(item)
        except DamagedError as error:
            failed(item, error)
    if not sound:
        return
    with associate(destination, config, list(contexts)) as association:
        for item in sound:
            if stopped() or not association.alive:
                return
            try:
                status = _store_one(destination, config, association, item)
            except DeliveryError as error:
                failed(item, error)
            except Exception as error:  # of a library, on this object: the others must not wait for it
                log.exception("case %s: %s cannot be sent", item.case_id, item.kind)
                failed(
                    item,
                    DamagedError(f"File {item.path} cannot be sent ({type(error).__name__}); report this."),
                )
            else:
                took_it(item, status)


def _context_for(item: Item, config: Config) -> Context:
    syntax = read_object(config.results, item, pixels=False).file_meta.TransferSyntaxUID
    return Context(item.sop_class, (str(syntax),) if syntax.is_compressed else (EXPLICIT, IMPLICIT))


def _store_one(destination: DicomDestination, config: Config, association: Association, item: Item) -> int:
    dataset = read_object(config.results, item)
    if not association.accepts(item.sop_class):
        raise AssociationError(
            f"{destination.name} does not take {dataset.SOPClassUID.name}; allow it there, or leave it out by a rule."
        )
    size = (config.results / item.path).stat().st_size
    with association.within(extra=size / SLOWEST) as open_:
        try:
            answer = open_.send_c_store(dataset)
        except (ValueError, RuntimeError, AttributeError) as error:
            if not open_.is_established:
                answer = None
            else:
                raise DeliveryError(
                    f"{destination.name} does not take the transfer syntax of file {item.path}; allow it there."
                ) from error
    status = getattr(answer, "Status", None)
    if status is None:
        raise DeliveryError(
            f"{destination.name} did not acknowledge the object (no answer in time, or no connection); check it."
        )
    if not took(status):
        raise DeliveryError(
            f"{destination.name} refused the object ({status_words(status)}); check it there."
        )
    return int(status)
