"""Libraries that are needed later are imported while the networks are compiled, which leaves Python's lock free."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread


@contextmanager
def imported_ahead(*modules: str) -> Iterator[None]:
    """Import `modules`, in order, beside the block; it ends when they are there.

    A module that cannot be imported is left to the code that uses it, which then fails as it does without this.
    """
    thread = Thread(target=_import, args=(modules,), name="import", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _import(modules: tuple[str, ...]) -> None:
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)
