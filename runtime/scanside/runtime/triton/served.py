"""The side of the server: what the `model.py` of an exported repository calls, inside Triton's Python backend.

Arrays cross between Triton and numpy by DLPack alone. The backend's own `as_numpy` is compiled for one version of
numpy, and beside another it gives wrong values without an error.
"""

import ctypes
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.errors import BackendError, BundleError, CaseError, InputError, ScansideError
from scanside.runtime.golden import replay_all
from scanside.runtime.options import Options
from scanside.runtime.report import stage_times
from scanside.runtime.segmenter import Segmenter
from scanside.runtime.triton.contract import CONTRACT, KINDS, PREFIX, About, Array, digest
from scanside.runtime.volume import Geometry, Volume

_NO_MEMORY = "There is not enough memory on the server for this case; use a larger machine."


class Served:
    """A segmenter that answers Triton's requests."""

    def __init__(self, backend: Any, bundle: Path, parameters: Mapping[str, str]) -> None:
        """Open the bundle and prove it.

        Args:
            backend: `triton_python_backend_utils`, which exists in Triton's processes alone.
            bundle: The folder beside model.py.
            parameters: Those of config.pbtxt: `contract`, `bundle_sha256`, `role`, `device`, `precision`, `threads`.

        Raises:
            backend.TritonModelException: If it is another bundle, or cannot be opened, or fails its golden cases.
        """
        self._backend = backend
        try:
            self._segmenter, self._golden = _proven(bundle, parameters)
        except ScansideError as error:
            raise backend.TritonModelException(f"{PREFIX}: {error}") from error

    def respond(self, request: Any) -> Any:
        """Answer one request, with labels or with a sentence."""
        backend = self._backend
        try:
            arrays = {tensor.name(): np.from_dlpack(tensor).copy() for tensor in request.inputs()}
            found = self.answer(arrays, probabilities="probabilities" in request.requested_output_names())
        except ScansideError as error:
            return self._refusal(error)
        except MemoryError:
            return self._refusal(CaseError(_NO_MEMORY))
        except Exception as error:  # the sender gets a sentence, the server's log the rest
            backend.Logger.log_error(f"{PREFIX}: {type(error).__name__}: {error}")
            return self._refusal(CaseError(f"The server failed on this case ({type(error).__name__})."))
        tensors = [backend.Tensor.from_dlpack(name, Lent(array)) for name, array in found.items()]
        return backend.InferenceResponse(output_tensors=tensors)

    def answer(self, arrays: Mapping[str, Array], *, probabilities: bool = False) -> dict[str, Array]:
        """Compute a case.

        Args:
            arrays: `image` (C, Z, Y, X) float32, `spacing` (Z, Y, X) float64 in mm, `direction` 9 cosines float64
                as in `Geometry`, `previous` (Z, Y, X) uint16 for a golden case of a cascade.

        Returns:
            `labels` (Z, Y, X); `about`, what they are, as UTF-8 JSON; `probabilities` (K, Z, Y, X) float32 where asked
            for.

        Raises:
            InputError: If the tensors are no image for this model.
            CaseError: If it cannot be computed.
        """
        segmenter, previous = self._segmenter, arrays.get("previous")
        found = segmenter.segment(
            self._volume(arrays), case="served", previous=previous, probabilities=probabilities
        )
        mask = np.ascontiguousarray(found.mask)
        values = None if found.probabilities is None else np.ascontiguousarray(found.probabilities)
        about = About(
            contract=CONTRACT,
            bundle=segmenter.bundle.sha256,
            role=segmenter.role,
            device=segmenter.device.obtained,
            precision=segmenter.device.precision,
            node=platform.node(),
            golden=self._golden,
            request=digest(arrays["image"], arrays["spacing"], arrays.get("direction"), previous),
            labels=digest(mask),
            probabilities=None if values is None else digest(values),
            on_device=found.on_device,
            stages=stage_times(found.stages),
            remarks=tuple(map(str, found.remarks)),
        )
        said = np.frombuffer(about.model_dump_json().encode(), np.uint8).copy()
        return {"labels": mask, "about": said} | ({} if values is None else {"probabilities": values})

    def _volume(self, arrays: Mapping[str, Array]) -> Volume:
        image, direction = arrays["image"], arrays.get("direction")
        manifest = self._segmenter.bundle.manifest
        plans = [manifest.segmenters[role].plan for role in manifest.chain(self._segmenter.role)]
        if direction is None and any(plan.reorient for plan in plans):
            raise InputError("This model turns images to a known orientation; send the tensor direction too.")
        z, y, x = (float(mm) for mm in arrays["spacing"])
        grid = Geometry((image.shape[1], image.shape[2], image.shape[3]), (z, y, x))
        if direction is not None:
            grid = replace(grid, direction=tuple(float(cosine) for cosine in direction))
        return Volume(image, grid)

    def _refusal(self, error: ScansideError) -> Any:
        kind = next((name for name, kind in KINDS.items() if isinstance(error, kind)), "backend")
        words = self._backend.TritonError(f"{PREFIX} {kind}: {error}")
        return self._backend.InferenceResponse(output_tensors=[], error=words)

    def close(self) -> None:
        """Free the networks."""
        self._segmenter.close()


class Lent:
    """An array that is given to Triton for good.

    Triton marks what it has taken by another name than numpy looks for, so that numpy's capsule would complain on
    stderr twice a case. Triton frees the array itself; the capsule has nothing left to do.
    """

    def __init__(self, array: Array) -> None:
        self._array = array

    def __dlpack__(self, **wanted: Any) -> Any:
        """The capsule."""
        capsule = self._array.__dlpack__(**wanted)
        ctypes.pythonapi.PyCapsule_SetDestructor(ctypes.py_object(capsule), None)
        return capsule

    def __dlpack_device__(self) -> Any:
        """The CPU."""
        return self._array.__dlpack_device__()


def _proven(folder: Path, parameters: Mapping[str, str]) -> tuple[Segmenter, int]:
    """The segmenter, and how many golden cases it passed: those of every stage of a cascade, member of an ensemble."""
    contract, wanted = parameters["contract"], parameters["bundle_sha256"]
    if contract != CONTRACT:
        raise BundleError(
            f"The model speaks {contract}, this scanside {CONTRACT}; export the repository again."
        )
    bundle = open_bundle(folder)
    if bundle.sha256 != wanted:
        raise BundleError(f"{folder} is not the bundle that was exported here; export the repository again.")
    threads = int(parameters["threads"]) or None
    options = Options(parameters["device"], parameters["precision"], role=parameters["role"], threads=threads)
    count = 0
    for role in bundle.manifest.chain(parameters["role"])[:-1]:
        with open_segmenter(bundle, replace(options, role=role)) as stage:
            count += _replayed(stage)
    segmenter = open_segmenter(bundle, options)
    try:
        return segmenter, count + _replayed(segmenter)
    except BaseException:
        segmenter.close()
        raise


def _replayed(segmenter: Segmenter) -> int:
    results = replay_all(segmenter)
    if not results:
        raise BundleError(
            f"Segmenter '{segmenter.role}' has no golden case to prove it with; export it with some."
        )
    for found in results:
        if found.problem:
            raise BackendError(
                f"{platform.node()} does not compute golden case {found.case} on {found.device}: {found.problem}."
            )
    return len(results)
