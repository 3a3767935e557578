"""Keys that an operator has chosen: a TOML in the user's configuration folder.

    # ~/.config/scanside/keys.toml
    [keys]
    "worklist.accept" = "ctrl+a"
    "app.quit" = "q,f10"

The names are those that the help of each screen (`?`) shows.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import platformdirs
from textual.binding import Binding

from scanside.runtime.errors import UsageError


def keys_file() -> Path:
    """Where the keys of this user stand."""
    return platformdirs.user_config_path("scanside") / "keys.toml"


def load_keys(path: Path, known: Iterable[str]) -> Mapping[str, str]:
    """Read which binding is on which keys; nothing where there is no file.

    Args:
        known: Names of the bindings there are.

    Raises:
        UsageError: If the file is not readable, names no binding of ours, or puts two on one key of one screen.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML ({error}); correct or remove it.") from error
    chosen = document.get("keys", {})
    unknown = sorted(set(document) - {"keys"})
    if unknown or not isinstance(chosen, dict):
        raise UsageError(f"{path}: only a table [keys] may stand there; correct or remove it.")
    names = set(known)
    for name, keys in chosen.items():
        if name not in names:
            raise UsageError(f"{path}: there is no binding '{name}'; the help (?) of each screen names them.")
        if not isinstance(keys, str) or not keys.strip():
            raise UsageError(f"{path}: '{name}' must be a key such as \"ctrl+a\"; correct it.")
    _refuse_twice(path, chosen)
    return chosen


def _refuse_twice(path: Path, chosen: Mapping[str, str]) -> None:
    """One key may do one thing on a screen; those of the whole app count everywhere."""
    taken: dict[tuple[str, str], str] = {}
    for name, keys in chosen.items():
        screen = name.partition(".")[0]
        for key in keys.split(","):
            other = taken.setdefault((screen, key.strip()), name)
            if other != name:
                raise UsageError(
                    f"{path}: the key '{key.strip()}' is given to '{other}' and '{name}'; choose one."
                )


def names_of(bindings: Iterable[object]) -> list[str]:
    """The names of a class's BINDINGS."""
    return [binding.id for binding in bindings if isinstance(binding, Binding) and binding.id]
