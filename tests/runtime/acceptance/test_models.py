"""Faults of a bundle and of its features: each is found by the name of its check."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from scanside.runtime.acceptance import models
from scanside.runtime.bundle import open_bundle
from scanside.runtime.radiomics.conformance import conformance
from scanside.runtime.radiomics.conformance import phantom as ibsi_phantom
from scanside.runtime.trust import Trust
from scanside.runtime.volume import Volume
from tests.runtime.acceptance.faults import CPU, failed
from tests.runtime.acceptance.proven import change

TRUST = Trust(allow=("geometry-phantom",))


def _wrong_spacing(bundle: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["segmenters"]["t2w"]["plan"]["spacing"][2] *= 1.5

    change(bundle, edit)


def _flipped_byte(bundle: Path) -> None:
    path = bundle / "segmenters/dwi/0.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _other_weights(bundle: Path) -> None:
    """A forger: the hashes are right, and the network is another one."""
    path = bundle / "segmenters/dwi/0.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "bias":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.85), "bias"))
    onnx.save(model, path)
    change(bundle, lambda manifest: None, "segmenters/dwi/0.onnx")


def _other_radiomics(bundle: Path) -> None:
    """Features of the T2WI are measured on other pixels."""
    path = bundle / "radiomics.yaml"
    path.write_text(path.read_text().replace("[1.0, 1.0, 0.0]", "[1.5, 1.5, 0.0]"))
    change(bundle, lambda manifest: None, "radiomics.yaml")


def _no_golden(bundle: Path) -> None:
    change(bundle, lambda manifest: manifest.update(golden=[]))


MODEL: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "wrong spacing": (_wrong_spacing, {"model: t2w-phantom on cpu, fp32"}),
    "a flipped bit": (_flipped_byte, {"model: every file as exported"}),
    "other weights": (_other_weights, {"model: dwi-phantom on cpu, fp32"}),
    "no golden cases": (_no_golden, {"model: golden cases"}),
}


def test_a_sound_bundle(proven: Path) -> None:
    checks = list(models.bundle_checks(open_bundle(proven), CPU, TRUST))
    assert failed(checks) == set() and len(checks) == 5
    assert [figure.values for one in checks for figure in one.figures if figure.kind == "exact"] == [
        (0,),
        (0,),
    ]


@pytest.mark.parametrize("name", MODEL)
def test_faults_of_the_bundle(tmp_path: Path, proven: Path, name: str) -> None:
    damage, expected = MODEL[name]
    bundle = shutil.copytree(proven, tmp_path / "bundle")
    damage(bundle)
    assert failed(models.bundle_checks(open_bundle(bundle), CPU, TRUST)) == expected


def test_another_recipe_of_radiomics(tmp_path: Path, proven: Path) -> None:
    bundle = shutil.copytree(proven, tmp_path / "bundle")
    _other_radiomics(bundle)
    (found,) = [
        one
        for one in models.bundle_checks(open_bundle(bundle), CPU, TRUST)
        if one.name.startswith("golden study")
    ]
    assert failed([found]) == {"model: golden study study-phantom"}


def test_features_beyond_the_consensus() -> None:
    image, mask = ibsi_phantom()
    other = image.data.copy()
    other[0, 0, 0, 0] += 5
    assert failed([models.ibsi(conformance())]) == set()
    assert failed([models.ibsi(conformance(Volume(other, image.geometry), mask))]) == {
        "features: IBSI-1 digital phantom"
    }
