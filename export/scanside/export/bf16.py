"""fp32 ONNX → `bf16`: as `mixed.py`, in bfloat16, which has float32's range: nothing overflows, but digits are fewer.

TensorRT has no bfloat16 kernel for transposed convolutions, so these become pointwise convolutions (`transposed.py`).
"""

import onnx
from onnx import TensorProto

from scanside.export.mixed import in_type
from scanside.export.transposed import without_transposed


def to_bf16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model in bfloat16, normalisations in float32; inputs and outputs stay float32."""
    return in_type(without_transposed(model), TensorProto.BFLOAT16)
