"""`scanside export engine`: TensorRT engines of a bundle. Needs the lean runtime and a TensorRT, no torch, no onnx."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scanside.runtime.backends import gpu, trt_build
from scanside.runtime.backends.network_bytes import refuse_foreign
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.backends.trt import FULL, RTX, TensorRt
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import choose_device
from scanside.runtime.errors import BackendError, BundleError, UsageError
from scanside.runtime.events import Listener, StageProgress, StageStarted
from scanside.runtime.extras import install_command
from scanside.runtime.options import Options

SCHEMA = "scanside.engine-report/2"
SMALLEST_CARD = 8 << 30
"""Bytes of memory that a GPU which is not here is taken to have."""


def build_here(path: Path, device: str | None, precision: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Build for this machine's GPU into its cache, and prove the engines on the golden cases.

    Raises:
        BackendError: If there is no GPU, an engine does not build, or the golden cases reject it.
    """
    flavour, bundle = _flavour(device), open_bundle(path)
    absent = flavour.missing()
    if absent:
        raise BackendError(
            f"Engines cannot be built here: {absent[0]}; {absent[1]}, or see with --compute-capability 8.9 whether "
            "they build for another machine."
        )
    networks = _networks(bundle, flavour, precision)
    options = Options(device=flavour.NAME, precision=precision)
    choose_device(bundle, options, bundle.manifest.final_roles, say)
    rows = []
    for name, file in networks:
        kept = flavour.kept(bundle.manifest.files[file], precision)
        rows.append({"network": name, "sha256": kept})
    verdict = f"Engines of {flavour.version()} pass the golden cases."
    return _report(bundle, flavour, precision, rows, gpu.gpu().capability, verdict)


def build_for(
    path: Path, device: str | None, precision: str, capability: str, out: Path | None, listener: Listener
) -> dict[str, Any]:
    """See whether the engines of a bundle build for a GPU that is not here. They are never run, nor used from `out`.

    Raises:
        BackendError: If one does not build.
    """
    flavour, bundle = _flavour(device), open_bundle(path)
    rows: list[dict[str, Any]] = []
    for name, file in _networks(bundle, flavour, precision):
        network = bundle.read(file)
        refuse_foreign(network)
        listener(StageStarted(name, "building"))

        def progress(part: float, name: str = name) -> None:
            listener(StageProgress(name, "building", round(100 * part), 100))

        built = trt_build.build_largest(
            network, flavour.NAME, gpu.LARGEST_BATCH, SMALLEST_CARD, capability=capability, progress=progress
        )
        plan, row = built.plan, {"network": name, "sha256": hashlib.sha256(built.plan).hexdigest()}
        rows.append(row | {"bytes": len(plan), "largest_batch": built.batch, "remark": built.remark})
        if out is not None:
            _write(out / f"{name}.{precision}.sm{capability.replace('.', '')}.plan", plan)
    verdict = f"Built with {flavour.library()} for compute capability {capability}; never run."
    return _report(bundle, flavour, precision, rows, capability, verdict)


def _flavour(device: str | None) -> TensorRt:
    if device is None:
        installed = [flavour for flavour in (FULL, RTX) if trt_build.installed(flavour.NAME)]
        if not installed:
            raise BackendError(
                f"Neither tensorrt nor tensorrt-rtx is installed; run: {install_command('rtx')}."
            )
        return installed[0]
    flavours = {flavour.NAME: flavour for flavour in (FULL, RTX)}
    if device not in flavours:
        raise UsageError(f"Device '{device}' has no engines; choose one of {', '.join(flavours)}.")
    return flavours[device]


def _networks(bundle: Bundle, flavour: TensorRt, precision: str) -> list[tuple[str, str]]:
    """Name and file of every network of the bundle in a precision."""
    wanted: FilePrecision | None = flavour.FILES.get(precision)
    if wanted is None:
        raise UsageError(f"There is no precision '{precision}'; choose one of {', '.join(flavour.FILES)}.")
    found = []
    for role, segmenter in bundle.manifest.segmenters.items():
        for network in segmenter.networks:
            if wanted not in network.files:
                raise BundleError(
                    f"Fold {network.fold} of '{role}' was exported without precision '{wanted}'; "
                    f"export it again with --precision fp32,{wanted}."
                )
            found.append((f"{role}-{network.fold}", network.files[wanted]))
    return found


def _write(path: Path, plan: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(plan)
    temporary.replace(path)


def _report(
    bundle: Bundle,
    flavour: TensorRt,
    precision: str,
    rows: list[dict[str, Any]],
    capability: str,
    verdict: str,
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "bundle": bundle.summary(),
        "library": flavour.library(),
        "precision": precision,
        "compute_capability": capability,
        "engines": rows,
        "verdict": verdict,
    }
