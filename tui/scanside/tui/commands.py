"""The one table of commands: what each is called, on which key, where, and what it does.

Key bindings, the bottom line, the help, the command palette, `keys.toml` and the plain mode all read this table; a
command exists because it has a row here. What a command may do to a study (its guard, its question, its deed) stands in
`actions.ACTS` under the same name. Pure data: no screen is imported here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from textual.binding import Binding, BindingType


class Place(StrEnum):
    """Where a command's key works."""

    APP = "app"
    WORKLIST = "worklist"
    CASE = "case"
    SYSTEM = "system"
    BENCH = "bench"
    SERIES = "series"
    JOBS = "jobs"
    CONFIRM = "confirm"
    HELP = "help"


SCREENS = (Place.WORKLIST, Place.CASE, Place.SYSTEM, Place.BENCH)
"""On each of them the app's own commands work too."""
STUDY = (Place.WORKLIST, Place.CASE)
"""What is done to a study is done alike in the list and in the open case."""


@dataclass(frozen=True)
class Command:
    """One row.

    Attributes:
        name: `group.word`: how keys.toml, the help and the plain mode call it.
        words: What it does, as a person says it.
        keys: Textual's names of its keys, with commas between them.
        action: Textual's action string.
        places: Screens that have it.
        foot: Its turn in the bottom line, the lowest first; 0 keeps it out.
        short: Words for the bottom line; empty for `words`.
        display: How its key is shown; empty for what Textual makes of it.
        first: It goes before the keys of the widget that has the focus.
    """

    name: str
    words: str
    keys: str
    action: str
    places: tuple[Place, ...]
    foot: int = 0
    short: str = ""
    display: str = ""
    first: bool = False

    @property
    def act(self) -> str | None:
        """Name of the act on a study, of which there is a row in `actions.ACTS`; None for anything else."""
        return self.name.removeprefix("study.") if self.name.startswith("study.") else None

    def binding(self) -> Binding:
        """As Textual wants it."""
        return Binding(
            self.keys,
            self.action,
            self.words,
            show=self.foot > 0,
            key_display=self.display or None,
            id=self.name,
            priority=self.first,
        )


def _study(name: str, words: str, keys: str, foot: int = 0, short: str = "", display: str = "") -> Command:
    return Command(f"study.{name}", words, keys, f"act('{name}')", STUDY, foot, short, display)


def _app(
    name: str, words: str, keys: str, action: str, foot: int = 0, short: str = "", display: str = ""
) -> Command:
    return Command(f"app.{name}", words, keys, action, (Place.APP,), foot, short, display)


def _on(
    place: Place, name: str, words: str, keys: str, action: str, foot: int = 0, short: str = "", display: str = "",
    *, first: bool = False,
) -> Command:  # fmt: skip
    return Command(f"{place}.{name}", words, keys, action, (place,), foot, short, display, first)


_W, _C, _S, _B = Place.WORKLIST, Place.CASE, Place.SYSTEM, Place.BENCH

COMMANDS: Sequence[Command] = (
    _study("accept", "Accept the result", "a", 20, "Accept"),
    _study("reject", "Reject the result", "r", 21, "Reject"),
    _study("false", "Mark the lesion as false", "m"),
    _study("undo", "Undo a rejection or a mark", "U", 50, "Undo"),
    _study("rerun", "Run again", "n"),
    _study("choose", "Choose series and run again", "N"),
    _study("retry", "Try again", "t"),
    _study("send-again", "Send again", "w"),
    _study("pause", "Pause or resume the study", "p"),
    _study("cancel", "Cancel", "x"),
    _study("sooner", "Compute sooner", "greater_than_sign", display=">"),
    _study("later", "Compute later", "less_than_sign", display="<"),
    _on(_W, "open", "Open the study", "enter", "open", 10, "Open"),
    _on(_W, "search", "Search", "slash", "search", 40, display="/"),
    _on(_W, "clear", "Show all studies", "escape", "clear"),
    _on(_W, "filter", "Next filter", "f", "filter(1)", 41, "Filter"),
    _on(_W, "filter-back", "Filter before", "F", "filter(-1)"),
    _on(_W, "sort", "Sort by the next column", "s", "sort", 42, "Sort"),
    _on(_W, "reverse", "Reverse the order", "S", "reverse"),
    _on(_W, "alarm", "Go to what the alarm is about", "exclamation_mark", "alarm", 25, "Alarm", "!"),
    _on(_W, "mark", "Mark or unmark the study", "space", "mark", 46, "Mark"),
    _app("copy", "Copy the case id", "y", "copy(0)"),
    _app("copy-report", "Copy the result in words", "Y", "copy(1)"),
    _on(_W, "up", "Up", "up,k", "move(-1)"),
    _on(_W, "down", "Down", "down,j", "move(1)"),
    _on(_W, "page-up", "Page up", "pageup", "page(-1)"),
    _on(_W, "page-down", "Page down", "pagedown", "page(1)"),
    _on(_W, "first", "First", "home", "move(-1000000)"),
    _on(_W, "last", "Last", "end", "move(1000000)"),
    _on(_C, "back", "Back to the list", "escape", "back", 10, "Back"),
    _on(_C, "slice-down", "Slice towards the feet", "down,j", "slices(-1)", 11, "Slice", "↑↓"),
    _on(_C, "slice-up", "Slice towards the head", "up,k", "slices(1)"),
    _on(_C, "page-down", "5 slices towards the feet", "pagedown", "slices(-5)"),
    _on(_C, "page-up", "5 slices towards the head", "pageup", "slices(5)"),
    _on(_C, "first", "First slice, at the head", "home", "slices(100000)"),
    _on(_C, "last", "Last slice, at the feet", "end", "slices(-100000)"),
    _on(_C, "lesion", "Next lesion", "g", "lesion(1)", 12, "Lesion"),
    _on(_C, "lesion-before", "Lesion before", "G", "lesion(-1)"),
    _on(_C, "outline", "Outline on or off", "i", "outline", 44, "Outline"),
    _on(_C, "image", "Next image", "v", "image", 41, "Image"),
    _on(_C, "lens", "Lens on the lesion, on or off", "Z", "lens", 46, "Lens"),
    _on(_C, "cells", "Finer or coarser cells", "V", "cells"),
    _on(_C, "larger", "Larger", "plus,equals_sign", "zoom(1)", 43, "Zoom", "+-"),
    _on(_C, "smaller", "Smaller", "minus", "zoom(-1)", display="-"),
    _on(_C, "left", "Move left", "left,H", "shift(0,-1)"),
    _on(_C, "right", "Move right", "right,L", "shift(0,1)"),
    _on(_C, "move-up", "Move up", "shift+up,K", "shift(-1,0)"),
    _on(_C, "move-down", "Move down", "shift+down,J", "shift(1,0)"),
    _on(_C, "brighter", "Brighter", "b", "window(0,-1)"),
    _on(_C, "darker", "Darker", "B", "window(0,1)"),
    _on(_C, "contrast", "More contrast", "c", "window(1,0)"),
    _on(_C, "contrast-less", "Less contrast", "C", "window(-1,0)"),
    _on(_C, "alone", "One image on the whole screen, and back", "l", "alone", 42, "Large"),
    _on(_C, "anew", "Whole slice, own window", "z", "anew"),
    _on(_C, "panel", "Next panel", "tab", "panel(1)", 40, "Panel"),
    _on(_C, "panel-before", "Panel before", "shift+tab", "panel(-1)"),
    _on(_C, "text-down", "Scroll the panel down", "d", "text(0.7)"),
    _on(_C, "text-up", "Scroll the panel up", "u", "text(-0.7)"),
    _on(_C, "page", "Open the study in a browser", "o", "page", 22, "Browser"),
    _on(_C, "earlier", "Earlier results of this study", "h", "jobs"),
    _on(_S, "back", "Back to the list", "escape", "app.switch_mode('worklist')", 10, "Back"),
    _on(_S, "ask", "Ask the destinations whether they answer", "E", "echo", 20, "Ask destinations"),
    _on(_S, "verify", "Verify the bundle", "I", "verify", 21, "Verify bundle"),
    _on(_S, "filter", "Search the log", "slash", "filter", 22, "Search", "/"),
    _on(_B, "back", "Back to the list", "escape", "app.switch_mode('worklist')", 10, "Back"),
    _on(_B, "start", "Start the benchmark", "enter", "start", 20, "Start"),
    _on(_B, "stop", "Cancel", "x", "stop", 21, "Cancel"),
    _on(_B, "edit", "Edit the command", "e", "edit", 22, "Edit"),
    _on(_B, "reload", "Read the results again", "f5", "reload"),
    _app("pause-queue", "Pause or resume the whole queue", "P", "pause_queue"),
    _app("worklist", "List of studies", "1", "switch_mode('worklist')", 28, "List"),
    _app("system", "System", "2", "switch_mode('system')", 27),
    _app("bench", "Benchmarks", "3", "switch_mode('bench')", 29, "Bench"),
    _app("theme", "Next theme", "T", "next_theme", 45, "Theme"),
    _app("palette", "All commands", "ctrl+p", "command_palette", 26, "Commands", "^p"),
    _app("help", "Help", "question_mark", "show_help", 1, display="?"),
    _app("quit", "Quit", "q", "quit", 2),
    _on(Place.SERIES, "take", "Take it for the next sequence", "space", "take", 10, "Take it for"),
    _on(Place.SERIES, "leave", "Leave it to the rules", "backspace,delete", "leave", 11),
    _on(Place.SERIES, "accept", "Run again", "enter", "accept", 12, first=True),
    _on(Place.SERIES, "no", "No", "escape", "dismiss(None)", 13),
    _on(Place.SERIES, "help", "Help", "question_mark", "app.show_help", 14, display="?"),
    _on(Place.JOBS, "look", "Look at it", "enter", "look", 10, first=True),
    _on(Place.JOBS, "no", "Back", "escape", "dismiss(None)", 11),
    _on(Place.CONFIRM, "no", "No", "escape", "refuse"),
    _on(Place.HELP, "close", "Close", "escape,question_mark,q,enter", "app.pop_screen"),
)  # fmt: skip
"""Every command. The order is that of the help and the palette."""

BY_NAME: Mapping[str, Command] = {command.name: command for command in COMMANDS}


def of(place: Place) -> Iterator[Command]:
    """The commands that a screen has of its own."""
    return (command for command in COMMANDS if place in command.places)


def bindings(*places: Place) -> list[BindingType]:
    """The key bindings of a screen, a widget or the app."""
    return [command.binding() for place in places for command in of(place)]


def foot_words(name: str) -> str:
    """What the bottom line says of a command."""
    command = BY_NAME[name]
    return command.short or command.words
