"""Which cases of a run are left to do, and whose files may be replaced."""

from collections.abc import Sequence
from dataclasses import dataclass

from scanside.runtime.errors import OutputError
from scanside.runtime.ledger import Ledger
from scanside.runtime.outputs import Task
from scanside.runtime.report import result_of
from scanside.runtime.run import CaseResult


@dataclass(frozen=True)
class Work:
    """A run, divided.

    Attributes:
        to_do: Cases to compute, in order.
        done: Results of finished cases, told by the ledger.
        order: Case → its place in the run.
    """

    to_do: tuple[Task, ...]
    done: tuple[CaseResult, ...]
    order: dict[str, int]


def divide(tasks: Sequence[Task], ledger: Ledger | None, *, resume: bool, overwrite: bool) -> Work:
    """Divide the cases of a run into finished ones and those to do.

    Without `resume` everything is to do, and existing files are refused unless `overwrite` is given. With it, files
    that this ledger tells of are replaced where they are out of date; a mask that somebody changed since, or that
    nothing here made, is never replaced without `overwrite`.

    Raises:
        OutputError: If a file is in the way.
    """
    order = {task.case.name: index for index, task in enumerate(tasks)}
    if not resume or ledger is None:
        if not overwrite:
            _refuse_existing(tasks)
        return Work(tuple(tasks), (), order)
    states = {task.case.name: ledger.state(task) for task in tasks}
    for task in tasks:
        state = states[task.case.name]
        if state in ("foreign", "changed") and not overwrite:
            file = next(path for path in task.files if path.exists())
            why = "was not made here" if state == "foreign" else "was changed after it had been made here"
            raise OutputError(f"{file} {why}; move it away, or replace it with --overwrite.")
    done = tuple(result_of(ledger.line(name)) for name, state in states.items() if state == "done")
    return Work(tuple(task for task in tasks if states[task.case.name] != "done"), done, order)


def _refuse_existing(tasks: Sequence[Task]) -> None:
    existing = [path for task in tasks for path in task.files if path.exists()]
    if existing:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise OutputError(
            f"{existing[0]}{more} already; go on with --resume, replace with --overwrite, or choose another -o."
        )
