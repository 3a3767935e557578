"""The worklist: every study, what needs a person first, and what may be done about it."""

from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import Action, State
from scanside.tui import actions
from scanside.tui.estimate import Typical
from scanside.tui.feed import Health, Snapshot
from scanside.tui.screen import ScansideScreen
from scanside.tui.worklist.columns import Scene, columns
from scanside.tui.worklist.detail import DetailStrip
from scanside.tui.worklist.table import CaseTable
from scanside.tui.worklist.view import GROUPS, View, chosen, counts

URGENT = ("review", "trouble")
"""Groups that want a person, when they are not empty."""
AGE_SECONDS = 10.0
"""How often ages are drawn anew when nothing else happens."""


class WorklistScreen(ScansideScreen):
    """Every study."""

    HELP = """\
## Worklist

Every study that has been received, the latest first. The line below the table says more about the one under the cursor.

**State** ↓ receiving · ◌ queued · ‖ paused · ▶ running, with time left · ◆ waits for review · ↑ sending · ✓ done ·
✗ quarantined (failed as often as allowed) · ↻ is tried again · ⊘ rejected · – cancelled

**Result** ● ok, with the probability and its calibration band · ◇ indeterminate · ○ no lesion segmented, which is *not*
a negative finding · ! unsuitable input. Only *ok* comes with a number here.

**Sent** ✓ all objects have arrived · ↑ on their way · ✗ tried in vain · ◆ held until accepted

Search: any words that a line shows. Filter: all, at work, review, trouble, done, set aside. Research use only.
"""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/", id="worklist.search"),
        Binding("escape", "clear", "All", show=False, id="worklist.clear"),
        Binding("f", "filter(1)", "Filter", id="worklist.filter"),
        Binding("F", "filter(-1)", "Filter back", show=False, id="worklist.filter-back"),
        Binding("s", "sort", "Sort", id="worklist.sort"),
        Binding("S", "reverse", "Reverse the order", show=False, id="worklist.reverse"),
        Binding("exclamation_mark", "alarm", "Alarm", key_display="!", id="worklist.alarm"),
        Binding("a", "act('accept')", "Accept", id="worklist.accept"),
        Binding("r", "act('reject')", "Reject", id="worklist.reject"),
        Binding("n", "rerun", "Run again", show=False, id="worklist.rerun"),
        Binding("t", "act('retry')", "Try again", show=False, id="worklist.retry"),
        Binding("w", "act('send again')", "Send again", show=False, id="worklist.send-again"),
        Binding("p", "pause", "Pause or resume", show=False, id="worklist.pause"),
        Binding("x", "act('cancel')", "Cancel", show=False, id="worklist.cancel"),
        Binding(
            "plus", "prioritise(1)", "Priority up", show=False, key_display="+", id="worklist.up-priority"
        ),
        Binding(
            "minus",
            "prioritise(-1)",
            "Priority down",
            show=False,
            key_display="-",
            id="worklist.down-priority",
        ),
        Binding("m", "mark_false", "Mark lesion as false", show=False, id="worklist.false"),
        Binding("P", "pause_queue", "Pause or resume the queue", show=False, id="worklist.pause-queue"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.view = View()
        self._stages: dict[str, tuple[str | None, float]] = {}
        self._beyond: dict[str, Case] = {}
        self._allowed: frozenset[Action] | None = None
        self._alarm = 0

    def compose_body(self) -> ComposeResult:
        """Filters, search, table, detail."""
        names = self.terminal.config.service.show_names
        self.scene = Scene(self.terminal.now(), Typical(), Health(), names, {})
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
                self._stages[case.case_id] = (case.stage, self.terminal.now())
        stuck = self.scene.health.stuck
        self._renew_scene()
        self.set_class(self.scene.health.lost_since is not None, "lost")
        if snapshot.complete or stuck != self.scene.health.stuck:
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
        self.table.show_cases(self.terminal.feed.cases, self.table.shown, changed)
        if self.table.cursor in changed:
            self._show_detail()

    def _renew_scene(self) -> None:
        feed = self.terminal.feed
        seen = {case_id: at for case_id, (_, at) in self._stages.items()}
        self.scene = replace(
            self.scene, now=self.terminal.now(), typical=feed.typical, health=feed.health, stage_seen=seen
        )
        self.table.scene = self.scene

    def _show(self, changed: list[str] | None = None) -> None:
        cases = self.terminal.feed.cases
        table = self.table
        shown = chosen(cases.values(), self.view, table.columns, self.scene)
        table.sort = (self.view.sort, self.view.reverse)
        table.show_cases(cases, shown, changed)
        self._show_groups(len(shown))
        self._show_detail()

    def _show_groups(self, shown: int) -> None:
        number = counts(self.terminal.feed.cases.values(), self.scene)
        line = Text(no_wrap=True, overflow="ellipsis")
        for group in GROUPS:
            style = "bold reverse" if group == self.view.group else ""
            style += " bold" if group in URGENT and number[group] else ""
            line.append(f" {group} {number[group]} ", style)
        if self.view.words:
            line.append(f"  “{self.view.words}”: {shown}", "bold")
        if not self.terminal.feed.loaded and self.terminal.feed.health.lost_since is None:
            line.append("  reading …")
        self.query_one("#groups", Static).update(line, layout=False)

    def _show_detail(self) -> None:
        case = self.case
        self.query_one(DetailStrip).show(case, self.scene)
        allowed = actions.allowed(case) if case else frozenset()
        if allowed != self._allowed:
            self._allowed = allowed
            self.refresh_bindings()

    def _older(self) -> None:
        if self.is_current:
            self._renew_scene()
            self.table.refresh_times()
            self._show_detail()

    def _tick(self) -> None:
        """Time left counts down between two events."""
        if self.is_current and self._stages:
            self._renew_scene()
            self._show_progress(list(self._stages))

    @property
    def case(self) -> Case | None:
        """The case under the cursor."""
        return self.terminal.feed.case(self.table.cursor or "")

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
        """Sort by the next column."""
        keys = [column.key for column in self.table.columns]
        self.view = replace(self.view, sort=keys[(keys.index(self.view.sort) + 1) % len(keys)], reverse=False)
        self._show()

    def action_reverse(self) -> None:
        """The other way round."""
        self.view = replace(self.view, reverse=not self.view.reverse)
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
        about = [alarm.case_id for alarm in self.terminal.alarms if alarm.case_id]
        if not about:
            self.notify("No alarm is about a case.")
            return
        case_id = about[self._alarm % len(about)]
        self._alarm += 1
        if not self.table.move_to(case_id):
            self.action_clear()
            self.table.move_to(case_id)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Actions that the state of the case does not allow are greyed in the footer."""
        if action == "act":
            return True if self._allowed is not None and Action(str(parameters[0])) in self._allowed else None
        return True

    def action_act(self, action: str) -> None:
        """Accept, reject, retry, send again or cancel."""
        if self.case is not None:
            actions.act(self.terminal, self.case, Action(action))

    def action_pause(self) -> None:
        """Pause or resume the case."""
        case = self.case
        if case is not None:
            actions.act(self.terminal, case, Action.RESUME if case.state is State.PAUSED else Action.PAUSE)

    def action_rerun(self) -> None:
        """Compute again."""
        if self.case is not None:
            actions.rerun(self.terminal, self.case)

    def action_prioritise(self, sign: int) -> None:
        """Let it go before others, or after them."""
        if self.case is not None:
            actions.prioritise(self.terminal, self.case, sign * actions.BIG_STEP)

    def action_mark_false(self) -> None:
        """Say that the lesion is none."""
        if self.case is not None:
            actions.mark_false(self.terminal, self.case)

    def action_pause_queue(self) -> None:
        """Pause or resume the whole queue."""
        actions.pause_queue(self.terminal, not self.terminal.feed.health.paused)
