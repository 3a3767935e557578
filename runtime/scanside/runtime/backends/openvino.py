"""OpenVINO on the CPU: on 3-D U-Nets about 1.5 times as fast as ONNX Runtime's CPU provider.

What it compiled of a small network is kept, and read at the next opening (docs/engines.md).
"""

import importlib.util
from functools import partial
from importlib.metadata import version as installed
from typing import Any

import numpy as np

from scanside.runtime.arrays import Float32
from scanside.runtime.backends import engines, openvino_kept, winograd
from scanside.runtime.backends.openvino_kept import last_line
from scanside.runtime.backends.openvino_quiet import load_openvino
from scanside.runtime.backends.session import Closing, Session, SessionSpec
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.errors import BackendError, ProviderMismatchError
from scanside.runtime.extras import install_command
from scanside.runtime.manifest import FileEntry

NAME = "openvino"
TITLE = "OpenVINO, CPU"
FILES: dict[str, FilePrecision] = {"fp32": "fp32", "bf16": "fp32", "int8": "int8"}
ON_TRIAL = False
on_device = None
_ATTENTION = {"Softmax", "ScaledDotProductAttention"}
"""Operations of transformers that no convolutional network of nnU-Net has."""
_HINTS = {"fp32": "f32", "bf16": "bf16"}


def missing() -> tuple[str, str] | None:
    """Why this backend cannot be used here and how to mend it, or None."""
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed", install_command("cpu")
    return None


def version() -> str:
    """Version of OpenVINO."""
    return f"openvino {installed('openvino')}"


def open_session(model: bytes, precision: str, threads: int | None = None) -> Session:
    """Compile an ONNX model for the CPU.

    Args:
        model: The ONNX file's bytes, already verified.
        precision: `fp32`, or the approximations `bf16` (the fp32 model run in bfloat16) and `int8` (convolutions, for
            which the model holds the scales; everything else as in bf16 where the processor has bfloat16).
        threads: Threads of one run; None for one a core.
    """
    ov = load_openvino()

    try:
        core = ov.Core()
        hint = _HINTS.get(precision) or _between_integers(core)
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        compiled, engine = openvino_kept.opened(
            core,
            model,
            (version(), precision, threads),
            settings,
            partial(_compiled, core, model, precision, settings),
        )
    except BackendError:
        raise
    except Exception as error:  # the bindings raise RuntimeError and their own types
        raise BackendError(f"OpenVINO cannot load the network ({last_line(error)}); re-export it.") from error
    devices = compiled.get_property("EXECUTION_DEVICES")
    if devices != ["CPU"]:
        raise ProviderMismatchError(f"Asked OpenVINO for CPU, obtained {devices}.")
    obtained = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if obtained != hint:
        raise ProviderMismatchError(
            f"Asked OpenVINO for {precision}, obtained {obtained}: this processor lacks it; use --precision fp32."
        )
    if precision == "int8" and not _in_integers(compiled):
        raise ProviderMismatchError(
            "Asked OpenVINO for int8, obtained convolutions in floating point; use --precision fp32."
        )
    return OpenVinoSession(compiled, precision, engine)


def kept(network: FileEntry, precision: str, threads: int | None = None) -> str | None:
    """sha256 of what is kept here of a compiled network, empty where it is not kept, None where it would be."""
    facts = openvino_kept.facts(
        load_openvino().Core(), network.sha256, network.bytes, (version(), precision, threads)
    )
    return "" if facts is None else engines.kept(facts)


def _compiled(core: Any, model: bytes, precision: str, settings: dict[str, Any]) -> Any:
    network = _one_tile(core.read_model(model))
    # Float32 only: bfloat16's few digits do not survive the transforms.
    rewritten = precision == "fp32" and not network.is_dynamic() and winograd.rewrite(network) > 0
    compiled = core.compile_model(network, "CPU", settings)
    if rewritten and not winograd.channels_innermost(compiled):
        compiled = core.compile_model(_one_tile(core.read_model(model)), "CPU", settings)
    return compiled


def _one_tile(network: Any) -> Any:
    """The network for a batch of one: a static shape lets the compiler choose its kernels once.

    The batch of a transformer stays open. With a static shape OpenVINO 2026.4 fuses attention of twelve heads wrongly:
    logits of Primus-B and M are 1 to 2 % off in float32, and right where the batch is open.
    """
    if _ATTENTION.isdisjoint(operation.get_type_name() for operation in network.get_ops()):
        network.reshape([1, *_sizes(network.inputs[0])])
    return network


def _sizes(port: Any) -> list[int]:
    """The shape without its batch axis, which may be open."""
    return [int(size.get_length()) for size in list(port.partial_shape)[1:]]


def _between_integers(core: Any) -> str:
    """In what an int8 network computes everything between its convolutions: bfloat16 where the processor has it.

    These operations wait for the memory; values of half the size are read in half the time.
    """
    return "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def _in_integers(compiled: Any) -> bool:
    """Whether most convolutions were compiled to 8-bit integers; the first and the last never are."""
    facts = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    found = [fact["runtimePrecision"] for fact in facts if fact["layerType"] == "Convolution"]
    return 2 * sum(precision in ("i8", "u8") for precision in found) > len(found)


class OpenVinoSession(Closing):
    """A network compiled by OpenVINO."""

    def __init__(self, compiled: Any, precision: str, engine: str | None = None) -> None:
        self._request: Any = compiled.create_infer_request()
        heads = _sizes(compiled.outputs[0])[0]
        self.spec = SessionSpec(tuple(_sizes(compiled.inputs[0])), heads, NAME, precision, engine=engine)

    def run(self, tiles: Float32) -> Float32:
        """See `Session.run`."""
        if self._request is None:
            raise BackendError("The session is closed; open the bundle again.")
        self.check(tiles)
        try:
            # The output tensor is the request's own memory, overwritten by the next run: hence the copies.
            results = [
                self._request.infer(tile[None], share_inputs=True, share_outputs=True)[0].copy()
                for tile in tiles
            ]
        except Exception as error:
            raise BackendError(f"OpenVINO failed while running the network ({last_line(error)}).") from error
        return results[0] if len(results) == 1 else np.concatenate(results)

    def close(self) -> None:
        """Free the network."""
        self._request = None
