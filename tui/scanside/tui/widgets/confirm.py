"""The question before every change: what is judged, what speaks against it, what will happen, and a reason."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from scanside.tui.commands import Place, bindings
from scanside.tui.format import RESEARCH
from scanside.tui.question import Answer, Need, Question


class ConfirmScreen(ModalScreen[Answer | None]):
    """Asks; None when it was not confirmed. Enter says yes, Escape says no."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.CONFIRM)

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        """Title, warnings, text, reason, two buttons."""
        with Vertical(id="question") as window:
            window.border_title = RESEARCH
            yield Static(self.question.title, id="title", markup=False)
            with VerticalScroll(id="told"):
                for warning in self.question.warnings:
                    yield Static(f"! {warning}", classes="warning", markup=False)
                for line in self.question.lines:
                    yield Static(line, classes="text", markup=False)
            if self.question.need is not Need.NONE:
                must = "why (required)" if self.question.need is Need.REQUIRED else "why (may be left empty)"
                yield Input(placeholder=must, id="reason", max_length=400)
            yield Static("", id="missing", markup=False)
            with Horizontal(id="buttons"):
                yield Button(f"{self.question.button}  ⏎", id="yes", variant="primary")
                yield Button("No  esc", id="no")

    def on_mount(self) -> None:
        """The reason is typed at once; without one, Enter is yes."""
        self.query_one("#reason" if self.question.need is not Need.NONE else "#yes").focus()

    def action_refuse(self) -> None:
        """No."""
        self.dismiss(None)

    @on(Button.Pressed, "#no")
    def _no(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#yes")
    @on(Input.Submitted)
    def _yes(self) -> None:
        wanted = self.question.need is not Need.NONE
        reason = self.query_one("#reason", Input).value.strip() if wanted else ""
        if self.question.need is Need.REQUIRED and not reason:
            self.query_one("#missing", Static).update("✗ A reason has to be given.")
            self.query_one("#reason").focus()
            return
        self.dismiss(Answer(reason or None))
