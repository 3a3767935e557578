"""One session of an MRD stream: what comes until CLOSE; then somebody's answer, and CLOSE."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scanside.runtime.errors import ScansideError
from scanside.runtime.mrd import wire
from scanside.runtime.mrd.console import Console, read_console
from scanside.runtime.mrd.wire import Image, Limits, Text

log = logging.getLogger("scanside.mrd")


@dataclass(frozen=True, eq=False)
class Session:
    """What a scanner sent.

    Attributes:
        header: XML of the measurement; empty where none came.
        console: Parameters.
        images: In the order of the scan.
    """

    header: str
    console: Console
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Summary:
    """What a session came to.

    Attributes:
        received, returned: Images.
        volumes: That were labelled.
        seconds: From CLOSE to the last label; None where nothing was labelled.
        problem: What was told to the scanner, or None.
    """

    received: int
    returned: int
    volumes: int
    seconds: float | None = None
    problem: str | None = None


class Reply:
    """The way back to the scanner.

    Attributes:
        returned: Images so far.
        problem: The last error that was told.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.returned = 0
        self.problem: str | None = None

    def tell(self, level: str, sentence: str) -> None:
        """A line for the scanner's log, whose first letters colour it there: INFO, WARNING, ERROR."""
        log.log(logging.getLevelName(level), sentence)
        if level == "ERROR":
            self.problem = sentence
        self._write(wire.text_message(f"{level:8}{sentence}"))

    def send(self, images: Iterable[Image]) -> None:
        """Return images."""
        for image in images:
            self._write(wire.image_message(image))
            self.returned += 1

    def close(self) -> None:
        """The end of the session."""
        self._write(wire.close_message())


Answer = Callable[[Session, Reply], Summary]
"""What is done with a session. May raise ScansideError, which is told to the scanner."""


def serve_session(
    read: wire.Read, write: Callable[[bytes], None], answer: Answer, limits: Limits = Limits()
) -> Summary:
    """Handle one session. A stream that is cut off or breaks a limit is answered with a text and CLOSE.

    Raises:
        OSError: If the other side is gone.
    """
    reply, images = Reply(write), list[Image]()
    try:
        session = _receive(read, reply, images, limits)
        found = answer(session, reply)
    except ScansideError as error:
        reply.tell("ERROR", str(error))
        found = Summary(len(images), reply.returned, 0, problem=str(error))
    reply.close()
    return found


def _receive(read: wire.Read, reply: Reply, images: list[Image], limits: Limits) -> Session:
    console, header, used = Console(), "", 0
    while (message := wire.receive(read, limits, used)) is not None:
        if isinstance(message, Image):
            images.append(message)
            used += message.data.nbytes + len(message.attributes)
        elif isinstance(message, Text):
            if message.kind == wire.HEADER:
                header = message.text
            elif message.kind == wire.TEXT and message.text.lstrip()[:1] == "{":
                console, strange = read_console(message.text)
                if strange:
                    reply.tell("WARNING", f"Unknown parameters are ignored: {', '.join(strange)}.")
    return Session(header, console, tuple(images))
