"""Which cases are shown, and in which order. Pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.tui.format import FALSE_LESION, state_words
from scanside.tui.worklist.columns import Column, Scene

GROUPS: Mapping[str, frozenset[State] | None] = {
    "all": None,
    "at work": frozenset({State.RECEIVING, State.QUEUED, State.PAUSED, State.RUNNING, State.SENDING}),
    "review": frozenset({State.REVIEW}),
    "trouble": frozenset({State.QUARANTINED}),
    "done": frozenset({State.DONE}),
    "set aside": frozenset({State.REJECTED, State.CANCELLED}),
}
"""Filter → the states that it lets through; None for all. `trouble` also takes what is tried again or is stuck."""


@dataclass(frozen=True)
class View:
    """A choice.

    Attributes:
        group: One of `GROUPS`.
        words: All of them have to be found in a case.
        sort: Key of a column.
        reverse: Against the order that the column has at first.
    """

    group: str = "all"
    words: str = ""
    sort: str = "arrived"
    reverse: bool = False


def counts(cases: Iterable[Case], scene: Scene) -> Mapping[str, int]:
    """Number of cases in every group."""
    found = dict.fromkeys(GROUPS, 0)
    for case in cases:
        for group in GROUPS:
            found[group] += in_group(case, group, scene)
    return found


def in_group(case: Case, group: str, scene: Scene) -> bool:
    """Whether a filter lets a case through."""
    states = GROUPS[group]
    if states is None or case.state in states:
        return True
    stalled = case.state is State.RUNNING and not scene.working
    return group == "trouble" and (stalled or case.case_id in scene.health.stuck or tried_in_vain(case))


def tried_in_vain(case: Case) -> bool:
    """Whether the last try failed, and another one comes."""
    return case.state is State.QUEUED and case.failure is not None


def matches(case: Case, words: tuple[str, ...], scene: Scene) -> bool:
    """Whether every word stands somewhere in what the terminal shows of a case."""
    if not words:
        return True
    name = f" {case.patient.name} {case.patient.patient_id}" if scene.show_names else ""
    false = f" {FALSE_LESION}" if case.verdict == FALSE_LESION else ""
    hay = (
        f"{case.case_id} {case.calling} {case.state} {state_words(case).text} {case.status or ''} {case.stage or ''} "
        f"{case.failure or ''} {case.reason or ''} {case.verdict or ''}{false}{name}"
    ).lower()
    return all(word in hay for word in words)


def chosen(cases: Iterable[Case], view: View, all_columns: tuple[Column, ...], scene: Scene) -> list[str]:
    """Case ids that the view shows, in its order. Equal ones stand by arrival, the latest first."""
    words = tuple(view.words.lower().split())
    shown = [case for case in cases if in_group(case, view.group, scene) and matches(case, words, scene)]
    shown.sort(key=lambda case: (-case.arrived, case.case_id))
    column = next(column for column in all_columns if column.key == view.sort)
    shown.sort(key=lambda case: column.order(case, scene), reverse=column.newest_first != view.reverse)
    return [case.case_id for case in shown]
