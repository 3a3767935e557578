"""The bundle of the geometry phantom of `scanside accept`: `python -m scanside.export.geometry_bundle OUT`.

Its networks are one convolution of one voxel, which calls lesion what is brighter than a threshold: what goes in is
known, so what has to come out is known. It lies in `runtime/scanside/runtime/acceptance/geometry.bundle`.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scanside.export.writer import BundleWriter
from scanside.runtime.acceptance import phantom
from scanside.runtime.manifest import SCHEMA, Agreement, Manifest, Network, Segmenter
from scanside.runtime.plan import Channel, Labels, Normalization, Plan
from scanside.runtime.radiomics.config import default_config, dump_config
from scanside.runtime.study.lesion_agreement import NEAR_MM
from scanside.runtime.study_model import Band, Classifier, Signature, StudyModel, Typical

_PATCH = (16, 32, 32)
_FEATURES = ("t2w_original_shape_MeshVolume", "dwi_original_shape_MeshVolume", "adc_original_firstorder_Mean")
_MADE = "2026-11-28T00:00:00+00:00"


def write_geometry_bundle(out: Path) -> Path:
    """Write the bundle; the same bytes whenever it is written by the same version of onnx.

    Raises:
        OutputError: If it exists already or cannot be written.
    """
    with BundleWriter(out, overwrite=False) as writer:
        segmenters = {}
        for role, grid in (("t2w", phantom.T2W), ("dwi", phantom.DWI)):
            path = f"segmenters/{role}/0.onnx"
            writer.add(path, _network())
            plan = Plan(
                configuration="3d_fullres",
                channels=(Channel(name=role, normalization=Normalization(scheme="NoNormalization")),),
                spacing=grid.spacing,
                patch_size=_PATCH,
                labels=Labels(names={"background": 0, "lesion": 1}),
            )
            segmenters[role] = Segmenter(plan=plan, networks=(Network(fold="0", files={"fp32": path}),))
        writer.add("radiomics.yaml", dump_config(default_config()))
        writer.add("classifier.onnx", _classifier())
        writer.write_manifest(
            Manifest(
                schema=SCHEMA,
                name="geometry-phantom",
                version="1",
                licence="Apache-2.0",
                created=_MADE,
                intended_use="Acceptance of an installation on its geometry phantom, and nothing else.",
                file_ending=".nii.gz",
                segmenters=segmenters,
                synthetic=True,
                radiomics="radiomics.yaml",
                agreement=Agreement(near_mm=NEAR_MM),
                models=(_model(),),
                files=writer.files,
                provenance={"source": "scanside.export.geometry_bundle"},
            )
        )
        writer.commit()
    return out


def _network() -> bytes:
    """Logit of lesion = (x - threshold) / 8; of background 0."""
    weight = np.array([0.0, 1.0 / 8.0], np.float32).reshape(2, 1, 1, 1, 1)
    bias = np.array([0.0, -phantom.THRESHOLD / 8.0], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"])],
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, *_PATCH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2, *_PATCH])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    return _bytes(graph)


def _classifier() -> bytes:
    """Says 0.9 whatever the features are."""
    n = len(_FEATURES)
    odds = float(np.log(9.0))
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weight"], ["zero"]),
            helper.make_node("Add", ["zero", "odds"], ["logits"]),
            helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
        ],
        "constant",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, [None, n])],
        [helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2])],
        [
            numpy_helper.from_array(np.zeros((n, 2)), "weight"),
            numpy_helper.from_array(np.array([-odds, odds]), "odds"),
        ],
    )
    return _bytes(graph)


def _bytes(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.producer_name = model.producer_version = ""
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _model() -> StudyModel:
    n = len(_FEATURES)
    classifier = Classifier(
        file="classifier.onnx",
        positive="geometry phantom",
        negative="something else",
        threshold=0.5,
        indeterminate=(0.5, 0.5),
        calibration="none: a phantom",
        band=Band(value=(0.0, 1.0), low=(0.0, 1.0), high=(0.0, 1.0), method="none: a phantom"),
        typical=Typical(
            centre=(0.0,) * n,
            limit=1e12,
            precision=tuple(tuple(float(i == j) for j in range(n)) for i in range(n)),
        ),
    )
    signature = Signature(features=_FEATURES, ranges=dict.fromkeys(_FEATURES, (0.0, 1.0, 2.0)))
    return StudyModel(
        name="geometry", roles=("t2w", "dwi"), covariates=(), signature=signature, classifier=classifier
    )


if __name__ == "__main__":
    print(write_geometry_bundle(Path(sys.argv[1])))
