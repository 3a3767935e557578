"""The worklist: every study, what needs a person first, and what may be done about it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.events import Click
from textual.widgets import Input, Static

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.tui.actions import Subject
from scanside.tui.commands import COMMANDS, Place, bindings
from scanside.tui.estimate import Typical
from scanside.tui.feed import Health, Snapshot
from scanside.tui.preferences import Preferences
from scanside.tui.screen import StudyScreen
from scanside.tui.worklist.columns import Scene, columns, laid_out
from scanside.tui.worklist.detail import DetailStrip
from scanside.tui.worklist.table import CaseTable
from scanside.tui.worklist.view import GROUPS, View, chosen, counts

URGENT = ("review", "trouble")
"""Groups that want a person, when they are not empty."""
STUDY_COMMANDS = tuple(command for command in COMMANDS if command.act)
AGE_SECONDS = 10.0
"""How often ages are drawn anew when nothing else happens."""


class WorklistScreen(StudyScreen):
    """Every study."""

    HELP = """\
## List of studies

Every study that has been received, the latest first. The lines below the table say more about the one under the cursor.

**State** ↓ receiving · ◌ queued · ‖ paused, or stalled: nobody works on it · ▶ running, with time left · ◆ waits for
review · ↑ sending · ✓ done · ✗ failed as often as allowed · ↻ is tried again · ⊘ rejected · – cancelled

**Result** ● the class, its probability and the calibration interval (status *ok*) · ◇ indeterminate · ○ no lesion
segmented, which is *not* a negative finding · ! unsuitable input · !2 at the end: two warnings. Only *ok* comes with a
number here.

**Sent** ✓ all objects have arrived · ↑ on their way · ✗ tried in vain · ◆ waits until the result is accepted

A key that is not allowed says why. A result is accepted after its images were opened. Space marks several studies: what
is done next is asked once for all of them. Search: any words that a line shows. Research use only.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        one for one in bindings(Place.WORKLIST) if one not in CaseTable.BINDINGS
    ]

    def __init__(self) -> None:
        super().__init__()
        self.view = View()
        self._stages: dict[str, tuple[str | None, float]] = {}
        self._beyond: dict[str, Case] = {}
        self._refused: tuple[bool, ...] = ()
        self._alarm = 0
        self._groups = Text()
        self._minute = 0
        self._group_places: list[tuple[int, int, str]] = []

    def compose_body(self) -> ComposeResult:
        """Filters, search, table, detail."""
        names = self.work.names
        self.scene = Scene(self.work.now(), Typical(), Health(), names, {})
        chosen = self.work.preferences
        if chosen.group in GROUPS and chosen.sort in {column.key for column in columns(names)}:
            self.view = View(chosen.group, "", chosen.sort, chosen.reverse)
        yield Static(id="groups")
        yield Input(placeholder="words to look for; Enter keeps them, Escape shows all", id="search")
        yield CaseTable(columns(names), self.scene)
        yield DetailStrip(id="detail")

    def on_mount(self) -> None:
        """The table has the keys; ages go on by themselves."""
        self.query_one("#search").display = False
        self.table.focus()
        self.set_interval(AGE_SECONDS, self._older)
        self.set_interval(1.0, self._tick)

    def on_screen_resume(self) -> None:
        """Ages went on while another screen was here."""
        super().on_screen_resume()
        self._older()

    @property
    def table(self) -> CaseTable:
        """The table."""
        return self.query_one(CaseTable)

    def store_changed(self, snapshot: Snapshot) -> None:
        """Show what is new, and leave the cursor where it is."""
        for case in snapshot.changed:
            stage, _ = self._stages.get(case.case_id, (None, 0.0))
            if case.state is not State.RUNNING:
                self._stages.pop(case.case_id, None)
            elif stage != case.stage or case.case_id not in self._stages:
                self._stages[case.case_id] = (case.stage, self.work.now())
        before = self.scene.health
        self._renew_scene()
        self.set_class(self.scene.health.lost_since is not None, "lost")
        health = self.scene.health
        if snapshot.complete or (before.stuck, before.working) != (health.stuck, health.working):
            self._show()
        elif not snapshot.changed:
            self._show_groups(len(self.table.shown))
        elif self._beyond_progress(snapshot):
            self._show([case.case_id for case in snapshot.changed])
        else:
            self._show_progress([case.case_id for case in snapshot.changed])

    def _beyond_progress(self, snapshot: Snapshot) -> bool:
        """Whether more is new than how far a running case is: then lines may come, go or move."""
        more = self.view.sort == "remark" or bool(self.view.words)  # these look at the stage
        for case in snapshot.changed:
            beyond = replace(case, stage=None, done=0, total=0, tick=0)
            more |= self._beyond.get(case.case_id) != beyond
            self._beyond[case.case_id] = beyond
        return more

    def _show_progress(self, changed: list[str]) -> None:
        """Draw some lines anew; their order is as before."""
        self.table.show_cases(self.work.feed.cases, self.table.shown, changed)
        if self.table.cursor in changed:
            self._show_detail()

    def _renew_scene(self) -> None:
        feed = self.work.feed
        seen = {case_id: at for case_id, (_, at) in self._stages.items()}
        self.scene = replace(
            self.scene, now=self.work.now(), typical=feed.typical, health=feed.health, stage_seen=seen
        )
        self.table.scene = self.scene

    def _show(self, changed: list[str] | None = None) -> None:
        cases = self.work.feed.cases
        table = self.table
        shown = chosen(cases.values(), self.view, table.columns, self.scene)
        table.sort_by(self.view.sort, self.view.reverse)
        view = self.view
        self.work.preferences = Preferences(group=view.group, sort=view.sort, reverse=view.reverse)
        table.show_cases(cases, shown, changed)
        self._show_groups(len(shown))
        self._show_detail()

    def _show_groups(self, shown: int) -> None:
        number = counts(self.work.feed.cases.values(), self.scene)
        line = Text(no_wrap=True, overflow="ellipsis")
        at = 0
        self._group_places.clear()
        for group in GROUPS:
            style = "bold reverse" if group == self.view.group else ""
            style += " bold" if group in URGENT and number[group] else ""
            words = f" {group} {number[group]} "
            line.append(words, style)
            self._group_places.append((at, at + len(words), group))
            at += len(words)
        if self.table.marked:
            line.append(f"  {len(self.table.marked)} marked", "bold")
        if self.view.words:
            line.append(f"  “{self.view.words}”: {shown}", "bold")
        if not self.work.feed.loaded and self.work.feed.health.lost_since is None:
            line.append("  reading …")
        if line != self._groups or line.spans != self._groups.spans:
            self._groups = line
            self.query_one("#groups", Static).update(line, layout=False)

    def _show_detail(self) -> None:
        case = self.case
        self.query_one(DetailStrip).show(case, self.scene, self._nothing())
        refused = tuple(self.why_not(command) is None for command in STUDY_COMMANDS)
        if refused != self._refused:
            self._refused = refused
            self.refresh_bindings()

    def _nothing(self) -> str:
        """Why no case is shown."""
        if not self.work.feed.cases:
            return f"Nothing was received yet. {self.work.coming()}".strip()
        return "No study fits the filter and the words: Escape shows all."

    def _older(self) -> None:
        if self.seen:
            self._renew_scene()
            self.table.refresh_times()
            self._show_detail()

    def _tick(self) -> None:
        """Time left counts down between two events; in an empty list, what is coming."""
        if not self.seen:
            return
        if not self.work.feed.cases and self.work.coming():
            self._show_detail()
        before, self._minute = self._minute, int(self.work.now() // 60)
        if before != self._minute:
            self._older()
        elif self._stages and self.scene.working:
            self._renew_scene()
            self.table.refresh_times(only=self._stages)
            if self.table.cursor in self._stages:
                self._show_detail()

    @property
    def case(self) -> Case | None:
        """The case under the cursor."""
        return self.work.feed.case(self.table.cursor or "")

    @on(CaseTable.Moved)
    def _moved(self) -> None:
        self._show_detail()

    @on(CaseTable.Opened)
    def _opened(self, message: CaseTable.Opened) -> None:
        from scanside.tui.case.screen import CaseScreen

        self.app.push_screen(CaseScreen(message.case_id))

    @on(CaseTable.SortAsked)
    def _sort_asked(self, message: CaseTable.SortAsked) -> None:
        reverse = message.key == self.view.sort and not self.view.reverse
        self.view = replace(self.view, sort=message.key, reverse=reverse)
        self._show()

    def action_sort(self) -> None:
        """Sort by the next column that is on the screen."""
        keys = [column.key for column, _ in laid_out(self.table.columns, self.table.size.width)]
        place = keys.index(self.view.sort) + 1 if self.view.sort in keys else 0
        self.view = replace(self.view, sort=keys[place % len(keys)], reverse=False)
        self._show()

    def action_reverse(self) -> None:
        """The other way round."""
        self.view = replace(self.view, reverse=not self.view.reverse)
        self._show()

    @on(Click, "#groups")
    def _group_clicked(self, event: Click) -> None:
        for first, last, group in self._group_places:
            if first <= event.x < last:
                self.view = replace(self.view, group=group)
                self._show()

    def action_filter(self, step: int) -> None:
        """Show the next group."""
        groups = list(GROUPS)
        self.view = replace(self.view, group=groups[(groups.index(self.view.group) + step) % len(groups)])
        self._show()

    def action_search(self) -> None:
        """Type words."""
        search = self.query_one("#search", Input)
        search.display = True
        search.focus()

    def action_clear(self) -> None:
        """Everything again."""
        search = self.query_one("#search", Input)
        search.value, search.display = "", False
        self.table.marked.clear()
        self.view = replace(self.view, group="all", words="")
        self.table.focus()
        self._show()

    @on(Input.Changed, "#search")
    def _typed(self, message: Input.Changed) -> None:
        self.view = replace(self.view, words=message.value.strip())
        self._show()

    @on(Input.Submitted, "#search")
    def _searched(self, message: Input.Submitted) -> None:
        message.input.display = bool(message.value.strip())
        self.table.focus()

    def action_alarm(self) -> None:
        """Go to the case of the next alarm."""
        about = [alarm.case_id for alarm in self.work.alarms if alarm.case_id]
        if not about:
            self.notify("No alarm is about a case.")
            return
        case_id = about[self._alarm % len(about)]
        self._alarm += 1
        if not self.table.move_to(case_id):
            self.action_clear()
            self.table.move_to(case_id)

    def action_mark(self) -> None:
        """Mark the study under the cursor, or take its mark away; what is done next is done to all that are marked."""
        if self.table.cursor is not None:
            self.table.marked ^= {self.table.cursor}
            self.table.refresh()
            self.table.action_move(1)
            self._show_groups(len(self.table.shown))
            self._show_detail()

    def subjects(self, act: str) -> Sequence[Subject] | str:
        """The marked studies, else the one under the cursor."""
        table, feed = (
            self.table,
            self.work.feed,
        )  # asked for every command at every key, with thousands of rows
        rows = table.shown if table.marked else ()
        marked = [Subject(case) for one in rows if one in table.marked and (case := feed.case(one))]
        if marked:
            return marked
        return [Subject(self.case)] if self.case is not None else "No study is under the cursor."
