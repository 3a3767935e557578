"""Below the table: the case under the cursor in whole sentences."""

from rich.text import Text
from textual.widgets import Static

from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.tui.estimate import seconds_left
from scanside.tui.format import duration, full_moment, result_words, state_words
from scanside.tui.worklist.columns import Scene, remark


class DetailStrip(Static):
    """Two lines about one case."""

    def show(self, case: Case | None, scene: Scene) -> None:
        """Show a case, or that there is none."""
        if case is None:
            self.update(
                "No case is shown: nothing was received yet, or no case fits the filter (Escape shows all)."
            )
            return
        lines = [Text(" · ".join(facts(case, scene))), Text(remark(case, scene))]
        self.update(
            Text("\n").join(lines), layout=False
        )  # its height is fixed: no need to arrange the screen anew


def facts(case: Case, scene: Scene) -> list[str]:
    """What is known of a case, in the order in which one asks."""
    found = [f"{case.case_id} from {case.calling} at {full_moment(case.arrived)[11:16]}"]
    found.append(f"{case.series_count} series, {case.instances} images")
    words = state_words(case)
    if case.state is State.RUNNING:
        left = seconds_left(case, scene.typical, scene.now, scene.stage_seen.get(case.case_id))
        took = f", {duration(scene.now - case.started)} so far" if case.started else ""
        of = "" if case.stage in scene.typical.seconds else " of this stage"
        rest = f", about {duration(left)} left{of}" if left is not None else ", time left not known yet"
        found.append(f"{words} {case.stage or 'starting'}{took}{rest}")
    else:
        found.append(str(words))
    result = result_words(case)
    if case.status is not None and result.text == case.state:
        found.append(f"its result was {case.status}")
    elif result.text:
        found.append(f"result {result.text}")
    if case.finished is not None and case.started is not None:
        found.append(f"took {duration(case.finished - case.started)}")
    return found
