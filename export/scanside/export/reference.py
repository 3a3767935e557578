"""The reference: nnunetv2's own preprocessor, predictor and export, on the CPU, for arrays.

Everything numeric is nnunetv2's code. Only loading differs: weights come from `checkpoint.py` (no arbitrary
pickles) and are handed over with `manual_initialization`, which nnU-Net's trainer itself uses.
"""

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot
from torch import nn

from scanside.export.model_folder import ModelFolder
from scanside.runtime.plan import Plan
from scanside.runtime.stages.decide import margin


@dataclass(frozen=True, eq=False)
class Prediction:
    """What nnunetv2 computes for a case.

    Attributes:
        logits: (K, z, y, x) float16 on the network's grid.
        labels: (Z, Y, X) on the image's grid, without postprocessing.
        margin: (Z, Y, X) float16: distance of each voxel's decision from another label; inf outside the box.
        probabilities: (K, Z, Y, X) float32 as nnunetv2 saves them, where asked for.
    """

    logits: npt.NDArray[np.float16]
    labels: npt.NDArray[np.unsignedinteger]
    margin: npt.NDArray[np.float16]
    probabilities: npt.NDArray[np.float32] | None = None


class Reference:
    """nnunetv2's predictor for one stage."""

    def __init__(
        self, folder: ModelFolder, network: nn.Module, plan: Plan, *, mirroring: bool = True
    ) -> None:
        """Set the predictor up for all folds of the folder.

        Args:
            network: Built by `network.build_network`; weights are loaded fold by fold.
            plan: The plan's labels tell how margins are taken.
        """
        with contextlib.redirect_stdout(io.StringIO()):
            self.predictor = nnUNetPredictor(
                use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False
            )
            self.predictor.manual_initialization(
                network,
                folder.plans,
                folder.configuration,
                [checkpoint.weights for checkpoint in folder.checkpoints],
                folder.dataset,
                folder.trainer,
                folder.checkpoints[0].mirror_axes or None,
            )
        self._plan = plan

    def predict(
        self,
        image: npt.NDArray[np.float32],
        spacing: tuple[float, ...],
        previous: npt.NDArray[np.integer] | None = None,
        *,
        probabilities: bool = False,
    ) -> Prediction:
        """Run a case.

        Args:
            image: (C, Z, Y, X) float32 as the reader gives it.
            spacing: (Z, Y, X) mm.
            previous: (Z, Y, X) mask of the previous stage.
        """
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            data, properties = self.preprocess(image, spacing, previous)
            logits = self.predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data))
            managers = (
                self.predictor.plans_manager,
                self.predictor.configuration_manager,
                self.predictor.label_manager,
            )
            convert = convert_predicted_logits_to_segmentation_with_correct_shape
            labels, values = convert(logits, *managers, properties), None
            if probabilities:
                labels, values = convert(logits, *managers, properties, return_probabilities=True)
            margins = self._margin(logits, properties)
        return Prediction(logits.numpy(), labels, margins, values)

    def preprocess(
        self,
        image: npt.NDArray[np.float32],
        spacing: tuple[float, ...],
        previous: npt.NDArray[np.integer] | None,
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """nnU-Net's preprocessed data, one-hot channels of a cascade included, and its properties."""
        manager, configuration = self.predictor.plans_manager, self.predictor.configuration_manager
        properties: dict[str, Any] = {"spacing": list(spacing)}
        seg = None if previous is None else previous[None].astype(np.float32)
        data, seg, properties = configuration.preprocessor_class(verbose=False).run_case_npy(
            image, seg, properties, manager, configuration, self.predictor.dataset_json
        )
        if previous is not None:
            hot = convert_labelmap_to_one_hot(
                seg[0], self.predictor.label_manager.foreground_labels, output_dtype=data.dtype
            )
            data = np.vstack((data, hot))
        return np.ascontiguousarray(data, dtype=np.float32), properties

    def _margin(self, logits: torch.Tensor, properties: dict[str, Any]) -> npt.NDArray[np.float16]:
        manager, configuration = self.predictor.plans_manager, self.predictor.configuration_manager
        new = [properties["spacing"][axis] for axis in manager.transpose_forward]
        current = list(configuration.spacing)
        current = [new[0], *current] if len(current) == 2 else current
        shape = properties["shape_after_cropping_and_before_resampling"]
        full = np.asarray(
            configuration.resampling_fn_probabilities(logits, shape, current, new), dtype=np.float32
        )
        margins = np.full(properties["shape_before_cropping"], np.inf, dtype=np.float16)
        box = tuple(slice(start, stop) for start, stop in properties["bbox_used_for_cropping"])
        margins[box] = np.minimum(margin(full, self._plan.labels), 1e4)
        return np.ascontiguousarray(margins.transpose(manager.transpose_backward))
