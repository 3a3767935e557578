"""One network in every precision of a bundle: precision lives in the graph, not in a flag of the machine it runs on."""

from collections.abc import Sequence

import onnx

from scanside.export.accurate_norm import accurate_norms
from scanside.export.mixed import to_mixed
from scanside.export.quantise import Tiles, to_int8
from scanside.runtime.backends.table import FilePrecision


def in_precisions(
    model: onnx.ModelProto, precisions: Sequence[FilePrecision], calibration: Tiles = ()
) -> dict[FilePrecision, onnx.ModelProto]:
    """The network in each precision asked for.

    Args:
        model: As PyTorch exports it, float32.
        calibration: Tiles of real images; needed for int8 alone.
    """
    return {precision: _convert(model, precision, calibration) for precision in precisions}


def _convert(model: onnx.ModelProto, precision: FilePrecision, calibration: Tiles) -> onnx.ModelProto:
    if precision == "mixed":
        return to_mixed(model)
    if precision == "int8":
        return to_int8(model, calibration)
    accurate = onnx.ModelProto()
    accurate.CopyFrom(model)
    accurate_norms(accurate)
    return accurate
