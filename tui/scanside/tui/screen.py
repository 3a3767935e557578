"""What every screen has: the banner on top, the alarms below it, the keys at the bottom, help on `?`."""

from collections.abc import Sequence
from dataclasses import replace

from textual import work as in_background
from textual._context import NoActiveAppError
from textual.app import ComposeResult, ScreenStackError
from textual.screen import Screen

from scanside.tui.actions import Subject, why_not
from scanside.tui.asking import do, no_further
from scanside.tui.commands import Command
from scanside.tui.feed import Snapshot
from scanside.tui.format import RESEARCH, result_sentence, spoken, state_words
from scanside.tui.widgets.banner import AlarmLine, Banner
from scanside.tui.widgets.keyline import KeyLine
from scanside.tui.workplace import Workplace, changes, workplace


class ScansideScreen(Screen[None]):
    """A screen of the terminal. Subclasses compose their own part and are told of every look into the store.

    A screen that nobody sees is not told: it hears of what it missed when it is seen again. `HELP` is the text of the
    screen's help; `BINDINGS` come from the table of commands.
    """

    @property
    def work(self) -> Workplace:
        """What is looked at."""
        return workplace(self)

    @property
    def is_current(self) -> bool:
        """Seen. Textual says yes for a screen below an opaque one too, which then repaints the one on top."""
        return self.seen

    @property
    def seen(self) -> bool:
        """Whether somebody sees this screen: it is on top, or below a window that leaves its edges free."""
        try:
            stack = self.app.screen_stack
        except (ScreenStackError, NoActiveAppError):
            return False
        below = next((place for place, one in enumerate(reversed(stack)) if not one.is_modal), 0)
        return self in stack[-1 - below :]

    def compose(self) -> ComposeResult:
        """Banner, alarms, the screen's own part, keys."""
        yield Banner()
        yield AlarmLine()
        yield from self.compose_body()
        yield KeyLine()

    def compose_body(self) -> ComposeResult:
        """The screen's own part."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Listen to the feed, beginning with what is known."""
        self._missed = False
        changes(self).subscribe(self, self._changed)
        self.call_after_refresh(self.store_changed, self.work.feed.everything())

    def _changed(self, snapshot: Snapshot) -> None:
        if self.seen:
            self.store_changed(snapshot)
        else:
            self._missed = True

    def on_screen_resume(self) -> None:
        """Catch up."""
        if getattr(self, "_missed", False):
            self._missed = False
            self.store_changed(self.work.feed.everything())

    def store_changed(self, snapshot: Snapshot) -> None:
        """Something is new in the store, or the health of the service has changed. Called on the UI's thread."""

    def why_not(self, command: Command) -> str | None:
        """Why a command of this screen may not be given now; None where it may."""
        return None


class StudyScreen(ScansideScreen):
    """A screen on which something can be done to studies."""

    def subjects(self, act: str) -> Sequence[Subject] | str:
        """What an act would be done to, or the sentence why to nothing."""
        raise NotImplementedError

    def why_not(self, command: Command) -> str | None:
        """The guards of the acts."""
        if command.act is None:
            return None
        found = self.subjects(command.act)
        if isinstance(found, str):
            return found
        refusals = [why_not(command.act, one, self.work) for one in found]
        return refusals[0] if all(refusals) else None

    def copied(self, whole: bool) -> str:
        """What the clipboard gets: case ids, or with `whole` what is known of the studies, without names."""
        found = self.subjects("copy")
        if isinstance(found, str):
            return ""
        return "\n".join(_report(one) if whole else one.case.case_id for one in found)

    def action_act(self, act: str) -> None:
        """Do something to what is looked at: the guard answers, or it is asked."""
        found = self.subjects(act)
        if isinstance(found, str):
            no_further(self.app, found)
        elif act == "choose":
            self._choose(found)
        else:
            do(self.app, act, found)

    @in_background(group="choose", exclusive=True)
    async def _choose(self, subjects: Sequence[Subject]) -> None:
        """Choose series first, then ask."""
        from scanside.tui.case.choose import SeriesScreen

        subject = subjects[0]
        refusal = why_not("choose", subject, self.work)
        if len(subjects) > 1 or refusal:
            no_further(self.app, refusal or "Series are chosen for one study at a time.")
            return
        case = subject.case
        study = self.work.config.spool / case.case_id
        chosen = await self.app.push_screen_wait(SeriesScreen(study, case.case_id, case.series))
        if chosen is not None:
            do(self.app, "choose", [replace(subject, series=chosen)])


def _report(subject: Subject) -> str:
    """A study in words, for a mail or a ticket."""
    case = subject.case
    lines = [f"Case {case.case_id}: {state_words(case).text}. {result_sentence(case)}"]
    lines += [f"Warning: {spoken(one.sentence)}" for one in case.warnings or ()]
    lines += [case.reason] if case.reason else []
    return "\n".join([*lines, f"{RESEARCH}."])
