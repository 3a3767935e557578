"""The table of cases: draws only the lines that are on the screen, however many there are behind them."""

from collections.abc import Container, Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from scanside.runtime.appliance.store.records import Case
from scanside.tui.commands import BY_NAME
from scanside.tui.format import Tone
from scanside.tui.tones import component_css
from scanside.tui.worklist.columns import Column, Scene, laid_out

_HEADER = 1


class CaseTable(ScrollView, can_focus=True):
    """Lines of cases under a heading. The cursor belongs to a case, not to a line: it stays with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        BY_NAME[f"worklist.{name}"].binding()
        for name in ("up", "down", "page-up", "page-down", "first", "last", "open")
    ]
    DEFAULT_CSS = component_css("CaseTable", "case-table")
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "case-table--heading", "case-table--cursor", *(f"case-table--{tone}" for tone in Tone),
    }  # fmt: skip

    class Opened(Message):
        """Enter, or a click on the line of the cursor."""

        def __init__(self, case_id: str) -> None:
            super().__init__()
            self.case_id = case_id

    class Moved(Message):
        """The cursor is on another case, or on none."""

        def __init__(self, case_id: str | None) -> None:
            super().__init__()
            self.case_id = case_id

    class SortAsked(Message):
        """A click on a heading."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, all_columns: tuple[Column, ...], scene: Scene) -> None:
        super().__init__(id="cases")
        self.columns = all_columns
        self.scene = scene
        self.sort: tuple[str, bool] = ("arrived", False)
        self.marked: set[str] = set()
        self._said: dict[str, tuple[str, ...]] = {}
        self._cases: dict[str, Case] = {}
        self._shown: Sequence[str] = []
        self._index: dict[str, int] = {}
        self._cursor: str | None = None

    @property
    def cursor(self) -> str | None:
        """The case that the cursor is on."""
        return self._cursor

    @property
    def shown(self) -> Sequence[str]:
        """Case ids, line by line."""
        return self._shown

    def sort_by(self, key: str, reverse: bool) -> None:
        """Show by which column it is sorted."""
        if self.sort != (key, reverse):
            self.sort = (key, reverse)
            self.refresh(Region(0, 0, self.size.width, _HEADER))

    def show_cases(
        self, cases: dict[str, Case], shown: Sequence[str], changed: Sequence[str] | None = None
    ) -> None:
        """Show other cases, or others of their lines.

        Args:
            changed: Only these lines may look different, where the order is as before; None for all.
        """
        same_order = shown is self._shown or shown == self._shown
        line = self._line()
        self._cases = cases
        if same_order:
            for case_id in self._shown if changed is None else changed:
                self._refresh_case(case_id)
            return
        self._shown = shown
        self._index = {case_id: number for number, case_id in enumerate(shown)}
        self.virtual_size = Size(self.size.width, len(shown) + _HEADER)
        self._keep_cursor(line)
        self.refresh()

    def refresh_times(self, only: Container[str] | None = None) -> None:
        """Draw the lines on the screen anew whose words have changed with the time; the others stay untouched.

        Args:
            only: Cases whose words can have changed; None for all.
        """
        top = self.scroll_offset.y
        shown = self._shown[top : top + max(0, self.size.height - _HEADER)]
        places = laid_out(self.columns, self.size.width)
        for case_id in shown:
            case = self._cases.get(case_id)
            if case is None or (only is not None and case_id not in only):
                continue
            words = tuple(column.cell(case, self.scene, cells).text for column, cells in places)
            if self._said.get(case_id) != words:
                self._refresh_case(case_id)

    def move_to(self, case_id: str) -> bool:
        """Put the cursor on a case; False when it is not shown."""
        if case_id not in self._index:
            return False
        self._put(case_id)
        self._reveal()
        return True

    def _keep_cursor(self, line: int | None) -> None:
        """After a change of lines: the same case, at the same place of the screen unless the top line is shown."""
        if self._cursor in self._index:
            now = self._index[self._cursor]
            if line is not None and self.scroll_offset.y > 0:
                self.scroll_to(y=max(0, now - line), animate=False)
            self._reveal()
        else:
            near = min(line + self.scroll_offset.y if line is not None else 0, len(self._shown) - 1)
            self._put(self._shown[near] if self._shown else None)
            self._reveal()

    def _line(self) -> int | None:
        """The cursor's line below the heading."""
        at = self._index.get(self._cursor or "")
        return None if at is None else at - self.scroll_offset.y

    def _put(self, case_id: str | None) -> None:
        before, self._cursor = self._cursor, case_id
        if before != case_id:
            for each in (before, case_id):
                self._refresh_case(each)
            self.post_message(self.Moved(case_id))

    def _reveal(self) -> None:
        at = self._index.get(self._cursor or "")
        height = max(1, self.size.height - _HEADER)
        if at is None:
            return
        top = self.scroll_offset.y
        if not top <= at < top + height:
            self.scroll_to(y=at if at < top else at - height + 1, animate=False)

    def _refresh_case(self, case_id: str | None) -> None:
        at = self._index.get(case_id or "")
        if at is not None:
            y = at - self.scroll_offset.y + _HEADER
            if _HEADER <= y < self.size.height:
                self.refresh(Region(0, y, self.size.width, 1))

    def action_move(self, lines: int) -> None:
        """Up or down."""
        if self._shown:
            at = self._index.get(self._cursor or "", 0)
            self.move_to(self._shown[max(0, min(len(self._shown) - 1, at + lines))])

    def action_page(self, pages: int) -> None:
        """Up or down by a screen."""
        self.action_move(pages * max(1, self.size.height - _HEADER - 1))

    def action_open(self) -> None:
        """Open the case under the cursor."""
        if self._cursor is not None:
            self.post_message(self.Opened(self._cursor))

    def on_resize(self, event: events.Resize) -> None:
        """Other columns may fit."""
        self.virtual_size = Size(event.size.width, len(self._shown) + _HEADER)
        self._reveal()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """A heading sorts; a line takes the cursor; the line of the cursor opens."""
        if event.y < _HEADER:
            x = 1
            for column, cells in laid_out(self.columns, self.size.width):
                if x <= event.x < x + cells + 1:
                    self.post_message(self.SortAsked(column.key))
                x += cells + 1
            return
        at = event.y - _HEADER + self.scroll_offset.y
        if at < len(self._shown):
            if self._shown[at] == self._cursor:
                self.action_open()
            else:
                self._put(self._shown[at])

    def render_line(self, y: int) -> Strip:
        """The heading, or a case."""
        width = self.size.width
        base = self.rich_style
        if y == 0:
            return self._heading(width)
        at = y - _HEADER + self.scroll_offset.y
        if at >= len(self._shown):
            return Strip.blank(width, base)
        case = self._cases[self._shown[at]]
        here = case.case_id == self._cursor
        ground = base + self.get_component_rich_style("case-table--cursor", partial=True) if here else base
        sign = "◉" if case.case_id in self.marked else "▌" if here else " "
        segments = [Segment(sign, ground)]
        places = laid_out(self.columns, width)
        drawn = [column.cell(case, self.scene, cells) for column, cells in places]
        self._said[case.case_id] = tuple(cell.text for cell in drawn)
        for cell, (_, cells) in zip(drawn, places, strict=True):
            style = ground if cell.tone is Tone.PLAIN else ground + self._tone(cell.tone)
            segments += [Segment(fitted(cell.text, cells), style), Segment(" ", ground)]
        return Strip(segments).adjust_cell_length(width, ground)

    def _tone(self, tone: Tone) -> Style:
        return self.get_component_rich_style(f"case-table--{tone}", partial=True)

    def _heading(self, width: int) -> Strip:
        style = self.get_component_rich_style("case-table--heading")
        segments = [Segment(" ", style)]
        key, reverse = self.sort
        for column, cells in laid_out(self.columns, width):
            arrow = ("▼" if column.newest_first != reverse else "▲") if column.key == key else ""
            title = (
                column.title
                if cell_len(column.title) + len(arrow) <= cells
                else column.title[: cells - len(arrow)]
            )
            segments.append(Segment(fitted(title + arrow, cells) + " ", style))
        return Strip(segments).adjust_cell_length(width, style)


def fitted(text: str, cells: int) -> str:
    """Cut or filled to a number of cells; what is cut ends in an ellipsis. Control characters become spaces."""
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    if cell_len(text) <= cells:
        return set_cell_size(text, cells)
    return f"{set_cell_size(text, cells - 1)}…"
