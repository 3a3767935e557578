"""One network in every precision of a bundle: precision lives in the graph, not in a flag of the machine it runs on."""

from collections.abc import Collection, Sequence

import onnx

from scanside.export.accurate_norm import accurate_norms
from scanside.export.bf16 import to_bf16
from scanside.export.mixed import to_mixed
from scanside.export.quantise import Tiles, to_int8
from scanside.runtime.backends.table import FilePrecision


def in_precisions(
    model: onnx.ModelProto,
    precisions: Sequence[FilePrecision],
    calibration: Tiles = (),
    kept: Collection[str] = (),
) -> dict[FilePrecision, onnx.ModelProto]:
    """The network in each precision asked for.

    Args:
        model: As PyTorch exports it, float32.
        calibration: Tiles of real images; needed for int8 alone.
        kept: Nodes that stay in float32 in `mixed`, from `ranges.audit`.
    """
    return {precision: _convert(model, precision, calibration, kept) for precision in precisions}


def _convert(
    model: onnx.ModelProto, precision: FilePrecision, calibration: Tiles, kept: Collection[str]
) -> onnx.ModelProto:
    if precision == "mixed":
        return to_mixed(model, kept)
    if precision == "bf16":
        return to_bf16(model)
    if precision == "int8":
        return to_int8(model, calibration)
    accurate = onnx.ModelProto()
    accurate.CopyFrom(model)
    accurate_norms(accurate)
    return accurate
