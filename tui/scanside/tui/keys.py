"""Keys that an operator has chosen: a TOML in the user's configuration folder.

    # ~/.config/scanside/keys.toml
    [keys]
    "study.accept" = "ctrl+a"
    "app.quit" = "q,f10"

The names are those that the help of each screen (`?`) shows.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path

import platformdirs
from textual.keys import _character_to_key

from scanside.runtime.errors import UsageError
from scanside.tui.commands import BY_NAME, COMMANDS, SCREENS, Place


def keys_file() -> Path:
    """Where the keys of this user stand."""
    return platformdirs.user_config_path("scanside") / "keys.toml"


def load_keys(path: Path) -> Mapping[str, str]:
    """Read which command is on which keys; nothing where there is no file.

    Raises:
        UsageError: If the file is not readable, names no command, or puts two on one key of one screen.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML ({error}); correct or remove it.") from error
    chosen = document.get("keys", {})
    if set(document) - {"keys"} or not isinstance(chosen, dict):
        raise UsageError(f"{path}: only a table [keys] may stand there; correct or remove it.")
    for name, keys in chosen.items():
        if name not in BY_NAME:
            raise UsageError(f"{path}: there is no command '{name}'{_meant(name)}; the help (?) names them.")
        if not isinstance(keys, str) or not keys.strip():
            raise UsageError(f"{path}: '{name}' must be a key such as \"ctrl+a\"; correct it.")
    _refuse_twice(path, chosen)
    return chosen


def _meant(name: str) -> str:
    """The command that was probably meant: one of the same word, or of a similar name."""
    word = name.rpartition(".")[2]
    same = [known for known in BY_NAME if known.rpartition(".")[2] == word]
    near = same or difflib.get_close_matches(name, BY_NAME, 1)
    return f" (it may be '{near[0]}')" if near else ""


def _refuse_twice(path: Path, chosen: Mapping[str, str]) -> None:
    """One key may do one thing on a screen; those of the whole app count on every one."""
    taken: dict[tuple[Place, str], str] = {}
    for command in COMMANDS:
        for key in chosen.get(command.name, command.keys).split(","):
            one = key.strip() if len(key.strip()) > 1 else _character_to_key(key.strip())
            for place in SCREENS if Place.APP in command.places else command.places:
                other = taken.setdefault((place, one), command.name)
                if other != command.name and {other, command.name} & set(chosen):
                    raise UsageError(
                        f"{path}: the key '{key.strip()}' is given to '{other}' and '{command.name}'; choose one."
                    )
