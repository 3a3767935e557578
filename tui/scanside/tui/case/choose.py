"""Choosing: which series is which sequence, and which job of a case to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import DataTable, OptionList, Static
from textual.widgets.option_list import Option

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.errors import InputError
from scanside.runtime.study.series_list import SeriesRow, list_series
from scanside.tui.commands import Place, bindings
from scanside.tui.format import RESEARCH, TITLES, full_moment
from scanside.tui.widgets.keyline import KeyLine

_CSS = """
SeriesScreen, JobsScreen { align: center middle; background: $background 60%; }
#choice { width: 110; max-width: 98%; height: auto; max-height: 96%; padding: 1 2; background: $surface;
    border: heavy $accent; }
#choice > .title { text-style: bold; margin-bottom: 1; }
#choice > DataTable { height: auto; max-height: 16; }
#choice > #why { height: auto; max-height: 10; margin-top: 1; }
#choice > KeyLine { dock: none; height: auto; margin-top: 1; background: $surface; }
"""


class SeriesScreen(ModalScreen[dict[str, str] | None]):
    """Every series of a study with what the rules say; the answer is sequence → key of a series, None for no.

    What a person leaves open the rules choose.
    """

    CSS = _CSS
    HELP = """\
## Which series is which

*rules* is what Scanside would take by itself; the lines below the table say why, for the series under the cursor. Take
a series for the next sequence with the space bar (T2WI, DWI, ADC, low b), or leave it to the rules. Running again asks
once more. Research use only.
"""
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.SERIES)

    class Listed(Message):
        """The series have been read, or the sentence why not."""

        def __init__(self, rows: Sequence[SeriesRow], why: str) -> None:
            super().__init__()
            self.rows, self.why = rows, why

    def __init__(self, study: Path, case_id: str, chosen: Mapping[str, str]) -> None:
        """Ask.

        Args:
            study: Folder of the study in the spool.
            chosen: What a person chose before.
        """
        super().__init__()
        self._study, self._case_id = study, case_id
        self.chosen = dict(chosen)
        self.rows: tuple[SeriesRow, ...] = ()

    def compose(self) -> ComposeResult:
        """Title, table, reasons, keys."""
        with Vertical(id="choice") as window:
            window.border_title = RESEARCH
            yield Static(f"Which series is which, for case {self._case_id}?", classes="title", markup=False)
            yield DataTable(cursor_type="row", zebra_stripes=True)
            yield Static("Reading the headers …", id="why", markup=False)
            yield KeyLine()

    def on_mount(self) -> None:
        """Read the headers in a thread."""
        table = self.query_one(DataTable)
        table.add_columns("you", "rules", "series", "images")
        table.focus()
        self._list()

    @work(thread=True, exclusive=True, group="series")
    def _list(self) -> None:
        try:
            message = self.Listed(list_series(self._study), "")
        except InputError as error:
            message = self.Listed((), str(error).replace(f"{self._study}", "the study"))
        self.post_message(message)

    @on(Listed)
    def _fill(self, message: Listed) -> None:
        self.rows = tuple(message.rows)
        if message.why:
            self._say(f"✗ {message.why}")
        self._show()

    def _show(self) -> None:
        table = self.query_one(DataTable)
        place = table.cursor_row
        table.clear()
        for row in self.rows:
            mine = [TITLES[name] for name, key in self.chosen.items() if key == row.key and key]
            rules = TITLES[row.chosen] if row.chosen else "–"
            table.add_row(
                Text(", ".join(mine), "bold"), rules, Text(row.name), Text(str(row.images), justify="right")
            )
        if self.rows:
            table.move_cursor(row=min(place, len(self.rows) - 1))
            self._tell(self.rows[table.cursor_row])

    @on(DataTable.RowHighlighted)
    def _highlighted(self, event: DataTable.RowHighlighted) -> None:
        if event.cursor_row < len(self.rows):
            self._tell(self.rows[event.cursor_row])

    def _tell(self, row: SeriesRow) -> None:
        """What the rules say of a series."""
        words = [f"✗ {row.problem}"] if row.problem else []
        for sequence, verdict in row.verdicts.items():
            points = "ruled out" if verdict.score is None else f"{verdict.score:g} points"
            words.append(f"{TITLES[sequence]:<6} {points}: {verdict.reason}")
        self._say("\n".join(words) or "The rules say nothing of it.")

    def _say(self, words: str) -> None:
        self.query_one("#why", Static).update(Content(words))

    def action_take(self) -> None:
        """Take the series under the cursor for the next free sequence; after the last it is the rules' again."""
        if not self.rows:
            return
        row = self.rows[self.query_one(DataTable).cursor_row]
        if not row.key or row.problem is not None:
            self.notify(
                row.problem or "It holds no volume.", title="Cannot be used", severity="error", markup=False
            )
            return
        others = {name for name, key in self.chosen.items() if key != row.key}
        names = [*(name for name in TITLES if name not in others), None]
        mine = next((name for name, key in self.chosen.items() if key == row.key), None)
        following = names[(names.index(mine) + 1) % len(names)]
        self.chosen = {name: key for name, key in self.chosen.items() if key != row.key}
        if following is not None:
            self.chosen[following] = row.key
        self._show()

    def action_leave(self) -> None:
        """Leave the series under the cursor to the rules."""
        if self.rows:
            key = self.rows[self.query_one(DataTable).cursor_row].key
            self.chosen = {name: taken for name, taken in self.chosen.items() if taken != key}
            self._show()

    def action_accept(self) -> None:
        """This is the choice."""
        if self.rows:
            self.dismiss(self.chosen)


class JobsScreen(ModalScreen[int | None]):
    """The jobs of a case; the answer is the number of one."""

    CSS = _CSS
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.JOBS)

    def __init__(self, jobs: Sequence[Case], shown: int) -> None:
        super().__init__()
        self._jobs, self._shown = tuple(jobs), shown

    def compose(self) -> ComposeResult:
        """Title and jobs."""
        with Vertical(id="choice") as window:
            window.border_title = RESEARCH
            yield Static("Which computation of this case?", classes="title", markup=False)
            yield OptionList(*[Option(_job_words(job), id=str(job.job)) for job in self._jobs], markup=False)
            yield KeyLine()

    def on_mount(self) -> None:
        """The one that is shown is under the cursor."""
        listed = self.query_one(OptionList)
        listed.highlighted = next(n for n, job in enumerate(self._jobs) if job.job == self._shown)
        listed.focus()

    def action_look(self) -> None:
        """At the one under the cursor."""
        self.query_one(OptionList).action_select()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(int(str(event.option.id)))


def _job_words(job: Case) -> str:
    """`job 3  done  ok  2026-01-12 14:05:09`; no probability stands here."""
    at = full_moment(job.finished) if job.finished is not None else "not finished"
    verdict = f"  {job.verdict} by {job.verdict_by}" if job.verdict else ""
    return f"job {job.job}  {job.state}  {job.status or job.failure or ''}  {at}{verdict}"
