"""nnU-Net's planner with smaller bounds: a network that two CPU cores train, on the grid that it plans itself."""

from typing import Any

import numpy as np
import numpy.typing as npt
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

FINEST_MM = 3.0
"""The target spacing is nowhere finer: a 10 mm lesion still spans four voxels."""
FEATURES = 8
MAX_FEATURES = 64
MEMORY_GB = 0.065
"""nnU-Net's memory target; patch and batch follow from it."""
MAX_PARAMETERS = 1_500_000


class CompactPlanner(ExperimentPlanner):  # type: ignore[misc]
    """nnU-Net's rules for spacing, patch, topology, batch and normalisation under tighter limits.

    Encoder stages keep nnU-Net's two convolutions; decoder stages have one, as in nnU-Net's residual presets.
    """

    def __init__(self, *args: Any, plans_name: str = "scansideCompactPlans", **kwargs: Any) -> None:
        kwargs["gpu_memory_target_in_gb"] = kwargs.get("gpu_memory_target_in_gb") or MEMORY_GB
        super().__init__(*args, plans_name=plans_name, **kwargs)
        self.UNet_base_num_features = FEATURES
        self.UNet_max_features_3d = MAX_FEATURES
        self.UNet_max_features_2d = 2 * MAX_FEATURES
        self.UNet_blocks_per_stage_decoder = (1,) * (len(self.UNet_blocks_per_stage_encoder) - 1)

    def determine_fullres_target_spacing(self) -> npt.NDArray[np.float64]:
        """nnU-Net's target spacing (Z, Y, X), mm, but nowhere finer than `FINEST_MM`."""
        return np.maximum(super().determine_fullres_target_spacing(), FINEST_MM)
