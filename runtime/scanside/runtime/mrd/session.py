"""One session of an MRD stream: images until CLOSE, then originals, labels, CLOSE."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from scanside.runtime.errors import ScansideError
from scanside.runtime.mrd import wire
from scanside.runtime.mrd.console import Console, read_console
from scanside.runtime.mrd.reply import free_series, label_images
from scanside.runtime.mrd.series import Stack, magnitudes, stack
from scanside.runtime.mrd.wire import Image, Limits, StreamError, Text
from scanside.runtime.pipeline import Segmentation
from scanside.runtime.volume import Volume

log = logging.getLogger("scanside.mrd")
Segment = Callable[[Volume], tuple[Segmentation, str]]
"""A volume → its segmentation, and the sha256 of the bundle that made it. Waits until the networks are open."""


@dataclass(frozen=True)
class Summary:
    """What a session came to.

    Attributes:
        received, returned: Images.
        volumes: That were segmented.
        seconds: From CLOSE to the last label; None where nothing was segmented.
        problem: What was told to the scanner, or None.
    """

    received: int
    returned: int
    volumes: int
    seconds: float | None = None
    problem: str | None = None


def serve_session(
    read: wire.Read,
    write: Callable[[bytes], None],
    segment: Segment,
    limits: Limits = Limits(),
) -> Summary:
    """Handle one session.

    A stream that is cut off or breaks a limit is answered with a text and CLOSE. A volume that cannot be segmented is
    answered with a text; its images go back all the same.

    Raises:
        OSError: If the other side is gone.
    """
    images: list[Image] = []
    console = Console()
    try:
        used = 0
        while (message := wire.receive(read, limits, used)) is not None:
            if isinstance(message, Image):
                images.append(message)
                used += message.data.nbytes + len(message.attributes)
            elif isinstance(message, Text) and message.kind == wire.TEXT and message.text.lstrip()[:1] == "{":
                console, strange = read_console(message.text)
                if strange:
                    _tell(write, "WARNING", f"Unknown parameters are ignored: {', '.join(strange)}.")
    except StreamError as error:
        _tell(write, "ERROR", str(error))
        write(wire.close_message())
        return Summary(len(images), 0, 0, problem=str(error))
    return _answer(images, console, write, segment)


def _answer(
    images: list[Image], console: Console, write: Callable[[bytes], None], segment: Segment
) -> Summary:
    started, returned, volumes, problem = time.monotonic(), 0, 0, None
    if console.sendoriginal:
        for image in images:
            write(wire.image_message(image))
            returned += 1
    series = free_series(images)
    for group in magnitudes(images) if console.sendlabels else ():
        try:
            of = stack(group)
            labels = _labels(of, segment, series, write)
        except ScansideError as error:
            problem = str(error)
            _tell(write, "ERROR", problem)
            continue
        for image in labels:
            write(wire.image_message(image))
            returned += 1
        volumes, series = volumes + 1, free_series([*images, *labels])
    write(wire.close_message())
    seconds = time.monotonic() - started if volumes else None
    return Summary(len(images), returned, volumes, seconds, problem)


def _labels(of: Stack, segment: Segment, series: int, write: Callable[[bytes], None]) -> list[Image]:
    found, bundle = segment(of.volume)
    volumes = found.volumes_ml or {}
    words = ", ".join(f"{name} {ml:.2f} ml" for name, ml in volumes.items())
    _tell(write, "INFO", f"Research use only. {of.name}: {words}.")
    return label_images(of, found.mask, series=series, labels=volumes, bundle=bundle)


def _tell(write: Callable[[bytes], None], level: str, sentence: str) -> None:
    """A line for the scanner's log, whose first letters colour it there."""
    log.log(logging.getLevelName(level), sentence)
    write(wire.text_message(f"{level:8}{sentence}"))
