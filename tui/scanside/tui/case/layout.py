"""How images and panels share the screen: one panel at a time behind a line of tabs, or all where there is room."""

from collections.abc import Mapping
from enum import StrEnum

from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

from scanside.tui.case.data import CaseData
from scanside.tui.case.findings import LESION
from scanside.tui.case.glance import Glance
from scanside.tui.case.panels import PANELS, Panel
from scanside.tui.case.stack import Spot
from scanside.tui.case.viewer import Viewer


class PanelView(Vertical):
    """One panel, as wide as there is room."""

    DEFAULT_CSS = """
    PanelView { height: 1fr; }
    PanelView > .title { height: 1; padding: 0 1; background: $panel; color: $foreground; text-style: bold underline; }
    PanelView.current > .title { background: $cursor; text-style: bold; }
    PanelView > VerticalScroll { scrollbar-size-vertical: 1; scrollbar-gutter: stable; padding: 0 0 0 1; }
    """

    def __init__(self, panel: Panel) -> None:
        super().__init__(id=f"panel-{panel.name}")
        self.panel = panel
        self._shown: tuple[CaseData, Spot | None, Mapping[Spot, tuple[int, int]]] | None = None

    def compose(self) -> ComposeResult:
        """Title and text."""
        yield Static(self.panel.title, classes="title", markup=False)
        with VerticalScroll(can_focus=False):
            yield Static("", classes="text", markup=False)

    @property
    def scroller(self) -> VerticalScroll:
        """What scrolls."""
        return self.query_one(VerticalScroll)

    class LesionChosen(Message):
        """A click on a line of the lesion table."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def on_click(self, event: Click) -> None:
        """A lesion is gone to."""
        if (number := event.style.meta.get(LESION)) is not None:
            self.post_message(self.LesionChosen(int(number)))

    def show(self, data: CaseData, spot: Spot | None, spans: Mapping[Spot, tuple[int, int]]) -> None:
        """Show a case."""
        self._shown = (data, spot, spans)
        self._build()

    def on_resize(self) -> None:
        """Text is laid out for the width."""
        self._build()

    def _build(self) -> None:
        width = self.size.width - 2
        if self._shown is not None and width > 0:
            data, spot, spans = self._shown
            content = self.panel.build(Glance(data, spot, width, spans))
            self.query_one(".text", Static).update(content)


_TAB = "scanside.tab"


class Layout(StrEnum):
    """How the screen is shared out."""

    BESIDE = "beside"
    """Images left, one panel right."""
    BELOW = "below"
    """Two images, one panel below."""
    ALL = "all"
    """Two images, every panel beside and below."""


def layout_of(size: Size) -> Layout:
    """What fits."""
    if size.width >= 180 and size.height >= 50:
        return Layout.ALL
    return Layout.BELOW if size.width >= 100 and size.height >= 34 else Layout.BESIDE


_SIDE = ("result", "signature", "delivery")
"""Panels that stand beside the images where all are shown; the others stand below."""


class Board(Container):
    """Images and panels.

    Attributes:
        current: Index of the panel that keys act upon.
        alone: One image has the whole screen, without panels.
        layout_now: How they are arranged.
    """

    DEFAULT_CSS = """
    Board { height: 1fr; layout: grid; }
    Board > #tabs { height: 1; background: $panel; color: $foreground; }
    Board > Viewer { width: 100%; height: 100%; }
    Board PanelView > .title { display: none; }
    Board.alone { grid-size: 1 1; }
    Board.alone > #tabs { display: none; }
    Board.beside { grid-size: 2 2; grid-rows: 1 1fr; grid-gutter: 0 1; }
    Board.beside > Viewer { row-span: 2; }
    Board.below { grid-size: 1 3; grid-rows: 5fr 1 3fr; }
    Board.all { grid-size: 2 2; grid-columns: 1fr 60; grid-rows: 5fr 4fr; grid-gutter: 0 1; }
    Board.all > #tabs { display: none; }
    Board.all > #side { row-span: 2; }
    Board.all > #under { layout: horizontal; }
    Board.all PanelView > .title { display: block; }
    Board.all > #under PanelView { width: 1fr; margin-right: 1; }
    Board.all #panel-signature { height: 21; }
    Board.all #panel-delivery { height: 10; }
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(id="board")
        self._viewer = viewer
        self.current = 0
        self.alone = False
        self.layout_now: Layout | None = None

    def compose(self) -> ComposeResult:
        """Images, tabs, panels."""
        yield self._viewer
        yield Static("", id="tabs", markup=False)
        for place, beside in (("side", True), ("under", False)):
            with Container(id=place):
                for panel in PANELS:
                    if (panel.name in _SIDE) is beside:
                        yield PanelView(panel)

    @property
    def views(self) -> list[PanelView]:
        """The panels, in the order of their tabs."""
        return [self.query_one(f"#panel-{panel.name}", PanelView) for panel in PANELS]

    def show(self, data: CaseData, spot: Spot | None, spans: Mapping[Spot, tuple[int, int]]) -> None:
        """Show a case; the panel that is looked at stays."""
        for view in self.views:
            view.show(data, spot, spans)

    def lay_out(self, size: Size) -> None:
        """Arrange for the size of the screen."""
        self.layout_now = layout_of(size)
        for one in Layout:
            self.set_class(one is self.layout_now and not self.alone, one)
        self.set_class(self.alone, "alone")
        self._viewer.double = not self.alone and (self.layout_now is not Layout.BESIDE or size.width >= 150)
        self.turn(0)
        self.call_after_refresh(self._show_tabs)

    def turn(self, steps: int) -> None:
        """To the next panel, or one before; panels come back if they were away."""
        if steps and self.alone:
            self.alone = False
            self.lay_out(self.screen.size)
        self.current = (self.current + steps) % len(PANELS)
        all_shown = self.layout_now is Layout.ALL
        for place, view in enumerate(self.views):
            view.display = all_shown or place == self.current
            view.set_class(place == self.current, "current")
        beside = PANELS[self.current].name in _SIDE
        self.query_one("#side").display = not self.alone and (all_shown or beside)
        self.query_one("#under").display = not self.alone and (all_shown or not beside)
        self._show_tabs()

    def _show_tabs(self) -> None:
        self.query_one("#tabs", Static).update(self._tabs(), layout=False)

    def on_click(self, event: Click) -> None:
        """A tab shows its panel."""
        if (place := event.style.meta.get(_TAB)) is not None:
            self.turn(int(place) - self.current)

    def scroll_panel(self, pages: float) -> None:
        """Move the text of the panel, by parts of its height."""
        scroller = self.views[self.current].scroller
        scroller.scroll_relative(
            y=round(pages * scroller.size.height) or (1 if pages > 0 else -1), animate=False
        )

    def on_resize(self) -> None:
        """The tabs fit the width."""
        self.call_after_refresh(self.turn, 0)

    def _tabs(self) -> Content:
        """All names where they fit; else the one that is shown and how many there are."""
        titles = [panel.title for panel in PANELS]
        if sum(len(title) + 3 for title in titles) <= self.query_one("#tabs").size.width:
            parts = [
                Content.styled(f" {title} ", "bold reverse" if place == self.current else "").stylize(
                    Style.from_meta({_TAB: place})
                )
                for place, title in enumerate(titles)
            ]
            return Content("│").join(parts)
        here = (f" {titles[self.current]} ", "bold reverse")
        return Content.assemble(" ‹ ", here, f" {self.current + 1}/{len(titles)} ›  tab turns")
