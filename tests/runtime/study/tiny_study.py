"""A bundle with two segmenters, a signature of nine features and a classifier, and studies to run through it.

The networks are one convolution of one voxel: a voxel is lesion where its z-score is above `LEVEL`. Everything else is
the real thing: bundle, backends, pyradiomics, classifier.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import SimpleITK as sitk
from onnx import TensorProto, helper, numpy_helper
from pydicom.dataset import Dataset
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scanside.export.writer import BundleWriter
from scanside.runtime.manifest import SCHEMA, Agreement, Fusion, Manifest, Network, Segmenter
from scanside.runtime.plan import Channel, Labels, Normalization, Plan
from scanside.runtime.radiomics.config import default_config, dump_config
from scanside.runtime.study.lesion_agreement import NEAR_MM
from scanside.runtime.study_model import Band, Classifier, Covariate, Signature, StudyModel, Typical
from scanside.runtime.volume import Geometry, Volume
from tests.support.dicom_factory import ROOT, Grid, write_series

LEVEL = 2.5
FEATURES = (
    "t2w_original_firstorder_Mean",
    "t2w_original_firstorder_Entropy",
    "t2w_original_shape_MeshVolume",
    "t2w_original_glcm_Contrast",
    "dwi_original_firstorder_Skewness",
    "dwi_original_shape_Sphericity",
    "adc_original_firstorder_10Percentile",
    "adc_log-sigma-2-0-mm-3D_firstorder_Mean",
    "adc_original_firstorder_Mean",
)
ADC_OF = {"PDAC": 1100.0, "non-PDAC": 1900.0}
T2W_GRID = Geometry((16, 48, 48), (6.0, 3.0, 3.0), (-72.0, -70.0, -40.0))
DWI_GRID = Geometry((15, 40, 40), (6.5, 3.5, 3.5), (-70.0, -69.0, -41.0))
CENTRE = (-12.0, 8.0, 6.0)
"""x, y, z of the lesion, mm. (Spacings are such that NIfTI's float32 holds them.)"""


@dataclass(frozen=True)
class TinyBundle:
    """The recipe of a bundle."""

    channels: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"t2w": ("t2w",), "dwi": ("dwi",)}
    )
    features: tuple[str, ...] = FEATURES
    indeterminate: tuple[float, float] = (0.4, 0.6)
    limit: float = 1e9
    synthetic: bool = True
    lesion: str = "lesion"
    classifier: bool = True
    lopsided: bool = False
    """The network looks at a voxel's neighbours on one side of each axis alone: a turned image is another one to it."""
    orientation: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alone: bool = False
    """Whether there is a model of the DWI alone, too."""
    clinical: bool = False
    """Whether each model comes first with age and sex, and then without."""
    schema: int = SCHEMA
    fusions: tuple[Fusion, ...] = ()
    folds: int = 1


def write_bundle(out: Path, recipe: TinyBundle | None = None) -> Path:
    """Write a bundle that segments bright blobs and says PDAC where ADC is low."""
    recipe = recipe or TinyBundle()
    with BundleWriter(out, overwrite=False) as writer:
        segmenters = {}
        for role, channels in recipe.channels.items():
            plan = _plan(channels, T2W_GRID if role == "t2w" else DWI_GRID, recipe.lesion)
            path = f"segmenters/{role}/0.onnx"
            writer.add(path, _network(len(channels), plan.patch_size, recipe.lopsided))
            networks = tuple(Network(fold=str(fold), files={"fp32": path}) for fold in range(recipe.folds))
            segmenters[role] = Segmenter(plan=plan, networks=networks)
        parts: dict[str, Any] = {}
        if recipe.classifier:
            writer.add("radiomics.yaml", dump_config(default_config()))
            parts = _parts(recipe, writer)
        writer.write_manifest(
            Manifest(
                schema=SCHEMA, name="tiny", version="1.0", intended_use="test", licence="none", created="now",
                file_ending=".nii.gz", segmenters=segmenters, synthetic=recipe.synthetic, provenance={},
                files=writer.files, orientation=dict(recipe.orientation), fusions=recipe.fusions, **parts,
            )
        )  # fmt: skip
        writer.commit()
    return as_first_schema(out) if recipe.schema == 1 else out


def as_first_schema(bundle: Path) -> Path:
    """The manifest as it was written before there were several models."""

    def change(content: dict[str, Any]) -> None:
        (model,) = content.pop("models")
        content |= {"schema": 1, "signature": model["signature"], "classifier": model["classifier"]}
        del content["agreement"], content["fusions"]

    return changed_manifest(bundle, change)


def _plan(channels: tuple[str, ...], grid: Geometry, lesion: str) -> Plan:
    normal = Normalization(scheme="ZScoreNormalization")
    return Plan(
        configuration="3d_fullres",
        channels=tuple(Channel(name=name, normalization=normal) for name in channels),
        spacing=grid.spacing,
        patch_size=(16, 32, 32),
        labels=Labels(names={"background": 0, lesion: 1}),
    )


def _network(channels: int, patch: tuple[int, ...], lopsided: bool = False) -> bytes:
    """Logit of lesion = 8 (x - LEVEL) of the first channel; of background 0. Lopsided: x is a mean of 8 voxels."""
    size = 3 if lopsided else 1
    weight = np.zeros((2, channels, size, size, size), np.float32)
    weight[1, 0] = 8
    if lopsided:
        weight[1, 0] = 0
        weight[1, 0, 1:, 1:, 1:] = 1
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"], pads=[size // 2] * 6)],
        "threshold",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", channels, *patch])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2, *patch])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array([0, -8 * LEVEL], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _classifier(features: tuple[str, ...], covariates: int) -> bytes:
    """Fitted to patients who differ in the last feature (mean ADC) and in nothing else, age and sex included."""
    random = np.random.default_rng(0)
    n = len(features) + covariates
    rows = random.standard_normal((200, n))
    labels = np.arange(200) % 2
    adc = len(features) - 1
    rows -= np.stack([rows[labels == k].mean(axis=0) for k in (0, 1)])[labels]
    rows[:, adc] = np.where(labels, ADC_OF["PDAC"], ADC_OF["non-PDAC"]) + 200 * random.standard_normal(200)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0)).fit(rows, labels)
    model[1].coef_[0, np.arange(n) != adc] = 0
    made = convert_sklearn(
        model,
        initial_types=[("features", DoubleTensorType([None, n]))],
        options={id(model): {"zipmap": False}},
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    made.ir_version = 9
    return bytes(made.SerializeToString())


CLINICAL = (
    Covariate(name="age", unit="years", low=20, high=90),
    Covariate(name="sex", values=("F", "M"), low=0, high=1),
)


def _parts(recipe: TinyBundle, writer: BundleWriter) -> dict[str, Any]:
    roles = [tuple(recipe.channels)] + ([("dwi",)] if recipe.alone else [])
    models = [
        _model(recipe, lesions, covariates, writer)
        for lesions in roles
        for covariates in ((CLINICAL, ()) if recipe.clinical else ((),))
    ]
    return {
        "radiomics": "radiomics.yaml",
        "agreement": Agreement(near_mm=NEAR_MM),
        "models": tuple(models),
    }


def _model(
    recipe: TinyBundle, roles: tuple[str, ...], covariates: tuple[Covariate, ...], writer: BundleWriter
) -> StudyModel:
    features = recipe.features
    if roles == ("dwi",):
        features = tuple(name for name in features if not name.startswith("t2w"))
    name = " and ".join(roles) + (" with age and sex" if covariates else "")
    file = f"classifiers/{name.replace(' ', '-')}.onnx"
    writer.add(file, _classifier(features, len(covariates)))
    n = len(features) + len(covariates)
    precision = tuple(tuple(1.0 if i == j else 0.0 for j in range(n)) for i in range(n))
    classifier = Classifier(
        file=file,
        positive="PDAC",
        negative="non-PDAC",
        threshold=0.5,
        indeterminate=recipe.indeterminate,
        calibration="sigmoid, 200 made patients",
        band=Band(value=(0.0, 1.0), low=(0.0, 0.9), high=(0.1, 1.0), method="made"),
        typical=Typical(centre=(0.0,) * n, precision=precision, limit=recipe.limit),
    )
    signature = Signature(features=features, ranges=dict.fromkeys(features, (-1.0, 0.0, 1.0)))
    return StudyModel(
        name=name, roles=roles, covariates=covariates, signature=signature, classifier=classifier
    )


@dataclass(frozen=True)
class TinyStudy:
    """What a study shows.

    Attributes:
        lesions: Centre (x, y, z mm) and radius (mm) by role; none for a study without.
        adc: Of the lesion, 1e-6 mm²/s.
    """

    t2w: tuple[tuple[tuple[float, float, float], float], ...] = ((CENTRE, 14.0),)
    dwi: tuple[tuple[tuple[float, float, float], float], ...] = ((CENTRE, 14.0),)
    adc: float = ADC_OF["PDAC"]
    t2w_grid: Geometry = T2W_GRID
    dwi_grid: Geometry = DWI_GRID
    seed: int = 0


def images(study: TinyStudy | None = None) -> dict[str, Volume]:
    """t2w, dwi (b = 800), b0, adc: an elliptic body with balls in it; whole numbers."""
    study = study or TinyStudy()
    random = np.random.default_rng(study.seed)
    t2w, dwi = study.t2w_grid, study.dwi_grid
    adc = np.where(_balls(dwi, study.dwi), study.adc, 1500.0)
    low = np.where(_balls(dwi, study.dwi), 1400.0, 260.0)
    signals = {
        "t2w": (t2w, np.where(_balls(t2w, study.t2w), 800.0, 200.0)),
        "b0": (dwi, low),
        "dwi": (dwi, low * np.exp(-800 * adc * 1e-6)),
        "adc": (dwi, adc),
    }
    made = {}
    for name, (grid, signal) in signals.items():
        noise = random.normal(0, 10 if name == "adc" else 6, grid.shape)
        air = 0.0 if name == "adc" else 4.0
        data = np.where(_body(grid), signal + noise, air + np.abs(noise) * (air > 0))
        made[name] = Volume(np.rint(np.clip(data, 0, 4095)).astype(np.float32)[None], grid)
    return made


def places(grid: Geometry) -> npt.NDArray[np.float64]:
    """(3, Z, Y, X): x, y, z of every voxel, mm."""
    z, y, x = np.indices(grid.shape)
    steps = np.stack([x, y, z]) * np.array(grid.spacing[::-1])[:, None, None, None]
    return np.tensordot(grid.direction_matrix, steps, 1) + np.array(grid.origin)[:, None, None, None]


def _body(grid: Geometry) -> npt.NDArray[np.bool_]:
    x, y, _ = places(grid)
    return (x / 60) ** 2 + (y / 50) ** 2 < 1


def _balls(
    grid: Geometry, balls: tuple[tuple[tuple[float, float, float], float], ...]
) -> npt.NDArray[np.bool_]:
    found = np.zeros(grid.shape, bool)
    for centre, radius in balls:
        found |= np.linalg.norm(places(grid) - np.reshape(centre, (3, 1, 1, 1)), axis=0) < radius
    return found


def write_nifti(
    folder: Path, study: TinyStudy | None = None, names: tuple[str, ...] = ("t2w", "dwi", "adc")
) -> Path:
    """A folder with a file a sequence."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_image(images(study)[name], folder / f"{name}.nii.gz")
    return folder


def write_image(volume: Volume, path: Path) -> Path:
    image = sitk.GetImageFromArray(volume.data[0])
    image.SetSpacing(volume.geometry.spacing[::-1])
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(volume.geometry.direction)
    sitk.WriteImage(image, str(path))
    return path


def write_dicom(folder: Path, study: TinyStudy | None = None) -> Path:
    """A Siemens-like study: localiser, T2, DWI with b = 50 and 800 in one series and in private tags, ADC."""
    made = images(study)
    _series(folder / "a" / "loc", 1, made["t2w"], {"SeriesDescription": "localizer"}, slices=3)
    _series(folder / "a" / "t2", 5, made["t2w"], {"SeriesDescription": "t2_tse_tra_fs", "ScanningSequence": "SE",
                                                  "EchoTime": 90.0, "EchoTrainLength": 25})  # fmt: skip
    trace = {"SeriesDescription": "ep2d_diff_tra", "ScanningSequence": "EP", "EchoTime": 60.0,
             "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]}  # fmt: skip
    for b, name in ((50, "b0"), (800, "dwi")):
        _series(folder / "b" / "dwi", 6, made[name], trace, b=b)
    derived = {
        **trace,
        "SeriesDescription": "ep2d_diff_tra_ADC",
        "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"],
    }
    _series(folder / "b" / "adc", 7, made["adc"], derived)
    return folder


def _series(
    folder: Path,
    number: int,
    volume: Volume,
    attributes: dict[str, Any],
    b: int | None = None,
    slices: int | None = None,
) -> None:
    def change(z: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = f"{ROOT}.2.{number}"
        dataset.SOPInstanceUID = f"{ROOT}.3.{number}.{b or 0}.{z + 1}"
        dataset.SeriesNumber, dataset.Manufacturer = number, "SIEMENS"
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        if b is not None:
            dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
            dataset.add_new(0x0019100C, "IS", str(b))

    grid = volume.geometry
    stored = volume.data[0][: slices or grid.shape[0]].astype(np.uint16)
    at = Grid(origin=grid.origin, step=grid.spacing[0], pixel=(grid.spacing[1], grid.spacing[2]))
    write_series(folder / f"b{b or 0}", stored, at, change=change)


def changed_manifest(bundle: Path, change: Any) -> Path:
    """Edit bundle.json in place."""
    path = bundle / "bundle.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return bundle


def moved(grid: Geometry, *, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Geometry:
    """The grid somewhere else."""
    return replace(grid, origin=(grid.origin[0] + x, grid.origin[1] + y, grid.origin[2] + z))
