"""A case as one line: which columns there are at which width, and what stands in them. Pure functions."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.tui.estimate import Typical, seconds_left, whole_fraction
from scanside.tui.feed import Health
from scanside.tui.format import (
    Tone,
    Words,
    age,
    bar,
    duration,
    moment,
    patient_name,
    result_words,
    sending_words,
    spoken,
    state_words,
)

_MINUTE = 60.0


@dataclass(frozen=True)
class Scene:
    """What a line depends on beside its case.

    Attributes:
        stage_seen: Case → when its present stage was first seen.
    """

    now: float
    typical: Typical
    health: Health
    show_names: bool
    stage_seen: dict[str, float]

    @property
    def working(self) -> bool:
        """Whether anything is being computed: the worker gives a sign of life, or nobody has looked yet."""
        return self.health.working


@dataclass(frozen=True)
class Cell:
    """Text of one cell, before it is cut to its width."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        key: What it is sorted by, and its name in the program.
        from_width: The narrowest terminal that has it.
        width: Cells, without the gap behind it.
        grow: Its share of what is left over.
        cell: What stands in it, for so many cells.
        order: What it is sorted by.
        newest_first: The order that one wants at first is the descending one.
    """

    key: str
    title: str
    from_width: int
    width: int
    grow: int
    cell: Callable[[Case, Scene, int], Cell]
    order: Callable[[Case, Scene], tuple[object, ...]]
    newest_first: bool = False


def progress_text(case: Case, scene: Scene, width: int) -> str:
    """A running case: how much is done, a bar, the time left and, where there is room, the stage."""
    done = whole_fraction(case, scene.typical)
    left = seconds_left(case, scene.typical, scene.now, scene.stage_seen.get(case.case_id))
    percent = "  ? %" if done is None else f"{100 * done:3.0f} %"
    known = case.stage in scene.typical.seconds
    time_left = "" if left is None else f"{'' if known else '>'}{duration(left)}"  # of this stage alone
    room = width - 2 - len(percent) - 1 - 7
    stage = f" {spoken(case.stage or 'starting')}"
    with_bar = max(3, min(16, room - (len(stage) if room - len(stage) >= 8 else 0)))
    blocks = bar(done or 0.0, with_bar)
    return f"▶ {percent} {blocks} {time_left:<6}{stage if room - with_bar >= 4 else ''}"


def _state(case: Case, scene: Scene, width: int) -> Cell:
    if case.state is State.RUNNING and scene.working:
        return Cell(progress_text(case, scene, width), Tone.BUSY)
    words = state_words(case, working=scene.working)
    text = str(words)
    if case.state is State.QUEUED and case.priority:
        text += f" (priority {case.priority:+})"
    return Cell(text, words.tone)


def _result(case: Case, scene: Scene, width: int) -> Cell:
    return _of(result_words(case))


def _delivery(case: Case, scene: Scene, width: int) -> Cell:
    stuck = scene.health.stuck.get(case.case_id)
    return _of(sending_words(case, stuck.count if stuck else 0))


def _of(words: Words) -> Cell:
    return Cell(str(words) if words.text else "", words.tone)


def _age(case: Case, scene: Scene, width: int) -> Cell:
    if case.finished is None:
        return Cell("", Tone.QUIET)
    since = scene.now - case.finished
    if (
        since >= _MINUTE
    ):  # older ones change when the clock does, all at once: between two minutes nothing is drawn
        since = max(_MINUTE, scene.now // _MINUTE * _MINUTE - case.finished)
    return Cell(age(since), Tone.QUIET)


def _name(case: Case, scene: Scene, width: int) -> Cell:
    return Cell(patient_name(case))


def remark(case: Case, scene: Scene) -> str:
    """Why something is as it is, in one line."""
    stuck = scene.health.stuck.get(case.case_id)
    if case.state is State.RUNNING and not scene.working:
        return (
            "Its computation has stopped: the service does not work. It begins anew when the service is back."
        )
    if case.state is State.RUNNING:
        tiles = f" {case.done}/{case.total}" if case.total else ""
        return f"{spoken(case.stage or 'starting')}{tiles}"
    said = [f"{case.verdict} by {case.verdict_by}"] if case.verdict else []
    if case.state in (State.QUARANTINED, State.QUEUED, State.REJECTED) or case.status != "ok":
        said += [spoken(case.reason)] if case.reason else []
    said += [f"! {spoken(one.sentence)}" for one in case.warnings or ()]
    if stuck:
        said.append(f"{stuck.destination}: {stuck.reason}")
    return " · ".join(said)


def _remark(case: Case, scene: Scene, width: int) -> Cell:
    return Cell(remark(case, scene), Tone.QUIET)


_STATE_ORDER = {state: number for number, state in enumerate((
    State.RUNNING, State.REVIEW, State.QUARANTINED, State.QUEUED, State.PAUSED, State.RECEIVING, State.SENDING,
    State.DONE, State.REJECTED, State.CANCELLED,
))}  # fmt: skip
_RESULT_ORDER = {"ok": 0, "indeterminate": 1, "no lesion segmented": 2, "unsuitable input": 3, None: 4}


def _by_result(case: Case, scene: Scene) -> tuple[object, ...]:
    return (_RESULT_ORDER.get(case.status, 9), -(case.probability or 0.0) if case.status == "ok" else 0.0)


_CASE = Column("case", "Case", 0, 11, 0, lambda c, s, w: Cell(c.case_id), lambda c, s: (c.case_id,))
_NAME = Column("name", "Name", 0, 12, 2, _name, lambda c, s: (c.patient.name.lower(),))
_REST = (
    Column(
        "arrived", "Arrived", 0, 8, 0, lambda c, s, w: Cell(moment(c.arrived, s.now), Tone.QUIET),
        lambda c, s: (c.arrived,), True,
    ),
    Column("from", "From", 134, 12, 0, lambda c, s, w: Cell(c.calling, Tone.QUIET), lambda c, s: (c.calling,)),
    Column(
        "series", "Series", 142, 7, 0, lambda c, s, w: Cell(f"{c.series_count:7}"), lambda c, s: (c.series_count,)
    ),
    Column("images", "Images", 160, 7, 0, lambda c, s, w: Cell(f"{c.instances:7}"), lambda c, s: (c.instances,)),
    Column("state", "State", 0, 18, 4, _state, lambda c, s: (_STATE_ORDER[c.state], -c.priority, c.job)),
    Column("result", "Result, probability", 0, 27, 0, _result, _by_result),
    Column("age", "Ready", 90, 6, 0, _age, lambda c, s: (-(c.finished or 0.0),)),
    Column("sent", "Sent", 0, 7, 0, _delivery, lambda c, s: (_delivery(c, s, 6).text,)),
    Column("remark", "Remark", 118, 20, 5, _remark, lambda c, s: (remark(c, s),)),
)  # fmt: skip


def columns(show_names: bool) -> tuple[Column, ...]:
    """Every column, in order. With names the name stands before the case id, and everything else wants more room."""
    if not show_names:
        return (_CASE, *_REST)
    more = [
        replace(column, from_width=column.from_width + _NAME.width + 1) if column.from_width else column
        for column in _REST
    ]
    more[0] = replace(more[0], from_width=80 + _NAME.width)
    return (_NAME, _CASE, *more)


def laid_out(all_columns: tuple[Column, ...], width: int) -> list[tuple[Column, int]]:
    """The columns that a terminal of this width has, with their cells; a gap of one cell stands between them."""
    shown = [column for column in all_columns if column.from_width <= width]
    left = width - 1 - sum(column.width + 1 for column in shown) + 1  # no gap behind the last
    shares = sum(column.grow for column in shown)
    extra = {column.key: max(0, left) * column.grow // max(1, shares) for column in shown}
    for key, most in (("name", 13), ("state", 35)):
        if key in extra:
            extra[key] = min(extra[key], most)
    if any(column.key == "remark" for column in shown):
        extra["remark"] = max(0, left - sum(cells for key, cells in extra.items() if key != "remark"))
    return [(column, column.width + extra[column.key]) for column in shown]
