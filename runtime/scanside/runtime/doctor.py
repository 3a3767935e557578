"""What this machine can run, what is missing and how to get it."""

import importlib
from dataclasses import dataclass

from scanside.runtime.backends.quiet import captured
from scanside.runtime.backends.table import DEVICES, ON_TRIAL, backend
from scanside.runtime.backends.trt_build import LIBRARIES
from scanside.runtime.extras import EXTRAS, install_command, missing_modules, package_command

_MODULES = {"cpu": "onnxruntime", "cuda": "onnxruntime", **LIBRARIES}
"""Device → the Python module that it needs, where that is not its own name."""
UNPROVEN = "the project has never run this device on a GPU: its golden cases decide on this machine"


@dataclass(frozen=True)
class Finding:
    """A backend or an extra.

    Attributes:
        available: Whether it can be used here; for a backend, whether a network really opened and ran.
        reason: Version when available, else what is missing.
        fix: The command that mends it, or None.
        note: What a person should know before relying on it, or None.
    """

    name: str
    title: str
    kind: str
    available: bool
    reason: str
    fix: str | None
    precisions: tuple[str, ...] = ()
    note: str | None = None


def examine() -> list[Finding]:
    """Examine every backend (by importing it) and every extra (by looking for its packages)."""
    return [*(_backend(name) for name in DEVICES), *(_extra(name) for name in EXTRAS if name != "cpu")]


def _backend(name: str) -> Finding:
    module = backend(name)
    note = UNPROVEN if name in ON_TRIAL else None
    absent = module.missing()
    if absent:
        return Finding(name, module.TITLE, "backend", False, *absent, note=note)
    package = _MODULES.get(name, name)
    try:
        with captured():
            importlib.import_module(package)
    except Exception as error:  # a broken binary fails in many ways
        reason = f"{package} is installed but does not load ({type(error).__name__}: {error})"
        fix = package_command("--force-reinstall", package, beside=package)
        return Finding(name, module.TITLE, "backend", False, reason, fix, note=note)
    return Finding(name, module.TITLE, "backend", True, module.version(), None, tuple(module.FILES), note)


def _extra(name: str) -> Finding:
    missing = missing_modules(name)
    reason = f"{', '.join(missing)} not installed" if missing else "installed"
    fix = install_command(name) if missing else None
    return Finding(name, f"extra '{name}'", "extra", not missing, reason, fix)
