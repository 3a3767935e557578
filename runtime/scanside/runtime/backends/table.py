"""The backends, by device name, in the order in which `auto` tries them.

The CPU's are in the order of their measured speed. Those of a GPU come first because they are expected to be faster;
nobody has measured them yet, and none is used before it has passed the golden cases on the machine.
"""

import contextlib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

from scanside.runtime.backends.network_bytes import refuse_foreign
from scanside.runtime.errors import BackendError, UsageError

if TYPE_CHECKING:  # numpy would come along, which the terminal and the queue do without
    from scanside.runtime.backends.session import Session
    from scanside.runtime.device.case import Device
    from scanside.runtime.manifest import FileEntry

MODULES = {  # a module, or `module:name` where one holds several
    "tensorrt": "scanside.runtime.backends.trt:FULL",
    "tensorrt-rtx": "scanside.runtime.backends.trt:RTX",
    "cuda": "scanside.runtime.backends.cuda",
    "openvino": "scanside.runtime.backends.openvino",
    "cpu": "scanside.runtime.backends.ort",
}
DEVICES = tuple(MODULES)
FilePrecision = Literal["fp32", "mixed", "bf16", "int8"]
PRECISIONS: tuple[FilePrecision, ...] = get_args(FilePrecision)


class Backend(Protocol):
    """The names a backend module has.

    Attributes:
        FILES: Each precision it can run → the precision of the bundle's file that it runs it from.
        ON_TRIAL: Whether it must pass the golden cases before its first use on a machine even when it is asked for by
            name.
        on_device: Makes the device's memory with a segmenter's networks in it, where a whole case is computed; None
            for a device that works in the host's memory.
        kept: sha256 of the engine that this machine keeps for a network, given as its file in the bundle, a precision
            and a number of threads; empty where the network opens without one; None where one would be built. None in
            its place for a device that keeps none.
    """

    NAME: str
    TITLE: str
    FILES: Mapping[str, FilePrecision]
    ON_TRIAL: bool
    on_device: "Callable[[Sequence[Session]], Device] | None"
    kept: "Callable[[FileEntry, str, int | None], str | None] | None"

    def missing(self) -> tuple[str, str] | None:
        """Why it cannot be used here and how to mend it, or None."""

    def version(self) -> str:
        """Library and version."""

    def open_session(self, model: bytes, precision: str, threads: int | None = None) -> "Session":
        """Open a network; the session's `spec` says what was obtained."""


def backend(device: str) -> Backend:
    """The backend module of a device name.

    Raises:
        UsageError: If there is no such device.
    """
    if device not in MODULES:
        raise UsageError(f"There is no device '{device}'; choose one of auto, {', '.join(DEVICES)}.")
    module, _, name = MODULES[device].partition(":")
    loaded = importlib.import_module(module)
    return cast(Backend, getattr(loaded, name) if name else loaded)


def file_precision(device: str, precision: str) -> FilePrecision:
    """The file of a bundle from which a device runs a precision.

    Raises:
        BackendError: If the device lacks the precision.
    """
    files = backend(device).FILES
    if precision in files:
        return files[precision]
    able = [name for name in DEVICES if precision in backend(name).FILES]
    able = [name for name in able if backend(name).missing() is None] or able
    hint = f"use --device {' or '.join(able)}" if able else f"use one of {', '.join(files)}"
    raise BackendError(f"Device '{device}' has no precision '{precision}'; {hint}.")


def open_session(device: str, model: bytes, precision: str, threads: int | None = None) -> "Session":
    """Open a network on exactly the device and in exactly the precision asked for.

    Raises:
        BackendError: If the backend is missing, lacks the precision, or gives something else, or the network is not
            whole in itself.
    """
    from scanside.runtime.backends.guard import Guarded  # numpy comes along

    module = backend(device)
    absent = module.missing()
    if absent:
        raise BackendError(f"Device '{device}' is not available: {absent[0]}; {absent[1]}.")
    file_precision(device, precision)
    refuse_foreign(model)
    with contextlib.redirect_stdout(sys.stderr):  # a library's `print`; see also backends/quiet.py
        session = module.open_session(model, precision, threads)
    if (session.spec.device, session.spec.precision) != (device, precision):
        session.close()
        raise BackendError(
            f"Asked for {device} in {precision}, obtained {session.spec.device} in {session.spec.precision}."
        )
    return Guarded(session)
