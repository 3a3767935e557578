"""Whether a destination answers, and takes what it is to be sent. Nothing is sent."""

from scanside.runtime.appliance.config import Config, Destination
from scanside.runtime.appliance.deliver.senders import sender_of


def echo(destination: Destination, config: Config, seconds: float) -> str | None:
    """See `Sender.answers`.

    Args:
        seconds: For each answer of the peer.
    """
    return sender_of(destination, config).answers(seconds)


def refused_classes(destination: Destination, config: Config, seconds: float) -> str | None:
    """See `Sender.refuses`."""
    return sender_of(destination, config).refuses(seconds)
