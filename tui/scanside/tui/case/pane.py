"""One image on the screen: title, picture, window; or the sentence why there is none."""

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from scanside.tui.case.draw import View, draw, fitting
from scanside.tui.case.graphics import Terminal
from scanside.tui.case.halves import Mark
from scanside.tui.case.images import Shown
from scanside.tui.case.looking import Looking
from scanside.tui.case.stack import Stack, edges, on_slice, slice_at
from scanside.tui.case.surface import surface

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
    Pane > HalfBlocks, Pane > Pixels { height: 1fr; }
    Pane > .words { display: none; height: 1fr; padding: 1 2; background: black; color: white; }
    Pane.empty > .words { display: block; }
    Pane.empty > HalfBlocks, Pane.empty > Pixels { display: none; }
    """

    def __init__(self, terminal: Terminal, id: str) -> None:
        super().__init__(id=id)
        self.surface = surface(terminal)
        self.sequence: str | None = None
        self.series = ""
        self.number: int | None = None
        self.mm = 0.0
        self.words = ""

    def compose(self) -> ComposeResult:
        """Title, picture, sentence, window."""
        yield Static("", classes="title", markup=False)
        yield self.surface
        yield Static("", classes="words", markup=False)
        yield Static("", classes="foot", markup=False)

    def say(self, title: str, words: str) -> None:
        """A sentence in place of the picture."""
        self.number, self.words, self.mm = None, words, 0.0
        self.surface.picture = None
        self.add_class("empty")
        self._write("title", f" {title}")
        self._write("words", words)
        self._write("foot", "")

    def paint(
        self, title: str, shown: Shown, looking: Looking, leader: Stack, synthetic: bool, note: str = ""
    ) -> None:
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
        window = looking.window(self.sequence, stack)
        chosen = looking.spot.number if looking.spot is not None and self._is_of(looking.spot.role) else 0
        view = View(looking.place, (self.mm * tall, self.mm), rows, columns)
        picture = draw(stack, number, view, window, chosen if looking.outline else None)
        self.surface.show(picture, [*self._marks(stack, synthetic), *self._ruler(columns)])
        self._write("title", self._headline(title, shown, number, looking))
        self._write("foot", self._footline(shown, looking, window, note))

    def _is_of(self, role: str) -> bool:
        return role == self.sequence or (role == "dwi" and self.sequence in ("adc", "b0"))

    def _headline(self, title: str, shown: Shown, number: int, looking: Looking) -> str:
        """`▸ T2WI 12/31  S19.2 mm  5 mm apart  t2_tse_tra`; slices count from the feet, as on a result's pictures."""
        stack = shown.stack
        z = on_slice(stack.geometry, number, looking.place)[2]
        sign = "▸" if self.has_class("active") else " "
        place = f"{sign}{title} {number + 1}/{stack.count} z {'S' if z >= 0 else 'I'}{abs(z):.1f} mm"
        return f"{place}  {stack.geometry.spacing[0]:.3g} mm apart  {self.series}".rstrip()

    def _footline(self, shown: Shown, looking: Looking, window: tuple[float, float], note: str) -> str:
        width, level = window[1] - window[0], (window[0] + window[1]) / 2
        unit = UNITS.get(self.sequence or "", "")
        parts = [f" W{width:.4g} L{level:.4g}{unit}", f"×{looking.zoom:.1f}"]
        if shown.caution:
            parts.append(f"! {shown.caution}")
        elif shown.stack.lesions is not None:
            parts.append(self._outline_words(shown.stack, looking))
        value = shown.stack.value(looking.place)
        if value is not None:
            parts.append(f"middle {value:.4g}{unit}")
        if note:
            parts.append(note)
        return "  ".join(parts)

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
