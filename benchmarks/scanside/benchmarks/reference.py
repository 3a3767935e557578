"""nnunetv2's predictor with its margins, opened from a results folder. Imports torch."""

from dataclasses import replace

from scanside.benchmarks.source import CHECKPOINT, Source
from scanside.export.model_folder import read_model_folder
from scanside.export.network import build_network
from scanside.export.reference import Prediction, Reference
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.load import load_case
from scanside.runtime.images.orient import reorient, restore_orientation
from scanside.runtime.volume import Volume


class FromFolder:
    """The reference for the folds of a source."""

    def __init__(self, source: Source, *, mirroring: bool) -> None:
        folder = read_model_folder(
            source.model, folds=source.folds, checkpoint=CHECKPOINT, trust_pickles=False
        )
        self._plan = source.plan
        network = build_network(folder, self._plan.input_channels, self._plan.labels.heads)
        self._reference = Reference(folder, network, self._plan, mirroring=mirroring)

    def predict(self, case: CaseInput) -> tuple[Volume, Prediction, bool | None]:
        """nnunetv2's result for a case.

        Returns:
            The image as the runtime reads it; nnunetv2's prediction on its grid; and whether nnU-Net's own reader,
            whose array the prediction was made of, gave the same array. None where its reader reorients the image
            on reading: the runtime's array then serves both.
        """
        volume = load_case(case, len(self._plan.channels)).volume
        if self._plan.reorient:
            turned, _ = reorient(volume, self._plan.reorient)
            found = self._reference.predict(turned.data, turned.geometry.spacing)
            labels = restore_orientation(found.labels, turned.geometry, volume.geometry)
            margin = restore_orientation(found.margin, turned.geometry, volume.geometry)
            return volume, replace(found, labels=labels, margin=margin), None
        reader = self._reference.predictor.plans_manager.image_reader_writer_class()
        data, properties = reader.read_images([str(path) for path in case.channels])
        found = self._reference.predict(data, tuple(properties["spacing"]))
        same = data.shape == volume.data.shape and bool((data == volume.data).all())
        return volume, found, same
