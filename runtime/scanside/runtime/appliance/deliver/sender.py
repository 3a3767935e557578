"""What a courier wants of a destination, of whatever kind it is."""

from collections.abc import Callable, Sequence
from typing import Protocol

from scanside.runtime.appliance.deliver.retry import DeliveryError
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Item

Took = Callable[[Item, int], None]
"""Called as soon as the peer has an object for good, with its status; 0 is a success without a warning."""
Failed = Callable[[Item, DeliveryError], None]
"""Called for an object that was not sent, with the sentence."""


class Commitment(Protocol):
    """Asks a destination to answer for what it has (PS3.4 annex J)."""

    @property
    def seconds(self) -> float:
        """An answer that has not come after so long is asked for again."""
        ...

    @property
    def hindrance(self) -> str | None:
        """Why its answers cannot come, as half a sentence; None where nothing is known to be wrong."""
        ...

    def ask(self, database: Database, items: Sequence[Item]) -> None:
        """Ask, and wait a little for the answer.

        Raises:
            ContextError: If the destination knows no storage commitment.
            DeliveryError: If it cannot be asked.
            UsageError: If a file of the configuration cannot be used.
        """
        ...

    def forget(self, transaction_uids: Sequence[str]) -> None:
        """Nobody waits for these answers any longer."""
        ...


class Sender(Protocol):
    """One destination. `senders.sender_of` makes the right one."""

    @property
    def commitment(self) -> Commitment | None:
        """None where an object has arrived as soon as it was taken."""
        ...

    def prepare(self, database: Database) -> None:
        """Ask what has to be known before results are made, if it is time."""
        ...

    def store(
        self,
        items: Sequence[Item],
        took_it: Took,
        failed: Failed,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Send objects, and say of each what became of it at once; of those behind a broken connection nothing.

        Raises:
            AssociationError: If the destination cannot be reached; what was not told of was not sent then.
            UsageError: If a file of the configuration cannot be used.
        """
        ...

    def answers(self, seconds: float) -> str | None:
        """None if it answers within so many seconds; otherwise a sentence that says what is wrong."""
        ...

    def refuses(self, seconds: float) -> str | None:
        """None if it takes every kind of object that it is to be sent, or does not say; otherwise a sentence."""
        ...
