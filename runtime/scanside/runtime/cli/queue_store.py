"""The store that a command of `scanside queue` works on, and the case that is meant."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.appliance.config import Config, load_config
from scanside.runtime.appliance.store import worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.cli.arguments import find_config
from scanside.runtime.errors import InputError, UsageError


@dataclass(frozen=True)
class OpenStore:
    """The store of a configuration."""

    config: Config
    database: Database

    @property
    def names(self) -> bool:
        """Whether patients' names may be shown."""
        return self.config.service.show_names

    def find(self, text: str) -> Case:
        """The case with an id, or with an id that begins so.

        Raises:
            InputError: If there is none.
            UsageError: If there are several.
        """
        wanted = text.strip().upper()
        exact = worklist.case(self.database, wanted)
        if exact is not None:
            return exact
        found = [case for case in worklist.cases(self.database) if case.case_id.startswith(wanted)]
        if not found or not wanted:
            raise InputError(f"There is no case {text}; look at `scanside queue list`.")
        if len(found) > 1:
            some = ", ".join(case.case_id for case in found[:4])
            raise UsageError(f"{len(found)} cases begin with {text} ({some}); give more of the id.")
        return found[0]


@contextmanager
def open_store(config: Path | None) -> Iterator[OpenStore]:
    """The store, which must be there.

    Args:
        config: The file of the configuration; None for the usual places.
    """
    loaded = load_config(find_config(config))
    with Database(loaded.database) as database:
        yield OpenStore(loaded, database)
