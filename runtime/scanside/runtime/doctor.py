"""What this machine can run, what is missing and how to get it."""

import importlib.util
from dataclasses import dataclass

from scanside.runtime.backends.table import DEVICES, backend

_EXTRAS = {
    "export": ("torch", "nnunetv2", "onnx", "onnxscript"),
    "bench": ("psutil", "matplotlib", "nnunetv2"),
}


@dataclass(frozen=True)
class Finding:
    """A backend or an extra.

    Attributes:
        available: Whether it can be used here; for a backend, whether a network really opened and ran.
        reason: Version when available, else what is missing.
        fix: The command that mends it, or None.
    """

    name: str
    title: str
    kind: str
    available: bool
    reason: str
    fix: str | None
    precisions: tuple[str, ...] = ()


def examine() -> list[Finding]:
    """Examine every backend (by importing it) and every extra (by looking for its packages)."""
    return [*(_backend(name) for name in DEVICES), *(_extra(name) for name in _EXTRAS)]


def _backend(name: str) -> Finding:
    module = backend(name)
    absent = module.missing()
    if absent:
        return Finding(name, module.TITLE, "backend", False, absent[0], absent[1])
    package = "onnxruntime" if name == "cpu" else name
    try:
        importlib.import_module(package)
    except Exception as error:  # a broken binary fails in many ways
        reason = f"{package} is installed but does not load ({type(error).__name__}: {error})"
        return Finding(
            name, module.TITLE, "backend", False, reason, f"pip install --force-reinstall {package}"
        )
    return Finding(name, module.TITLE, "backend", True, module.version(), None, tuple(module.FILES))


def _extra(name: str) -> Finding:
    missing = [package for package in _EXTRAS[name] if importlib.util.find_spec(package) is None]
    reason = f"{', '.join(missing)} not installed" if missing else "installed"
    fix = f"pip install 'scanside[{name}]'" if missing else None
    return Finding(name, f"extra '{name}'", "extra", not missing, reason, fix)
