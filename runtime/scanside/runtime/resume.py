"""Which items of a run are left to do, and whose files may be replaced."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from scanside.runtime.errors import OutputError
from scanside.runtime.ledger import Ledger
from scanside.runtime.lines import result_of
from scanside.runtime.run import CaseResult, ItemT


@dataclass(frozen=True)
class Work(Generic[ItemT]):
    """A run, divided.

    Attributes:
        to_do: Items to compute, in order.
        done: Results of finished items, told by the ledger.
        order: Item → its place in the run.
    """

    to_do: tuple[ItemT, ...]
    done: tuple[CaseResult, ...]
    order: dict[str, int]


def divide(items: Sequence[ItemT], ledger: Ledger, *, resume: bool, overwrite: bool) -> Work[ItemT]:
    """Divide the items of a run into finished ones and those to do.

    Without `resume` everything is to do, and existing files are refused unless `overwrite` is given. With it, files
    that this ledger tells of are replaced where they are out of date; a file that somebody changed since, or that
    nothing here made, is never replaced without `overwrite`.

    Raises:
        OutputError: If a file is in the way.
    """
    order = {item.name: index for index, item in enumerate(items)}
    if not resume:
        if not overwrite:
            _refuse_existing(items)
        return Work(tuple(items), (), order)
    states = {item.name: ledger.state(item) for item in items}
    for item in items:
        state = states[item.name]
        if state in ("foreign", "changed") and not overwrite:
            there = next(path for path in item.files if path.exists())
            file = there if state == "foreign" else ledger.changed(item)
            why = "was not made here" if state == "foreign" else "was changed after it had been made here"
            raise OutputError(f"{file} {why}; move it away, or replace it with --overwrite.")
    done = tuple(result_of(ledger.line(name)) for name, state in states.items() if state == "done")
    return Work(tuple(item for item in items if states[item.name] != "done"), done, order)


def _refuse_existing(items: Sequence[ItemT]) -> None:
    existing = [path for item in items for path in item.files if path.exists()]
    if existing:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise OutputError(
            f"{existing[0]}{more} already; go on with --resume, replace with --overwrite, or choose another -o."
        )
