"""What this machine can run, what is missing and how to get it."""

import importlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field

from scanside.runtime import machine
from scanside.runtime.backends import gpu
from scanside.runtime.backends.quiet import captured
from scanside.runtime.backends.table import DEVICES, FilePrecision, backend
from scanside.runtime.backends.trt_build import LIBRARIES
from scanside.runtime.extras import EXTRAS, install_command, missing_modules, package_command
from scanside.runtime.record import Document, Part

_MODULES = {"cpu": "onnxruntime", "cuda": "onnxruntime", **LIBRARIES}
"""Device → the Python module that it needs, where that is not its own name."""
UNPROVEN = "the project has never run this device on a GPU: its golden cases decide on this machine"


class Finding(Part):
    """A backend or an extra."""

    name: str
    title: str
    kind: Literal["backend", "extra"]
    available: bool
    """Whether it can be used here; for a backend, whether a network really opened and ran."""
    reason: str
    """The version when available, else what is missing."""
    fix: str | None
    """The command that mends it."""
    precisions: tuple[FilePrecision, ...] = ()
    note: str | None = None
    """What to know before relying on it."""


class GpuFound(Part):
    """The first GPU."""

    name: str
    capability: str
    """Compute capability, such as 8.9."""
    memory: int
    """Bytes."""
    driver: str
    """Version of the driver, or of L4T on a Jetson."""
    cuda: str
    """Newest CUDA that the driver runs."""


class MachineFound(Part):
    """This machine."""

    processor: str
    cores: Annotated[int, Field(ge=1)]
    """That the process may use."""
    memory_gib: float | None
    gpu: GpuFound | None


class DoctorReport(Document):
    """What `scanside doctor --json` prints."""

    schema_: Literal["scanside.doctor/2"] = Field("scanside.doctor/2", alias="schema")
    machine: MachineFound
    backends: tuple[Finding, ...]
    extras: tuple[Finding, ...]
    versions: Mapping[str, str]


def report() -> DoctorReport:
    """Examine this machine, every backend and every extra."""
    findings, found = examine(), gpu.find()
    return DoctorReport(
        machine=MachineFound(
            processor=machine.processor(),
            cores=machine.cores(),
            memory_gib=machine.memory_gib(),
            gpu=None if isinstance(found, tuple) else GpuFound(**asdict(found)),
        ),
        backends=tuple(finding for finding in findings if finding.kind == "backend"),
        extras=tuple(finding for finding in findings if finding.kind == "extra"),
        versions=machine.versions(),
    )


def examine() -> list[Finding]:
    """Examine every backend (by importing it) and every extra (by looking for its packages)."""
    return [*(_backend(name) for name in DEVICES), *(_extra(name) for name in EXTRAS if name != "cpu")]


def _backend(name: str) -> Finding:
    module = backend(name)
    note = UNPROVEN if module.ON_TRIAL else None

    def unusable(reason: str, fix: str | None) -> Finding:
        return Finding(
            name=name, title=module.TITLE, kind="backend", available=False, reason=reason, fix=fix, note=note
        )

    absent = module.missing()
    if absent:
        return unusable(*absent)
    package = _MODULES.get(name, name)
    try:
        with captured():
            importlib.import_module(package)
    except Exception as error:  # a broken binary fails in many ways
        reason = f"{package} is installed but does not load ({type(error).__name__}: {error})"
        return unusable(reason, package_command("--force-reinstall", package, beside=package))
    return Finding(
        name=name,
        title=module.TITLE,
        kind="backend",
        available=True,
        reason=module.version(),
        fix=None,
        precisions=tuple(module.FILES),
        note=note,
    )


def _extra(name: str) -> Finding:
    missing = missing_modules(name)
    return Finding(
        name=name,
        title=f"extra '{name}'",
        kind="extra",
        available=not missing,
        reason=f"{', '.join(missing)} not installed" if missing else "installed",
        fix=install_command(name) if missing else None,
    )
