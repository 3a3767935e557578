"""Keys that an operator has chosen: a TOML in the user's configuration folder.

    # ~/.config/scanside/keys.toml
    [keys]
    "worklist.accept" = "ctrl+a"
    "app.quit" = "q,f10"

The names are those that the help of each screen (`?`) shows.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import _character_to_key

from scanside.runtime.errors import UsageError

_SCREENS = ("worklist", "case", "system", "bench")


def keys_file() -> Path:
    """Where the keys of this user stand."""
    return platformdirs.user_config_path("scanside") / "keys.toml"


def load_keys(path: Path, known: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    """Read which binding is on which keys; nothing where there is no file.

    Args:
        known: The bindings there are, name → keys. Asked only when there is a file.

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
    if set(document) - {"keys"} or not isinstance(chosen, dict):
        raise UsageError(f"{path}: only a table [keys] may stand there; correct or remove it.")
    bindings = known()
    for name, keys in chosen.items():
        if name not in bindings:
            raise UsageError(f"{path}: there is no binding '{name}'; the help (?) of each screen names them.")
        if not isinstance(keys, str) or not keys.strip():
            raise UsageError(f"{path}: '{name}' must be a key such as \"ctrl+a\"; correct it.")
    _refuse_twice(path, chosen, bindings)
    return chosen


def all_bindings() -> dict[str, str]:
    """Every binding of ours that has a name: name → its keys."""
    from scanside.tui.app import ScansideApp
    from scanside.tui.bench.screen import BenchScreen
    from scanside.tui.case.choose import JobsScreen, SeriesScreen
    from scanside.tui.case.screen import CaseScreen
    from scanside.tui.system.screen import SystemScreen
    from scanside.tui.widgets.confirm import ConfirmScreen
    from scanside.tui.widgets.help import HelpScreen
    from scanside.tui.worklist.screen import WorklistScreen
    from scanside.tui.worklist.table import CaseTable

    owners: list[type[DOMNode]] = [
        ScansideApp,
        WorklistScreen,
        CaseTable,
        CaseScreen,
        SystemScreen,
        BenchScreen,
        SeriesScreen,
        JobsScreen,
        ConfirmScreen,
        HelpScreen,
    ]
    return {
        binding.id: binding.key
        for owner in owners
        for binding in owner.BINDINGS
        if isinstance(binding, Binding) and binding.id
    }


def _refuse_twice(path: Path, chosen: Mapping[str, str], bindings: Mapping[str, str]) -> None:
    """One key may do one thing on a screen; those of the whole app count on every one."""
    taken: dict[tuple[str, str], str] = {}
    for name, keys in {**bindings, **chosen}.items():
        for key in keys.split(","):
            one = key.strip() if len(key.strip()) > 1 else _character_to_key(key.strip())
            screens = _SCREENS if name.startswith("app.") else (name.partition(".")[0],)
            for screen in screens:
                other = taken.setdefault((screen, one), name)
                if other != name and {other, name} & set(chosen):
                    raise UsageError(
                        f"{path}: the key '{key.strip()}' is given to '{other}' and '{name}'; choose one."
                    )
