"""The images of a case: one or two side by side at the same position of the patient. Reading happens in a thread."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.geometry import Offset
from textual.message import Message
from textual.worker import get_current_worker

from scanside.runtime.errors import InputError
from scanside.runtime.study.names import amount
from scanside.runtime.volume import Triple
from scanside.tui.case import view_state
from scanside.tui.case.graphics import Cells, Terminal, choose
from scanside.tui.case.images import ImageCache, Shown, Wanted
from scanside.tui.case.pane import Pane
from scanside.tui.case.stack import Spot, Stack, index_of
from scanside.tui.case.surface import Characters, Sized
from scanside.tui.case.view_state import Looking

CACHE = ImageCache()
"""Of all cases that this terminal looks at."""
_PART = 8
"""A step sideways is this part of what is shown."""


class Viewer(Horizontal):
    """The images, and what is looked at.

    Attributes:
        looking: None until an image has been read.
        double: Two images beside each other.
        shown: The images that were read, by sequence.
        failed: The sentences of those that could not be.
    """

    DEFAULT_CSS = """
    Viewer { height: 1fr; }
    Viewer > #second { margin-left: 1; }
    """

    @dataclass
    class Read(Message):
        """An image has been read, or the sentence why not."""

        version: Hashable
        sequence: str
        shown: Shown | None
        why: str

    class Changed(Message):
        """Another lesion is looked at."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(id="viewer")
        self._terminal = terminal
        self._wanted: tuple[Wanted, ...] = ()
        self._version: Hashable = None
        self._spots: tuple[Spot, ...] = ()
        self._nothing = "Looking for images …"
        self._beside: str | None = None
        self._touched = False
        self._drag: Offset | None = None
        self._pointed: tuple[Pane, Triple] | None = None
        self.synthetic = False
        self.double = False
        self.looking: Looking | None = None
        self.shown: dict[str, Shown] = {}
        self.failed: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        """Two places for images; the second may be hidden."""
        yield Pane(self._terminal, "first")
        yield Pane(self._terminal, "second")

    def show(
        self,
        wanted: Sequence[Wanted],
        version: Hashable,
        spots: Sequence[Spot],
        *,
        synthetic: bool,
        nothing: str | None,
    ) -> None:
        """Show the images of a case. The same again changes nothing; new ones keep the position.

        Args:
            version: Changes when the files or outlines do.
            spots: Lesions to jump to.
            nothing: Why there are none.
        """
        version = (version, tuple(wanted))
        self._spots, self.synthetic = tuple(spots), synthetic
        self._nothing = nothing or "Looking for images …"
        if version == self._version:
            return
        self._version, self._wanted = version, tuple(wanted)
        self.shown, self.failed = {}, {}
        if self.looking is not None and (self.looking.sequence not in self.sequences or not wanted):
            self.looking, self._touched = None, False
        self.refresh_panes()
        if wanted:
            self._read(self._wanted, version)

    def say(self, words: str) -> None:
        """A sentence in place of images."""
        self._nothing = words
        self.refresh_panes()

    @work(thread=True, exclusive=True, group="images")
    def _read(self, wanted: tuple[Wanted, ...], version: Hashable) -> None:
        worker = get_current_worker()
        for one in wanted:
            if worker.is_cancelled:
                return
            try:
                message = self.Read(version, one.sequence, CACHE.read(one, version), "")
            except InputError as error:
                message = self.Read(version, one.sequence, None, str(error))
            self.post_message(message)

    @on(Read)
    def _was_read(self, message: Read) -> None:
        message.stop()
        if message.version != self._version:
            return
        if message.shown is None:
            self.failed[message.sequence] = message.why
        else:
            self.shown[message.sequence] = message.shown
            self._first_look(message.sequence, message.shown.stack)
        self.refresh_panes()
        self.post_message(self.Changed())

    def _first_look(self, sequence: str, stack: Stack) -> None:
        if self.looking is None or (not self._touched and sequence == self.looking.sequence):
            self.looking = view_state.first_look(sequence, stack, self._spots)
        elif self.looking.spot is not None and self.looking.spot not in self._spots:
            self.looking = replace(self.looking, spot=None)

    @property
    def sequences(self) -> tuple[str, ...]:
        """What there is to show, readable or not."""
        return tuple(one.sequence for one in self._wanted)

    @property
    def sheets(self) -> list[tuple[Wanted, Shown]]:
        """The images that were read, the one that keys act upon first."""
        found = [(one, self.shown[one.sequence]) for one in self._wanted if one.sequence in self.shown]
        return sorted(
            found, key=lambda pair: self.looking is None or pair[0].sequence != self.looking.sequence
        )

    @property
    def reading(self) -> bool:
        """Whether images are still to come."""
        return len(self.shown) + len(self.failed) < len(self._wanted)

    @property
    def leader(self) -> Stack | None:
        """The image that keys act upon."""
        if self.looking is None or self.looking.sequence not in self.shown:
            return None
        return self.shown[self.looking.sequence].stack

    def change(self, step: Callable[[Looking, Stack], Looking]) -> None:
        """Look at something else."""
        if self.looking is None or self.leader is None:
            return
        before, self._touched = self.looking.spot, True
        self.looking = step(self.looking, self.leader)
        self.refresh_panes()
        if self.looking.spot != before:
            self.post_message(self.Changed())

    def scroll_slices(self, slices: int) -> None:
        """Towards the head, or the feet if negative."""
        self.change(lambda now, stack: view_state.scrolled(now, stack, slices))

    def shift(self, down: int, right: int) -> None:
        """Move the view by a part of what is shown."""
        sides = [pane.mm * side for pane in self._panes() for side in pane.surface.pixels if pane.mm]
        part = min(sides, default=0.0) / _PART
        self.change(lambda now, stack: view_state.panned(now, stack, down * part, right * part))

    def jump(self, steps: int) -> None:
        """To the next lesion of the report, or the one before, in the image in which it was found."""
        if self.looking is None or self.leader is None:
            return
        spot = view_state.next_spot(self.looking, self.leader, self._spots, steps)
        if spot is not None:
            self.go_to(spot)

    def go_to(self, spot: Spot) -> None:
        """To a lesion, in the image in which it was found."""
        if spot.role in self.shown:
            self._turn_to(spot.role)
        self.change(lambda now, stack: view_state.jumped_to(now, stack, spot))

    def turn(self) -> None:
        """Let keys act upon the next image; in a single place it is also the one that is shown."""
        readable = [name for name in self.sequences if name in self.shown]
        if self.looking is not None and len(readable) > 1:
            self._turn_to(readable[(readable.index(self.looking.sequence) + 1) % len(readable)])

    def _turn_to(self, sequence: str) -> None:
        if self.looking is None or sequence == self.looking.sequence:
            return
        self._touched = True
        self.looking = view_state.turned_to(self.looking, sequence, self.shown[sequence].stack)
        self.refresh_panes()

    def _panes(self) -> tuple[Pane, Pane]:
        return self.query_one("#first", Pane), self.query_one("#second", Pane)

    def refresh_panes(self) -> None:
        """Say again what each place shows."""
        first, second = self._panes()
        second.display = self.double and len(self._wanted) > 1
        if not self._wanted:
            first.sequence = None
            first.say("No image", self._nothing)
            return
        for pane, sequence in zip((first, second), self._shared_out(), strict=True):
            pane.sequence = sequence
            pane.series = next((one.series for one in self._wanted if one.sequence == sequence), "")
            if pane.display and sequence is not None:
                self._fill(pane, sequence)

    def _shared_out(self) -> tuple[str, str | None]:
        """Which sequence is where: the first one always left of the others, where there is room for two."""
        names = self.sequences
        active = self.looking.sequence if self.looking is not None else names[0]
        if not self.double or len(names) < 2:
            return active, None
        if active != names[0]:
            self._beside = active
        beside = self._beside if self._beside in names[1:] else names[1]
        return names[0], beside

    def _fill(self, pane: Pane, sequence: str) -> None:
        wanted = next(one for one in self._wanted if one.sequence == sequence)
        pane.set_class(
            self.double and self.looking is not None and self.looking.sequence == sequence, "active"
        )
        if sequence in self.failed:
            pane.say(wanted.title, self.failed[sequence])
        elif sequence not in self.shown or self.looking is None:
            pane.say(wanted.title, f"Reading {wanted.title} …")
        else:
            leader = self.leader or self.shown[sequence].stack
            pane.paint(wanted.title, self.shown[sequence], self.looking, leader, self.synthetic)
            self._tell(pane, wanted)

    def _tell(self, pane: Pane, wanted: Wanted) -> None:
        """What stands below a picture: of the pointer's place, or of the middle."""
        if self.looking is None:
            return
        pointed = self._pointed[1] if self._pointed is not None and self._pointed[0] is pane else None
        beside = self._adc(wanted.sequence, pointed or self.looking.place)
        pane.tell(pointed, [words for words in (beside, wanted.note) if words])

    def _adc(self, sequence: str, place: Triple) -> str:
        """The ADC at a place, beside the value of another image."""
        if sequence == "adc" or "adc" not in self.shown:
            return ""
        value = self.shown["adc"].stack.value(place)
        return "" if value is None else f"ADC {amount(value)}"

    def _point(self, at: Offset | None) -> None:
        """The pointer is on a cell of the screen, or on no picture."""
        places = [(pane, pane.place_at(at)) for pane in self._panes() if pane.display and at is not None]
        pointed = next(((pane, place) for pane, place in places if place is not None), None)
        before, self._pointed = self._pointed, pointed
        for pane in {found[0] for found in (before, pointed) if found is not None}:
            wanted = next((one for one in self._wanted if one.sequence == pane.sequence), None)
            if wanted is not None:
                self._tell(pane, wanted)

    def next_cells(self) -> Cells | None:
        """Show the images in finer parts of cells, after the finest in half blocks; None where there are pixels."""
        surfaces = [pane.surface for pane in self._panes() if isinstance(pane.surface, Characters)]
        if not surfaces:
            return None
        order = list(Cells)
        cells = order[(order.index(surfaces[0].cells) + 1) % len(order)]
        for surface in surfaces:
            surface.cells = cells
        choose(cells)
        self.refresh_panes()
        return cells

    @property
    def spans(self) -> dict[Spot, tuple[int, int]]:
        """Lesion → its first and last slice, from 0, in the image in which it was found."""
        found = {}
        for spot in self._spots:
            shown = self.shown.get(spot.role)
            span = shown.stack.slices_of(spot.number) if shown is not None else None
            if span is not None:
                found[spot] = span
        return found

    @property
    def place_words(self) -> str:
        """Where we are, for a person."""
        if self.looking is None or self.leader is None:
            return ""
        number = round(index_of(self.leader.geometry, self.looking.place)[0])
        return f"{self.looking.sequence} slice {number + 1} of {self.leader.count}"

    @on(Sized)
    def _sized(self, message: Sized) -> None:
        message.stop()
        self.refresh_panes()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A drag changes the window of the image it begins on: across its width, down its level."""
        pane = next((one for one in self._panes() if one.region.contains(*event.screen_offset)), None)
        if pane is not None and pane.sequence in self.shown:
            self._turn_to(str(pane.sequence))
            self._drag = event.screen_offset
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """See `on_mouse_down`; without a button the values under the pointer are told."""
        if self._drag is not None and event.screen_offset != self._drag:
            moved = event.screen_offset - self._drag
            self._drag = event.screen_offset
            self.change(lambda now, stack: view_state.windowed(now, stack, -moved.x / 4, -moved.y / 2))
        elif self._drag is None:
            self._point(event.screen_offset)

    def on_leave(self) -> None:
        """The pointer is elsewhere."""
        if not self.is_mouse_over:
            self._point(None)

    def on_mouse_up(self) -> None:
        """The drag ends."""
        self._drag = None
        self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The wheel scrolls through the slices."""
        event.stop()
        self.scroll_slices(1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The wheel scrolls through the slices."""
        event.stop()
        self.scroll_slices(-1)
