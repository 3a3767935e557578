"""Answers a session with what the networks find: originals, label images, outlines, colour images."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from scanside.runtime.errors import ScansideError
from scanside.runtime.mrd.reply import Labelled, colour_images, free_series, label_images, outlined
from scanside.runtime.mrd.series import Stack, magnitudes, stack
from scanside.runtime.mrd.session import Reply, Session, Summary
from scanside.runtime.mrd.wire import Image
from scanside.runtime.volume import Volume


@dataclass(frozen=True)
class Choice:
    """What the console chose; None for the server's own."""

    segmenter: str | None = None
    device: str | None = None


Segment = Callable[[Volume, Choice], Labelled]
"""A volume → its labels. Waits until the networks are open. May raise ScansideError."""
Found = tuple[Stack, Labelled]
"""A volume and its labels."""


def answer_with(segment: Segment, session: Session, reply: Reply) -> Summary:
    """Return originals, then labels of every magnitude volume.

    A volume that cannot be segmented is answered with a text; its images go back all the same.

    Raises:
        OSError: If the other side is gone.
    """
    return return_results(session, reply, _results(segment, session, reply), time.monotonic())


def return_results(session: Session, reply: Reply, results: Iterable[Found], started: float) -> Summary:
    """Return originals, then the labels as they come; where outlines are drawn, the originals wait for them.

    Args:
        started: When CLOSE came; `time.monotonic`.

    Raises:
        OSError: If the other side is gone.
    """
    console = session.console
    drawn = console.sendoriginal and console.contours
    if console.sendoriginal and not drawn:
        reply.send(session.images)
    if drawn:
        results = list(results)
        reply.send(_with_outlines(session.images, results))
    used, volumes = list(session.images), 0
    for of, found in results:
        for images in _pictures(of, found, session, used):
            reply.send(images)
            used += images[:1]
        volumes += 1
    seconds = time.monotonic() - started if volumes else None
    return Summary(len(session.images), reply.returned, volumes, seconds, reply.problem)


def _results(segment: Segment, session: Session, reply: Reply) -> Iterator[Found]:
    choice = Choice(session.console.segmenter, session.console.device)
    for group in magnitudes(session.images) if session.console.computes else ():
        try:
            of = stack(group)
            found = segment(of.volume, choice)
        except ScansideError as error:
            reply.tell("ERROR", str(error))
            continue
        reply.tell("INFO", f"Research use only. {of.name}: {found.words}.")
        yield of, found


def _pictures(of: Stack, found: Labelled, session: Session, used: list[Image]) -> Iterator[list[Image]]:
    if session.console.sendlabels:
        yield label_images(of, found, series=free_series(used))
    if session.console.colours:
        yield colour_images(of, found, series=free_series(used))


def _with_outlines(images: tuple[Image, ...], results: list[Found]) -> Iterator[Image]:
    drawn = {id(image): other for of, found in results for image, other in outlined(of, found)}
    return (drawn.get(id(image), image) for image in images)
