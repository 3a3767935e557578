"""A folder as a destination: each object appears whole or not at all, and is on disk before it counts as sent."""

import os
import shutil
from collections.abc import Callable, Sequence

from scanside.runtime.appliance.config import Config, FolderDestination
from scanside.runtime.appliance.deliver.association import AssociationError
from scanside.runtime.appliance.deliver.objects import DamagedError, read_object
from scanside.runtime.appliance.deliver.retry import DeliveryError
from scanside.runtime.appliance.deliver.sender import Failed, Took
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Item
from scanside.runtime.images.files import sync_folder


class FolderSender:
    """Copies objects into a folder."""

    commitment = None

    def __init__(self, destination: FolderDestination, config: Config) -> None:
        self._destination, self._config = destination, config

    def prepare(self, database: Database) -> None:
        """A folder takes everything."""

    def store(
        self,
        items: Sequence[Item],
        took_it: Took,
        failed: Failed,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Copy objects; one that is there already is replaced by the same.

        Raises:
            AssociationError: If the folder is not there, or cannot be written.
        """
        for item in items:
            if stopped():
                return
            problem = self.answers(0)
            if problem is not None:
                raise AssociationError(problem)
            try:
                read_object(self._config.results, item, pixels=False)
                self._copy(item)
            except DamagedError as error:
                failed(item, error)
            except OSError as error:
                why = (error.strerror or "unknown").lower()
                failed(
                    item,
                    DeliveryError(f"{self._destination.name} did not take the object ({why}); check it."),
                )
            else:
                took_it(item, 0)

    def _copy(self, item: Item) -> None:
        """An unfinished file is called after its object: the next try writes over what a killed one has left."""
        folder = self._destination.path / item.case_id
        folder.mkdir(exist_ok=True)
        part = folder / f".{item.sop_uid}.part"
        with (self._config.results / item.path).open("rb") as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        part.replace(folder / f"{item.sop_uid}.dcm")
        sync_folder(folder)
        sync_folder(folder.parent)

    def answers(self, seconds: float) -> str | None:
        """Whether the folder is there and can be written."""
        path = self._destination.path
        if not path.is_dir():
            return f"{self._destination.name}: there is no folder {path}; mount or make it."
        if not os.access(path, os.W_OK | os.X_OK):
            return f"{self._destination.name}: {path} cannot be written; check its permissions."
        return None

    def refuses(self, seconds: float) -> str | None:
        """A folder takes everything."""
        return None
