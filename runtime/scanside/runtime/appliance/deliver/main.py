"""The sender process: one courier for each destination, and the listener for answers to storage commitment."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.deliver.commitment import Answers
from scanside.runtime.appliance.deliver.courier import Courier
from scanside.runtime.appliance.deliver.listener import listening
from scanside.runtime.appliance.store import worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import SETTLED
from scanside.runtime.errors import ScansideError

_LISTEN_AGAIN_SECONDS = 5.0
_END_SECONDS = 5.0

log = logging.getLogger("scanside.deliver")


def run(config: Config, stop: threading.Event) -> None:
    """Deliver until told to stop.

    Raises:
        InputError: If there is no store.
    """
    with Database(config.database) as database:
        _tell_of_strays(config, database)
    answers = Answers(config)
    couriers = [Courier(destination, config, answers, stop) for destination in config.destinations]
    with ExitStack() as open_:
        listens = not config.committing or _listen(config, answers, open_.enter_context)
        for courier in couriers:
            courier.start()
        while not stop.wait(_LISTEN_AGAIN_SECONDS):
            listens = listens or _listen(config, answers, open_.enter_context)
        deadline = time.monotonic() + _END_SECONDS
        for courier in couriers:  # one that waits for its peer may be ended at any instant
            courier.join(max(0.0, deadline - time.monotonic()))


def _listen(config: Config, answers: Answers, enter: Callable[..., int]) -> bool:
    """Without a listener objects still go out, and peers may answer on the association of the request."""
    try:
        port = enter(listening(config, answers))
    except ScansideError as error:
        log.error("%s", error)
        return False
    log.info("answers to storage commitment are taken on port %d", port)
    return True


def _tell_of_strays(config: Config, database: Database) -> None:
    """Objects for destinations that are no longer configured stay, until a person abandons them or it is back."""
    known = {destination.name for destination in config.destinations}
    strays: dict[str, int] = {}
    for (name, state), number in worklist.count_outbox(database).items():
        if name not in known and state not in SETTLED:
            strays[name] = strays.get(name, 0) + number
    for name, number in sorted(strays.items()):
        log.warning(
            "%d objects wait for %s, which is not among the destinations; add it again, or abandon them",
            number,
            name,
        )
