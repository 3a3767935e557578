"""Below the table: the case under the cursor in whole sentences."""

from rich.cells import cell_len
from rich.console import Group
from rich.text import Text
from textual.widgets import Static

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.tui.estimate import seconds_left
from scanside.tui.format import duration, full_moment, patient_name, result_words, spoken, state_words
from scanside.tui.worklist.columns import Scene, remark


class DetailStrip(Static):
    """A line about one case, and below it, however many lines that takes, why it is as it is."""

    _words: tuple[str, str] | None = None

    def show(self, case: Case | None, scene: Scene, nothing: str) -> None:
        """Show a case, or say why there is none."""
        words = (nothing, "") if case is None else (" · ".join(facts(case, scene)), remark(case, scene))
        if words != self._words:
            stays = self._words is not None and self._fits(self._words) and self._fits(words)
            self._words = words
            self.update(Group(Text(words[0]), Text(words[1])), layout=not stays)

    def _fits(self, words: tuple[str, str]) -> bool:
        """Whether each of the two fits on a line, as mostly: between two such, nothing on the screen has to move."""
        return max(map(cell_len, words)) <= self.content_size.width


def facts(case: Case, scene: Scene) -> list[str]:
    """What is known of a case, in the order in which one asks."""
    found = [f"{patient_name(case)} · {case.case_id}" if scene.show_names else case.case_id]
    words = state_words(case, working=scene.working)
    if case.state is State.RUNNING and scene.working:
        left = seconds_left(case, scene.typical, scene.now, scene.stage_seen.get(case.case_id))
        took = f", {duration(scene.now - case.started)} so far" if case.started else ""
        of = "" if case.stage in scene.typical.seconds else " of this stage"
        rest = f", about {duration(left)} left{of}" if left is not None else ", time left not known yet"
        found.append(f"{words} {spoken(case.stage or 'starting')}{took}{rest}")
    else:
        found.append(str(words))
    result = result_words(case)
    if case.status is not None and result.symbol == "⊘":
        found.append(f"its result was {case.status}")
    elif result.text:
        found.append(f"result {result.text}")
    if case.named:
        found.append(f"names {case.named}")
    if case.finished is not None and case.started is not None:
        found.append(f"took {duration(case.finished - case.started)}")
    found.append(f"from {case.calling} at {full_moment(case.arrived)[11:16]}")
    found.append(f"{case.series_count} series, {case.instances} images")
    return found
