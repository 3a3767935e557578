"""What a user has chosen, kept for the next time: theme, filter, order. An unreadable file counts as none."""

import json
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write

PREFERENCES = "terminal.json"
"""Name of the file, beside `keys.toml`."""


class Preferences(BaseModel):
    """Of one user.

    Attributes:
        theme: One of `themes.THEMES`.
        group: Filter of the list, one of `worklist.view.GROUPS`.
        sort, reverse: Column that it is sorted by, and whether the other way round.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    theme: str = "dark"
    group: str = "all"
    sort: str = "arrived"
    reverse: bool = False


def load_preferences(path: Path) -> Preferences:
    """Read them."""
    with suppress(OSError, ValueError, ValidationError):
        return Preferences.model_validate(json.loads(path.read_text(encoding="utf-8")))
    return Preferences()


def save_preferences(path: Path, chosen: Preferences) -> None:
    """Keep them; where that is not possible they last as long as this terminal."""
    if chosen == load_preferences(path):
        return
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(chosen.model_dump_json(indent=1) + "\n", encoding="utf-8")
