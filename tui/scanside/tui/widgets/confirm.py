"""The question before every change: what will happen, and a reason where one is wanted."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from scanside.tui.format import RESEARCH


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        title: The question.
        text: What will happen then.
        button: The word of consent.
        reason: Whether a reason may or has to be given.
    """

    title: str
    text: str
    button: str
    reason: Literal["none", "optional", "required"] = "none"


@dataclass(frozen=True)
class Answer:
    """Yes, with a reason or None."""

    reason: str | None


class ConfirmScreen(ModalScreen[Answer | None]):
    """Asks; None when it was not confirmed. Enter says yes, Escape says no."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "refuse", "No", id="confirm.no")]

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question

    def compose(self) -> ComposeResult:
        """Title, text, reason, two buttons."""
        with Vertical(id="question") as window:
            window.border_title = RESEARCH
            yield Static(self.question.title, id="title", markup=False)
            yield Static(self.question.text, id="text", markup=False)
            if self.question.reason != "none":
                must = "why (required)" if self.question.reason == "required" else "why (may be left empty)"
                yield Input(placeholder=must, id="reason", max_length=400)
            yield Static("", id="missing", markup=False)
            with Horizontal(id="buttons"):
                yield Button(f"{self.question.button}  ⏎", id="yes", variant="primary")
                yield Button("No  esc", id="no")

    def on_mount(self) -> None:
        """The reason is typed at once; without one, Enter is yes."""
        self.query_one("#reason" if self.question.reason != "none" else "#yes").focus()

    def action_refuse(self) -> None:
        """No."""
        self.dismiss(None)

    @on(Button.Pressed, "#no")
    def _no(self) -> None:
        self.dismiss(None)

    @on(Button.Pressed, "#yes")
    @on(Input.Submitted)
    def _yes(self) -> None:
        reason = self.query_one("#reason", Input).value.strip() if self.question.reason != "none" else ""
        if self.question.reason == "required" and not reason:
            self.query_one("#missing", Static).update("✗ A reason has to be given.")
            self.query_one("#reason").focus()
            return
        self.dismiss(Answer(reason or None))
