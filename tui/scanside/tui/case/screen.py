"""The case: images, panels, and what a person does about the result."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual import work as in_background
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import ScansideError
from scanside.tui.actions import Subject
from scanside.tui.case import view_state
from scanside.tui.case.choose import JobsScreen
from scanside.tui.case.data import CaseData, read_case
from scanside.tui.case.graphics import Cells, found
from scanside.tui.case.images import Shown, Wanted
from scanside.tui.case.layout import Board, PanelView
from scanside.tui.case.stack import Spot, place_words, spot_of, spots_in
from scanside.tui.case.viewer import Viewer
from scanside.tui.commands import Place, bindings
from scanside.tui.estimate import fraction, seconds_left
from scanside.tui.feed import Snapshot
from scanside.tui.format import TITLES, Tone, bar, duration, full_moment, patient_name, spoken, state_words
from scanside.tui.screen import StudyScreen
from scanside.tui.tones import quiet, said, toned

CELLS_WORDS = {
    Cells.HALF: "Half blocks: 2 pixels a cell, in any terminal.",
    Cells.SEXTANTS: "Sextants: 6 pixels a cell. Boxes or question marks instead? The font lacks them: V again.",
    Cells.OCTANTS: "Octants: 8 pixels a cell. Boxes or question marks instead? The font lacks them: V again.",
}


class CaseScreen(StudyScreen):
    """One study."""

    HELP = """\
## Open study

**Images** are shown as a radiologist looks at them: the patient's right (R) is on the left, front (A) on top. Both
show the same position of the patient at the same scale; the other one takes its nearest slice. Slices count from the
feet; *z* is the patient position in mm, S towards the head. The outline lies just outside the lesion: yellow around
the one that is looked at, blue around others. `▸` marks the image that keys act upon. Below: window and level, the
lesion's slices, the value in the middle, or under the pointer, and the ADC there. A drag changes the window. `Z` puts a
lens on the lesion, `V` shows finer cells where the font has them, `o` shows real pixels.

**Result** ● ok · ◇ indeterminate: the probability lies where no class is named · ○ no lesion segmented, which is *not*
a negative finding · ! unsuitable input. A probability always stands with its status and its calibration interval (`━`).

**Signature** `┄──┼──┄` is the middle 90 % and the median of the training cohort, `●` the value, `◀ ▶` far outside.

**Review** Accept, reject, mark as false and the rest ask first; who did it and when goes into the audit log (History).
Accepting sends the result and cannot be undone; a rejection and a mark can (U). Research use only.
"""
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.CASE)
    DEFAULT_CSS = """
    CaseScreen > #caseline { height: 1; padding: 0 1; background: $surface; }
    CaseScreen > #progress { height: 1; padding: 0 1; background: $surface; display: none; }
    """

    class Looked(Message):
        """The case has been read, or the sentence why not."""

        def __init__(self, data: CaseData | None, why: str) -> None:
            super().__init__()
            self.data, self.why = data, why

    def __init__(self, case_id: str) -> None:
        super().__init__()
        self.case_id = case_id
        self.data: CaseData | None = None
        self._job: int | None = None
        self._lost = ""
        self._seen: object = None
        self._now: Case | None = None

    def compose_body(self) -> ComposeResult:
        """A line about the case, one about what it is doing, images, panels."""
        yield Static("", id="caseline", markup=False)
        yield Static("", id="progress", markup=False)
        yield Board(Viewer(found()))

    def on_mount(self) -> None:
        """Read the case; keep its clock going."""
        self._arrange()
        self._read()
        self.set_interval(1.0, self._show_progress)

    @property
    def viewer(self) -> Viewer:
        """The images."""
        return self.query_one(Viewer)

    @property
    def board(self) -> Board:
        """The panels."""
        return self.query_one(Board)

    def store_changed(self, snapshot: Snapshot) -> None:
        """Follow the progress; read the case again when more than that has changed."""
        for case in snapshot.changed:
            if case.case_id == self.case_id:
                self._now = case
                if (news := _beyond_progress(case)) != self._seen:
                    self._seen = news
                    self._read()
        self._show_progress()

    @in_background(thread=True, exclusive=True, group="case")
    def _read(self) -> None:
        try:
            with Database(self.work.config.database) as database:
                data = read_case(database, self.work.config, self.case_id, self._job)
            message = self.Looked(data, "")
        except (ScansideError, OSError) as error:
            message = self.Looked(None, str(error))
        self.post_message(message)

    @on(Looked)
    def _looked(self, message: Looked) -> None:
        self._lost = message.why
        if message.data is None and self.data is None:
            self.viewer.say(message.why)
        if message.data is not None:
            self._tell_of_another(message.data)
            self.data = message.data
            self._show_data(message.data)
            self._note_opened(message.data)
        self._show_line()
        self._show_progress()

    def _tell_of_another(self, new: CaseData) -> None:
        """What a person was looking at has become something else: say so."""
        old = self.data
        if old is None or old.report is None or self._job is not None:
            return
        if (old.case.job, old.case.finished) != (new.case.job, new.case.finished):
            words = f"Case {self.case_id} is computed anew: what you saw is no longer its latest result."
            self.notify(words, title="Changed", severity="warning", timeout=10, markup=False)

    def _show_data(self, data: CaseData) -> None:
        report = data.report
        self.viewer.show(
            data.wanted,
            data.version,
            spots_in(report),
            synthetic=report.synthetic if report else False,
            nothing=data.no_images,
        )
        self.board.show(data, self._spot, self.viewer.spans)

    @property
    def _spot(self) -> Spot | None:
        return self.viewer.looking.spot if self.viewer.looking else None

    @on(Viewer.Changed)
    def _viewer_changed(self) -> None:
        """The lesion table marks the lesion that is looked at."""
        if self.data is not None:
            self.board.show(self.data, self._spot, self.viewer.spans)
            self._note_opened(self.data)

    def _note_opened(self, data: CaseData) -> None:
        """The images of the latest result are on the screen, or the sentence why there are none: it may be accepted."""
        if data.is_latest and self.seen and not self.viewer.reading:
            self.work.open(data.case)
            self.refresh_bindings()

    @on(PanelView.LesionChosen)
    def _lesion_chosen(self, message: PanelView.LesionChosen) -> None:
        if self.data is not None and self.data.report is not None and self.data.report.lesions:
            self.viewer.go_to(spot_of(self.data.report.lesions[message.number]))

    def _show_line(self) -> None:
        if self.data is None:
            words = f"✗ {self._lost}" if self._lost else f"Reading case {self.case_id} …"
            self._write("#caseline", toned(words, Tone.BAD if self._lost else Tone.PLAIN))
            return
        data, case = self.data, self.data.case
        names = self.work.config.service.show_names
        parts = [toned(f"{patient_name(case)}  " if names else "", Tone.PLAIN, bold=True)]
        parts += [
            toned(case.case_id, Tone.PLAIN, bold=True),
            Content("  "),
            said(state_words(case, working=self.work.feed.health.working), bold=True),
        ]
        if len(data.jobs) > 1:
            which = "latest" if data.is_latest else "NOT THE LATEST"
            parts.append(
                toned(
                    f"  job {case.job}, {which} of {len(data.jobs)}",
                    Tone.PLAIN if data.is_latest else Tone.WARN,
                )
            )
        if self._lost:
            parts.append(toned(f"  ✗ {self._lost}", Tone.BAD))
        parts.append(quiet(f"  from {case.calling}, {full_moment(case.arrived)[:16]}"))
        self._write("#caseline", Content.assemble(*parts))

    def _show_progress(self) -> None:
        """What a running case does, how far it is, and how long it still takes."""
        case = self._now
        line = self.query_one("#progress", Static)
        if not self.seen:
            return
        runs = case is not None and case.state is State.RUNNING and self.work.feed.health.working
        line.display = runs
        if case is None or not runs:
            return
        now = self.work.now()
        done = fraction(case)
        words = f"▶ {spoken(case.stage or 'starting')} "
        if done is not None:
            words += f"{bar(done, 20)} {case.done}/{case.total} "
        if case.started is not None:
            words += f" {duration(max(0.0, now - case.started))} so far"
        left = seconds_left(case, self.work.feed.typical, now)
        words += f", about {duration(left)} left" if left is not None else ""
        self._write("#progress", toned(words, Tone.BUSY))

    def _write(self, where: str, words: Content) -> None:
        self.query_one(where, Static).update(words, layout=False)

    def on_resize(self) -> None:
        """Share the room out anew."""
        self._arrange()

    def _arrange(self) -> None:
        self.board.lay_out(self.size)
        self.call_after_refresh(self.viewer.refresh_panes)

    def action_slices(self, slices: int) -> None:
        """Through the slices."""
        self.viewer.scroll_slices(slices)

    def action_lesion(self, steps: int) -> None:
        """To the next lesion."""
        if self.data is not None and not (self.data.report and self.data.report.lesions):
            self._say_no("There is no lesion to go to.")
        self.viewer.jump(steps)

    def action_outline(self) -> None:
        """Outlines on or off."""
        self.viewer.change(view_state.outlined)

    def action_image(self) -> None:
        """The next image."""
        self.viewer.turn()

    def action_lens(self) -> None:
        """A lens on the lesion, or none."""
        self.viewer.change(view_state.lensed)

    def action_cells(self) -> None:
        """Finer parts of cells, or half blocks again."""
        cells = self.viewer.next_cells()
        if cells is None:
            self._say_no("This terminal shows real pixels.")
        else:
            self.notify(CELLS_WORDS[cells], timeout=6, markup=False)

    def action_zoom(self, steps: int) -> None:
        """Larger or smaller."""
        self.viewer.change(lambda now, stack: view_state.zoomed(now, stack, steps))

    def action_shift(self, down: int, right: int) -> None:
        """Move the view."""
        self.viewer.shift(down, right)

    def action_window(self, narrower: int, darker: int) -> None:
        """Contrast and brightness."""
        self.viewer.change(lambda now, stack: view_state.windowed(now, stack, narrower, darker))

    def action_anew(self) -> None:
        """The view as it was at first."""
        self.viewer.change(view_state.anew)

    def action_alone(self) -> None:
        """One image on the whole screen, and back."""
        self.board.alone = not self.board.alone
        self._arrange()

    def action_panel(self, steps: int) -> None:
        """The next panel."""
        self.board.turn(steps)

    def action_text(self, pages: float) -> None:
        """Scroll the panel."""
        self.board.scroll_panel(pages)

    def subjects(self, act: str) -> Sequence[Subject] | str:
        """This study, with the lesion that is looked at."""
        if self.data is None:
            return "The study is still being read."
        subject = Subject(self.data.case, self.data.is_latest)
        if act == "accept" and self.viewer.reading and self.data.is_latest:
            return "Its images are still being read; look at them, then accept."
        return self._with_lesion(subject) if act == "false" else [subject]

    def _with_lesion(self, subject: Subject) -> Sequence[Subject] | str:
        lesions = self.data.report.lesions if self.data and self.data.report else None
        if not lesions:
            return [subject]
        here = next((lesion for lesion in lesions if spot_of(lesion) == self._spot), None)
        if here is None and len(lesions) > 1:
            return "Press g until the lesion is looked at, then m."
        lesion = here or lesions[0]
        name = f"{TITLES.get(lesion.role, lesion.role)} lesion {lesion.number}"
        where = f"{lesion.volume_ml:.2f} ml, at {place_words(lesion.centroid_mm)} mm"
        return [replace(subject, lesion=name, where=where)]

    def action_page(self) -> None:
        """Make a page of the study and show it in a browser."""
        sheets = self.viewer.sheets
        if self.data is None or not sheets:
            self._say_no("There is no image that a page could show.")
            return
        self.notify("The page is being made …", timeout=3)
        self._make_page(self.data, sheets)

    @in_background(thread=True, exclusive=True, group="page")
    def _make_page(self, data: CaseData, sheets: Sequence[tuple[Wanted, Shown]]) -> None:
        from scanside.tui.case.page import Sheet, page

        work = self.work
        text = page(data, [Sheet(*one) for one in sheets], names=work.names, now=work.now())
        words = work.pages.show(data.case.case_id, text)
        self.app.call_from_thread(self.notify, words, title="Page", timeout=60, markup=False)

    @in_background(group="jobs", exclusive=True)
    async def action_jobs(self) -> None:
        """Look at another job of the case."""
        if self.data is None:
            return
        job = await self.app.push_screen_wait(JobsScreen(self.data.jobs, self.data.case.job))
        if job is not None:
            self._job = None if job == self.data.jobs[0].job else job
            self._read()

    def action_back(self) -> None:
        """To where one came from."""
        self.app.pop_screen()

    def _say_no(self, words: str) -> None:
        self.notify(words, title="Not done", severity="warning", timeout=6, markup=False)


def _beyond_progress(case: Case) -> object:
    """All of a case but how far its computation is."""
    return (
        case.job, case.state, case.instances, case.finished, case.status, case.verdict, case.verdict_by, case.reason,
        case.attempts, case.deleted, case.result, tuple(sorted(case.sending.items())), case.priority,
        case.state is not State.RUNNING and case.tick,
    )  # fmt: skip
