"""The optional parts of an installation, and the command that adds one to this very copy.

What a person does decides the part: the base segments image files; `dicom`, `study`, `appliance` and the others are in
pyproject.toml. A command to install names what this copy was installed from (PEP 610, direct_url.json): a folder, a
repository or a file; the package's bare name is right only for a copy that came from an index.
"""

import importlib.util
import json
import shlex
import shutil
import site
import sys
import sysconfig
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PACKAGE = "scanside"
EXTRAS: dict[str, tuple[str, ...]] = {
    "dicom": ("pydicom", "gdcm", "highdicom", "PIL"),
    "pictures": ("PIL", "tifffile"),
    "study": ("radiomics", "ruamel"),
    "sign": ("cryptography",),
    "appliance": ("pynetdicom", "prometheus_client"),
    "tui": ("textual", "textual_image"),
    "export": ("torch", "nnunetv2", "onnx", "onnxscript"),
    "train": ("sklearn", "skl2onnx", "matplotlib", "jinja2"),
    "bench": ("psutil", "matplotlib"),
    "int8": ("nncf",),
    "ray": ("ray",),
    "cpu": ("onnxruntime", "openvino"),
}
"""Part → the Python modules it brings. `gpu` and `rtx` bring devices alone, which `scanside doctor` names itself."""


def extra_of(module: str) -> str | None:
    """The part that brings a module (`pydicom.dataset` → `dicom`), or None."""
    top = module.partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


def missing_modules(extra: str) -> tuple[str, ...]:
    """The modules of a part that are not installed."""
    return tuple(name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None)


def install_command(extra: str) -> str:
    """What to run, on this machine, to add a part to this copy, such as `pip install '/home/a/scanside[cpu]'`."""
    return f"{_installer()} {' '.join(shlex.quote(word) for word in _requirement(extra))}"


def package_command(*packages: str, beside: str | None = None) -> str:
    """What to run to add packages to this interpreter.

    Args:
        packages: As pip takes them, options included.
        beside: A package that is here, and whose folder the others have to be in (`pip install --target`).
    """
    words = [*(_target(beside) if beside else []), *packages]
    return f"{_installer()} {' '.join(shlex.quote(word) for word in words)}"


def _target(beside: str) -> list[str]:
    """`--target` where a package is not among those of the interpreter."""
    try:
        folder = Path(str(distribution(beside).locate_file(""))).resolve()
    except PackageNotFoundError:
        return []
    own = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    usual = own | {Path(path).resolve() for path in (*site.getsitepackages(), site.getusersitepackages())}
    return [] if folder in usual else ["--target", str(folder)]


def _installer() -> str:
    """pip of this interpreter: by its short name where that is the one a shell finds."""
    here, found = Path(sys.executable).parent, shutil.which("pip")
    if found and Path(found).parent == here:
        return "pip install"
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {shlex.quote(sys.executable)}"
    return f"{shlex.quote(sys.executable)} -m pip install"


def _requirement(extra: str) -> list[str]:
    origin = _origin()
    url = str(origin.get("url", ""))
    if "dir_info" in origin:
        folder = f"{unquote(urlsplit(url).path)}[{extra}]"
        return ["-e", folder] if origin["dir_info"].get("editable") else [folder]
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return [f"{PACKAGE}[{extra}] @ {vcs.get('vcs', 'git')}+{url}@{vcs['commit_id']}"]
    return [f"{PACKAGE}[{extra}] @ {url}" if url else f"{PACKAGE}[{extra}]"]


def _origin() -> dict[str, Any]:
    """What direct_url.json says; for a source tree that was never installed its folder; empty for an index."""
    try:
        found: Distribution = distribution(PACKAGE)
    except PackageNotFoundError:
        tree = Path(__file__).resolve().parents[3]
        return {"dir_info": {"editable": True}, "url": tree.as_uri()}
    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return origin if isinstance(origin, dict) else {}
