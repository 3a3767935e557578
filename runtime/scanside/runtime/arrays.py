"""The kinds of arrays that signatures name, each under one name. Shapes and axis orders stand in the docstrings."""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Uint8 = npt.NDArray[np.uint8]

Mask = npt.NDArray[np.bool_]
"""Where something is: true inside."""

LabelMask = npt.NDArray[np.unsignedinteger]
"""Which label each voxel has, 0 for background: uint8, or uint16 where a model has more than 255."""
