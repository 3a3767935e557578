"""What `nnUNetv2_ensemble` wants beside probabilities: each case's properties, and the labels of the model.

Source: nnU-Net v2 `ensembling/ensemble.py`, `imageio/simpleitk_reader_writer.py`, `utilities/plans_handling`.
"""

import json
import pickle
from typing import Any

from scanside.runtime.plan import Plan, Reader
from scanside.runtime.volume import Geometry

_READERS: dict[Reader, str] = {"itk": "SimpleITKIO", "picture": "NaturalImage2DIO", "tiff": "Tiff3DIO"}


def properties(geometry: Geometry) -> bytes:
    """`<case>.pkl`: the grid, as nnU-Net's SimpleITKIO remembers it (x, y, z; two axes for a picture)."""
    axes = geometry.dimension
    matrix = geometry.direction_matrix[:axes, :axes]
    content: dict[str, Any] = {
        "sitk_stuff": {
            "spacing": tuple(float(mm) for mm in geometry.spacing[::-1][:axes]),
            "origin": tuple(float(mm) for mm in geometry.origin[:axes]),
            "direction": tuple(float(cosine) for cosine in matrix.ravel()),
        },
        "spacing": [float(mm) for mm in geometry.spacing],
    }
    return pickle.dumps(content)


def model_files(plan: Plan, name: str, ending: str) -> dict[str, bytes]:
    """`dataset.json` and `plans.json` of the output folder: labels and reader, all that merging looks at.

    The reader of volumes is SimpleITKIO whatever the model's own is: probabilities lie on the grid of the image.

    Args:
        name: Of the model.
        ending: Of the masks that are to be merged.
    """
    labels: dict[str, Any] = {
        label: list(value) if isinstance(value, tuple) else value
        for label, value in plan.labels.names.items()
    }
    if plan.labels.ignore is not None:
        labels["ignore"] = plan.labels.ignore
    dataset: dict[str, Any] = {
        "channel_names": {str(index): channel.name for index, channel in enumerate(plan.channels)},
        "labels": labels,
        "numTraining": 0,
        "file_ending": ending,
    }
    if plan.labels.regions_class_order is not None:
        dataset["regions_class_order"] = list(plan.labels.regions_class_order)
    plans = {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": _READERS[plan.reader],
        "label_manager": "LabelManager",
        "configurations": {},
    }
    return {"dataset.json": _encoded(dataset), "plans.json": _encoded(plans)}


def _encoded(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
