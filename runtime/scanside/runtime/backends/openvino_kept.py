"""Networks as OpenVINO compiled them, kept among the engines of this machine and read back in place of compiling.

What is kept is a network with its weights after the compiler's rewriting, and ours; kernels are made at each opening.
OpenVINO has a cache of its own (`CACHE_DIR`), which reads whatever lies in its folder: nothing there says by whom it
was written, nor what the golden cases were run on.
"""

import hashlib
import io
from collections.abc import Callable
from importlib.metadata import version as installed
from typing import Any

from scanside.runtime import machine
from scanside.runtime.backends import engines
from scanside.runtime.errors import BackendError

LARGEST = 32 << 20
"""Bytes of an ONNX file beyond which nothing is kept: opening is then a small part of a case, and the file large."""
How = tuple[str, str, int | None]
"""OpenVINO's version, precision, and threads (None for one a core)."""


def facts(core: Any, network: str, size: int, how: How) -> engines.Facts | None:
    """All that a compiled network depends on; None where it is not kept: it is large, or the folder is not usable.

    Args:
        network, size: sha256 and bytes of the ONNX file.
    """
    if size > LARGEST:
        return None
    try:
        engines.folder()
    except (
        BackendError
    ):  # others could write to it, or there is no home: compiling costs little and asks nobody
        return None
    library, precision, threads = how
    return engines.Facts(
        network=network,
        library=f"{library}, scanside {installed('scanside')}",  # whose rewriting is part of what is compiled
        gpu=machine.processor(),
        capability=" ".join(sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))),
        memory=0,
        driver="",
        cuda="",
        precision=precision,
        profile=f"{threads or 'all'} threads of {machine.cores()} cores",
    )


def opened(
    core: Any, model: bytes, how: How, settings: dict[str, Any], compile_now: Callable[[], Any]
) -> tuple[Any, str | None]:
    """A compiled network, and the sha256 of what it was read from, if it was.

    Also what has just been compiled is read back from the bytes that are kept: so the golden cases judge these.

    Raises:
        BackendError: If OpenVINO does not read what it has just written.
    """
    known = facts(core, hashlib.sha256(model).hexdigest(), len(model), how) if engines.keeps_here() else None
    if known is None:
        return compile_now(), None
    for _ in range(2):
        with engines.alone():  # two compilations differ in the names of a few operations
            engine = engines.obtain(known, lambda: engines.Built(_exported(compile_now()), 1), quietly=True)
        try:
            return core.import_model(io.BytesIO(engine.plan), "CPU", settings), engine.sha256
        except Exception as error:  # the bindings raise RuntimeError and their own types
            engines.announce(
                f"OpenVINO does not take the kept network ({last_line(error)}); compiling it anew"
            )
            engines.discard(known)
    raise BackendError("OpenVINO does not take the network that it has just compiled; run `scanside doctor`.")


def _exported(compiled: Any) -> bytes:
    stream = io.BytesIO()
    compiled.export_model(stream)
    return stream.getvalue()


def last_line(error: Exception) -> str:
    """What an error of OpenVINO says, without where in its sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
