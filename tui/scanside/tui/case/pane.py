"""One image on the screen: title, picture, window; or the sentence why there is none."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Offset
from textual.widgets import Static

from scanside.runtime.study.names import amount
from scanside.runtime.volume import Triple
from scanside.tui.case.cells import Mark
from scanside.tui.case.draw import Rgb, View, draw, fitting
from scanside.tui.case.graphics import Terminal
from scanside.tui.case.images import Shown
from scanside.tui.case.lens import with_lens
from scanside.tui.case.stack import Stack, edges, index_of, on_slice, position, slice_at
from scanside.tui.case.surface import surface
from scanside.tui.case.view_state import Looking

SYNTHETIC = "SYNTHETIC PHANTOM"
UNITS = {"adc": " ×10⁻⁶ mm²/s"}
"""Of the values of images that have one; scanners write ADC maps so."""


class Pane(Vertical):
    """Shows one sequence at the position that is looked at.

    Attributes:
        sequence: What it shows; None while it shows nothing.
        series: What the scanner calls it.
        number: The slice shown, from 0; None where none is.
        mm: Width of a pixel on the screen, mm; 0 while none is shown.
        words: The sentence that stands in place of a picture; empty while there is a picture.
    """

    DEFAULT_CSS = """
    Pane { width: 1fr; height: 1fr; }
    Pane > .title, Pane > .foot { height: 1; color: $foreground; background: $panel; }
    Pane.active > .title { background: $cursor; text-style: bold; }
    Pane > Characters, Pane > Pixels { height: 1fr; }
    Pane > .words { display: none; height: 1fr; padding: 1 2; background: black; color: white; }
    Pane.empty > .words { display: block; }
    Pane.empty > Characters, Pane.empty > Pixels { display: none; }
    """

    def __init__(self, terminal: Terminal, id: str) -> None:
        super().__init__(id=id)
        self.surface = surface(terminal)
        self.sequence: str | None = None
        self.series = ""
        self.number: int | None = None
        self.mm = 0.0
        self.words = ""
        self._painted: tuple[Shown, Looking, View] | None = None

    def compose(self) -> ComposeResult:
        """Title, picture, sentence, window."""
        yield Static("", classes="title", markup=False)
        yield self.surface
        yield Static("", classes="words", markup=False)
        yield Static("", classes="foot", markup=False)

    def say(self, title: str, words: str) -> None:
        """A sentence in place of the picture."""
        self.number, self.words, self.mm, self._painted = None, words, 0.0, None
        self.surface.picture = None
        self.add_class("empty")
        self._write("title", f" {title}")
        self._write("words", words)
        self._write("foot", "")

    def paint(self, title: str, shown: Shown, looking: Looking, leader: Stack, synthetic: bool) -> None:
        """The slice nearest to the position, at the scale of the image that leads."""
        assert self.sequence is not None
        stack = shown.stack
        number = slice_at(stack.geometry, looking.place)
        if number is None:
            self.say(title, f"{title} does not reach this position of the patient.")
            return
        self.remove_class("empty")
        self.words, self.number = "", number
        rows, columns = self.surface.pixels
        if not rows or not columns:
            return
        tall = self.surface.tall
        self.mm = fitting(leader.geometry, rows, columns, tall) / looking.zoom
        view = View(looking.place, (self.mm * tall, self.mm), rows, columns)
        self._painted = (shown, looking, view)
        picture, lens = self._picture(stack, number, looking, view)
        self.surface.show(picture, [*self._marks(stack, synthetic), *self._ruler(columns), *lens])
        self._write("title", self._headline(title, shown, number, looking))

    def _picture(self, stack: Stack, number: int, looking: Looking, view: View) -> tuple[Rgb, list[Mark]]:
        """The slice, with a lens where it is wanted."""
        assert self.sequence is not None
        spot = looking.spot if looking.spot is not None and self._is_of(looking.spot.role) else None
        chosen = (spot.number if spot is not None else 0) if looking.outline else None
        window = looking.window(self.sequence, stack)
        picture = draw(stack, number, view, window, chosen)
        centre = on_slice(
            stack.geometry, number, looking.place if looking.spot is None else looking.spot.centre
        )
        made = with_lens(picture, stack, number, view, window, chosen, centre) if looking.lens else None
        if made is None:
            return picture, []
        picture, factor, (top, left) = made
        height, width = self.surface.size.height, self.surface.size.width
        place = (round(top * height / view.rows), round(left * width / view.columns))
        return picture, [Mark(place[0], place[1] + 1, f"lens ×{factor:.1f}")]

    def place_at(self, at: Offset) -> Triple | None:
        """The place of the patient under a cell of the screen, (x, y, z), mm, LPS; None beside the picture."""
        region = self.surface.region
        if self._painted is None or self.number is None or not region.contains(*at):
            return None
        shown, _, view = self._painted
        geometry = shown.stack.geometry
        _, y, x = index_of(geometry, view.centre)
        down = ((at.y - region.y + 0.5) / region.height - 0.5) * view.rows * view.mm[0]
        across = ((at.x - region.x + 0.5) / region.width - 0.5) * view.columns * view.mm[1]
        return position(
            geometry, (self.number, y + down / geometry.spacing[1], x + across / geometry.spacing[2])
        )

    def tell(self, pointed: Triple | None, notes: list[str]) -> None:
        """The line below the picture.

        Args:
            pointed: What the pointer is on; None for the middle of the picture.
            notes: What else stands there.
        """
        if self._painted is not None:
            shown, looking, _ = self._painted
            self._write("foot", self._footline(shown, looking, pointed, notes))

    def _is_of(self, role: str) -> bool:
        return role == self.sequence or (role == "dwi" and self.sequence in ("adc", "b0"))

    def _headline(self, title: str, shown: Shown, number: int, looking: Looking) -> str:
        """`▸ T2WI 12/31  S19.2 mm  5 mm apart  t2_tse_tra`; slices count from the feet, as on a result's pictures."""
        stack = shown.stack
        z = on_slice(stack.geometry, number, looking.place)[2]
        sign = "▸" if self.has_class("active") else " "
        place = f"{sign}{title} {number + 1}/{stack.count} z {'S' if z >= 0 else 'I'}{abs(z):.1f} mm"
        return f"{place}  {stack.geometry.spacing[0]:.3g} mm apart  {self.series}".rstrip()

    def _footline(self, shown: Shown, looking: Looking, pointed: Triple | None, notes: list[str]) -> str:
        window = looking.window(self.sequence or "", shown.stack)
        width, level = window[1] - window[0], (window[0] + window[1]) / 2
        unit = UNITS.get(self.sequence or "", "")
        parts = [f" W{amount(width)} L{amount(level)}{unit}"]
        if shown.caution:
            parts.append(f"! {shown.caution}")
        elif shown.stack.lesions is not None:
            parts.append(self._outline_words(shown.stack, looking))
        value = shown.stack.value(looking.place if pointed is None else pointed)
        where, zoom = "middle" if pointed is None else " pointer", f"×{looking.zoom:.1f}"
        here = [] if value is None else [f"{where} {amount(value)}{unit}"]
        return "  ".join([*parts, *here, *notes, zoom] if pointed is None else [*here, *notes, *parts, zoom])

    def _outline_words(self, stack: Stack, looking: Looking) -> str:
        """Whether outlines are on, and whether the lesion that is looked at is on this picture at all."""
        if not looking.outline:
            return "outline OFF"
        spot = looking.spot
        span = stack.slices_of(spot.number) if spot is not None and self._is_of(spot.role) else None
        if span is None or self.number is None:
            return "outline on"
        where = f"{span[0] + 1}–{span[1] + 1}"
        return (
            f"lesion on slices {where}"
            if span[0] <= self.number <= span[1]
            else f"NO lesion here: slices {where}"
        )

    def _marks(self, stack: Stack, synthetic: bool) -> list[Mark]:
        left, right, up, down = edges(stack.geometry)
        height, width = self.surface.size.height, self.surface.size.width
        marks = [
            Mark(height // 2, 0, left),
            Mark(height // 2, -len(right), right),
            Mark(0, width // 2 - len(up) // 2, up),
            Mark(-1, width // 2 - len(down) // 2, down),
        ]
        if synthetic:
            marks.append(Mark(0, 0, SYNTHETIC if width // 2 > len(SYNTHETIC) else SYNTHETIC.split()[0]))
        return marks

    def _ruler(self, columns: int) -> list[Mark]:
        """A length in mm, at the lower left, that takes up to a third of the width."""
        width = self.surface.size.width
        cell = self.mm * columns / max(width, 1)
        for length in (100, 50, 20, 10, 5):
            bar = round(length / cell)
            if 3 <= bar <= width // 3:
                return [Mark(-2, 1, f"{length} mm", bar)]
        return []

    def _write(self, line: str, words: str) -> None:
        self.query_one(f".{line}", Static).update(Content(words), layout=False)
