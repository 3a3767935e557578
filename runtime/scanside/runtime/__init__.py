"""The lean runtime: nnU-Net models without PyTorch.

    from scanside.runtime import open_bundle, segment

    bundle = open_bundle("hippocampus.bundle")
    result = segment(bundle, image, spacing=(1.0, 1.0, 1.0))   # image: (C, Z, Y, X); result.mask: (Z, Y, X)

What a viewer or a table needs of it (the labels' names are in `segmenter.plan`):

    kept = keep_roi(result, choose_roi(plan.labels, ["liver"]))
    rows = measure_labels(volume, kept.mask, plan.labels, ["CT"])

For several images open the networks once:

    with open_segmenter(bundle, Options(device="openvino")) as segmenter:
        masks = [segment(segmenter, image, spacing=spacing).mask for image in images]

Names are loaded on first use, so that importing this package costs milliseconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scanside.runtime.api import segment
    from scanside.runtime.bundle import Bundle, open_bundle, verify
    from scanside.runtime.choose import open_segmenter
    from scanside.runtime.errors import ScansideError
    from scanside.runtime.labels import Roi, choose_roi, flat_labels, itksnap_table, keep_roi, slicer_table
    from scanside.runtime.options import Options
    from scanside.runtime.segmenter import Segmentation, Segmenter
    from scanside.runtime.statistics import LabelStatistics, measure_labels
    from scanside.runtime.study.overlay import draw_labels
    from scanside.runtime.volume import Geometry, Volume

_WHERE = {
    "Bundle": "bundle",
    "Geometry": "volume",
    "LabelStatistics": "statistics",
    "Options": "options",
    "Roi": "labels",
    "ScansideError": "errors",
    "Segmentation": "segmenter",
    "Segmenter": "segmenter",
    "Volume": "volume",
    "choose_roi": "labels",
    "draw_labels": "study.overlay",
    "flat_labels": "labels",
    "itksnap_table": "labels",
    "keep_roi": "labels",
    "measure_labels": "statistics",
    "open_bundle": "bundle",
    "open_segmenter": "choose",
    "segment": "api",
    "slicer_table": "labels",
    "verify": "bundle",
}

__all__ = [
    "Bundle",
    "Geometry",
    "LabelStatistics",
    "Options",
    "Roi",
    "ScansideError",
    "Segmentation",
    "Segmenter",
    "Volume",
    "choose_roi",
    "draw_labels",
    "flat_labels",
    "itksnap_table",
    "keep_roi",
    "measure_labels",
    "open_bundle",
    "open_segmenter",
    "segment",
    "slicer_table",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'scanside.runtime' has no attribute '{name}'")
    return getattr(importlib.import_module(f"scanside.runtime.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
