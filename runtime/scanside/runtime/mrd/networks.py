"""Segmenters that are opened in the background and used by one session at a time."""

import logging
import threading
from collections.abc import Callable

from scanside.runtime.errors import CaseError, ScansideError
from scanside.runtime.mrd.reply import Labelled, parts_of
from scanside.runtime.mrd.segmenting import Choice
from scanside.runtime.segmenter import Segmenter
from scanside.runtime.volume import Volume

log = logging.getLogger("scanside.mrd")
OWN = Choice()
"""The server's own choice, which is opened at its start."""


class _Opening:
    """A segmenter that opens in a thread."""

    def __init__(self, open_it: Callable[[], Segmenter]) -> None:
        self._ended = threading.Event()
        self.segmenter: Segmenter | None = None
        self.problem: str | None = None
        threading.Thread(target=self._open, args=(open_it,), name="open networks", daemon=True).start()

    def _open(self, open_it: Callable[[], Segmenter]) -> None:
        try:
            self.segmenter = open_it()
        except ScansideError as error:
            self.problem = str(error)
        except Exception as error:
            self.problem = (
                f"The networks cannot be opened: an unforeseen {type(error).__name__}; see the log."
            )
            log.exception("opening the networks")
        finally:
            self._ended.set()

    def wait(self, seconds: float | None = None) -> bool:
        return self._ended.wait(seconds)


class Networks:
    """The segmenters of a server: its own from the start, others of the console when they are first asked for.

    Raises nothing while it opens; who asks for labels is told.
    """

    def __init__(self, open_it: Callable[[Choice], Segmenter]) -> None:
        self._open_it = open_it
        self._table, self._computing = threading.Lock(), threading.Lock()
        self._openings = {OWN: _Opening(lambda: open_it(OWN))}

    @property
    def problem(self) -> str | None:
        """Why the server's own cannot be used; None while it opens, and when it can."""
        return self._openings[OWN].problem

    def wait(self, seconds: float | None = None) -> bool:
        """Whether opening the server's own has ended."""
        return self._openings[OWN].wait(seconds)

    def segment(self, volume: Volume, choice: Choice = OWN) -> Labelled:
        """Segment a volume when the networks are open; one at a time.

        Raises:
            CaseError: If they cannot be opened.
            ScansideError: If the volume cannot be segmented.
        """
        with self._table:
            opening = self._openings.get(choice) or _Opening(lambda: self._open_it(choice))
            self._openings[choice] = opening
        opening.wait()
        with self._computing:
            if opening.segmenter is None:
                if choice != OWN:  # the next session may ask again; names from the network are not kept
                    with self._table:
                        self._openings.pop(choice, None)
                raise CaseError(opening.problem or "The networks are closed.")
            return _labelled(opening.segmenter, volume)

    def close(self) -> None:
        """Close them."""
        with self._table:
            openings = list(self._openings.values())
        for opening in openings:
            opening.wait()
            with self._computing:
                if opening.segmenter is not None:
                    opening.segmenter.close()
                    opening.segmenter = None


def _labelled(segmenter: Segmenter, volume: Volume) -> Labelled:
    found = segmenter.segment(volume)
    return Labelled(
        found.mask, found.volumes_ml or {}, parts_of(segmenter.plan.labels), segmenter.bundle.sha256
    )
