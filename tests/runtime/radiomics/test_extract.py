"""What `extract` computes, what it leaves alone, and what it calls absent."""

from typing import Any

import numpy as np
import pytest

from scanside.runtime.errors import InputError
from scanside.runtime.images.read import read_image
from scanside.runtime.radiomics.body import body_mask, scaling
from scanside.runtime.radiomics.config import ImageTypeSetting, Normalise, RadiomicsConfig, default_config
from scanside.runtime.radiomics.engine import pyradiomics
from scanside.runtime.radiomics.extract import FeatureValue, extract
from scanside.runtime.radiomics.laplacian import laplacian
from scanside.runtime.radiomics.names import feature_names
from scanside.runtime.radiomics.region import Region
from scanside.runtime.volume import Geometry, Volume
from tests.runtime.radiomics.lesion_images import abdomen, one_sequence
from tests.support.shared_data import shared_data

MEAN, CONTRAST, FLATNESS = (
    "x_original_firstorder_Mean",
    "x_original_glcm_Contrast",
    "x_original_shape_Flatness",
)


def patient() -> tuple[dict[str, Volume], dict[str, Any]]:
    t2w, t2w_mask = abdomen(1)
    dwi, dwi_mask = abdomen(2, (20, 60, 66), (6.0, 2.1, 1.9))
    adc, _ = abdomen(3, (20, 60, 66), (6.0, 2.1, 1.9))
    return {"t2w": t2w, "dwi": dwi, "adc": Volume(adc.data * 4, adc.geometry)}, {
        "t2w": t2w_mask,
        "dwi": dwi_mask,
    }


def test_values_do_not_depend_on_what_else_is_asked_and_repeat_exactly() -> None:
    images, masks = patient()
    config = default_config(wavelet=True)
    everything = extract(images, masks, config)
    assert tuple(everything) == feature_names(config)
    assert all(value.value is not None for value in everything.values())
    nine = list(everything)[::213][::-1]
    few = extract(images, masks, config, nine)
    assert list(few) == nine
    assert few == {name: everything[name] for name in nine}
    assert extract(images, masks, config) == everything


def test_only_what_is_asked_is_computed_and_an_image_is_filtered_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operations, classes = pyradiomics().imageoperations, pyradiomics().getFeatureClasses()
    filters: list[Any] = []
    features: list[str] = []

    def watch_filter(kind: str) -> None:
        original = getattr(operations, f"get{kind}Image")

        def watched(image: Any, mask: Any, **settings: Any) -> Any:
            filters.append((kind, None))
            yield from original(image, mask, **settings)

        monkeypatch.setattr(operations, f"get{kind}Image", watched)

    def watch_feature(engine: type, name: str) -> None:
        original = getattr(engine, f"get{name}FeatureValue")

        def watched(self: Any) -> Any:
            features.append(name)
            return original(self)

        monkeypatch.setattr(engine, f"get{name}FeatureValue", watched)

    def watched_laplacian(region: Region, sigma: float) -> Any:
        filters.append(("LoG", sigma))
        return laplacian(region, sigma)

    monkeypatch.setattr("scanside.runtime.radiomics.filters.laplacian", watched_laplacian)
    for kind in ("Original", "Wavelet", "Gradient"):
        watch_filter(kind)
    for engine in classes.values():
        for name in engine.getFeatureNames():
            watch_feature(engine, name)
    images, masks = patient()
    wanted = [
        "dwi_log-sigma-4-0-mm-3D_glcm_Contrast",
        "dwi_log-sigma-4-0-mm-3D_ngtdm_Strength",
        "dwi_log-sigma-4-0-mm-3D_firstorder_Kurtosis",
        "adc_original_firstorder_Median",
        "t2w_original_shape_Sphericity",
    ]
    assert all(
        value.value is not None for value in extract(images, masks, default_config(True), wanted).values()
    )
    assert filters == [("LoG", 4.0), ("Original", None)]
    assert sorted(features) == ["Contrast", "Kurtosis", "Median", "Sphericity", "Strength"]


def reasons(found: dict[str, FeatureValue]) -> dict[str, str | None]:
    assert all((value.value is None) != (value.reason is None) for value in found.values())
    return {name: value.reason for name, value in found.items()}


def test_no_image_no_mask_and_an_empty_mask_are_reasons() -> None:
    images, masks = patient()
    config = default_config()
    found = reasons(extract({"t2w": images["t2w"], "dwi": images["dwi"]}, {"t2w": masks["t2w"]}, config))
    assert {r for name, r in found.items() if name.startswith("t2w")} == {None}
    assert {r for name, r in found.items() if name.startswith("dwi")} == {"no lesion is segmented on dwi"}
    assert {r for name, r in found.items() if name.startswith("adc")} == {"there is no adc image"}
    masks["t2w"] = np.zeros_like(masks["t2w"])
    assert set(reasons(extract(images, masks, config, ["t2w_original_shape_Sphericity"])).values()) == {
        "no lesion is segmented on t2w"
    }


def test_texture_needs_voxels_and_slices() -> None:
    image, _ = abdomen()
    small, thin = np.zeros((2, *image.geometry.shape), dtype=np.uint8)
    small[9:12, 40:44, 40:45] = 1
    thin[10, 30:60, 40:60] = 1
    found = reasons(extract({"x": image}, {"x": small}, one_sequence()))
    assert found[CONTRAST] == "the lesion has 60 voxels, and texture needs 64"
    assert found[MEAN] is None and found[FLATNESS] is None
    found = reasons(extract({"x": image}, {"x": thin}, one_sequence()))
    assert found[CONTRAST] == "the lesion lies in 1 slice, and texture needs 2"
    assert found[FLATNESS] == found["x_original_shape_LeastAxisLength"] == "the lesion lies in one slice"
    assert found["x_original_shape_MeshVolume"] is None


def test_a_single_voxel() -> None:
    image, _ = abdomen()
    mask = np.zeros(image.geometry.shape, dtype=np.uint8)
    mask[5, 50, 50] = 1
    found = reasons(extract({"x": image}, {"x": mask}, one_sequence()))
    assert found[MEAN] == "the lesion has 1 voxel, and 2 are needed"
    assert found[FLATNESS] == "the lesion is a single voxel"
    assert None not in found.values()


def test_a_flat_lesion_has_no_texture_but_a_mean() -> None:
    image, mask = abdomen()
    data = image.data.copy()
    data[0][mask > 0] = 500
    found = extract({"x": Volume(data, image.geometry)}, {"x": mask}, one_sequence())
    assert found[MEAN].value == 500 and found["x_original_firstorder_Variance"].value == 0
    for name in (CONTRAST, "x_original_firstorder_Skewness", "x_original_firstorder_Kurtosis"):
        assert found[name].reason == "all grey values of the lesion are one"


def test_one_grey_level_after_discretisation_has_no_texture() -> None:
    image, mask = abdomen()
    wide = one_sequence(setting={"binCount": None, "binWidth": 1e6})
    found = reasons(extract({"x": image}, {"x": mask}, wide))
    assert found[CONTRAST] == "the lesion has one grey level after discretisation"
    assert found[MEAN] is None


def test_a_constant_image_cannot_be_normalised() -> None:
    image, mask = abdomen()
    flat = Volume(np.full_like(image.data, 7), image.geometry)
    for method in ("body", "image"):
        config = one_sequence(normalise=Normalise(method=method))
        assert set(reasons(extract({"x": flat}, {"x": mask}, config)).values()) == {
            "all grey values of the image are one"
        }


def test_an_image_too_small_for_a_filter_and_a_lesion_lost_in_resampling() -> None:
    image, _ = abdomen(shape=(3, 96, 104))
    mask = np.zeros((3, 96, 104), dtype=np.uint8)
    mask[:2, 40:50, 40:50] = 1
    config = one_sequence(image_types={"Original": ImageTypeSetting(), "LoG": ImageTypeSetting(sigma=(2.0,))})
    found = reasons(extract({"x": image}, {"x": mask}, config))
    assert found["x_log-sigma-2-0-mm-3D_firstorder_Mean"] == "the image is too small for this filter"
    assert found[MEAN] is None
    mask[:] = 0
    mask[1, 41, 41:43] = 1
    coarse = one_sequence(setting={"resampledPixelSpacing": (40.0, 40.0, 0.0)})
    assert set(reasons(extract({"x": image}, {"x": mask}, coarse)).values()) == {
        "nothing of the lesion is left on the resampled grid"
    }


def test_resegmentation_may_leave_nothing() -> None:
    image, mask = abdomen()
    config = one_sequence(setting={"resegmentRange": (1e6, 2e6)})
    found = reasons(extract({"x": image}, {"x": mask}, config))
    assert found[MEAN] == "too few voxels of the lesion are in the range of resegmentation"
    assert found[FLATNESS] is None


def test_a_mask_on_another_grid_and_several_channels_are_refused() -> None:
    image, mask = abdomen()
    with pytest.raises(InputError, match="not on the grid of x"):
        extract({"x": image}, {"x": mask[1:]}, one_sequence())
    two = Volume(np.concatenate([image.data] * 2), image.geometry)
    with pytest.raises(InputError, match="2 channels"):
        extract({"x": two}, {"x": mask}, one_sequence())


def test_a_value_has_a_value_or_a_reason() -> None:
    for both in ((None, None), (1.0, "why")):
        with pytest.raises(ValueError, match="either"):
            FeatureValue(*both)


def test_the_body_is_found_and_the_field_of_view_and_unit_do_not_matter() -> None:
    image, mask = abdomen(5)
    y, x = (np.arange(n) - n / 2 for n in image.geometry.shape[1:])
    body = np.broadcast_to((y[:, None] / 0.42 / 96) ** 2 + (x / 0.45 / 104) ** 2 < 1, image.geometry.shape)
    found = body_mask(image.data[0].astype(np.float64))
    assert 2 * (found & body).sum() / (found.sum() + body.sum()) > 0.98
    config = one_sequence(normalise=Normalise(method="body"))
    first = extract({"x": image}, {"x": mask}, config)
    louder = extract({"x": Volume(image.data * 8, image.geometry)}, {"x": mask}, config)
    for name, value in first.items():
        assert louder[name].value == pytest.approx(value.value, rel=1e-9, abs=1e-12), name
    air = np.abs(np.random.default_rng(0).normal(size=(1, 20, 192, 208))).astype(np.float32) * 20
    air[:, :, 48:144, 48:156] = np.pad(image.data, ((0, 0), (0, 0), (0, 0), (2, 2)), mode="reflect")
    wide = scaling(Volume(air, Geometry(air.shape[1:], image.geometry.spacing)), Normalise(method="body"))
    near = scaling(image, Normalise(method="body"))
    assert wide is not None and near is not None
    assert wide.mean == pytest.approx(near.mean, rel=0.02) and wide.deviation == pytest.approx(
        near.deviation, rel=0.05
    )


def test_the_head_is_found_in_a_real_scan_whatever_its_unit() -> None:
    data = (
        read_image(shared_data("volumes", "pyradiomics_brain1", "brain1_image.nrrd"))
        .data[0]
        .astype(np.float64)
    )
    found = body_mask(data)
    assert 0.5 < found.mean() < 0.68
    assert found[12, 60:200, 80:180].all() and not found[:, :16, :16].any()
    np.testing.assert_array_equal(body_mask(data * 0.25), found)


def test_outliers_are_cut_off_at_their_limit() -> None:
    image, mask = abdomen()
    found = extract(
        {"x": image}, {"x": mask}, one_sequence(normalise=Normalise(method="body", outliers=0.5, scale=10))
    )
    assert found["x_original_firstorder_Maximum"].value == pytest.approx(5)


def test_another_discretisation_of_one_image_type() -> None:
    image, mask = abdomen()
    types = {"Original": ImageTypeSetting(), "Gradient": ImageTypeSetting(binWidth=4.0)}
    config = one_sequence(image_types=types, feature_classes={"firstorder": ("Entropy",)})
    same = RadiomicsConfig.model_validate(config.model_dump(by_alias=True))
    assert same == config
    found = extract({"x": image}, {"x": mask}, config)
    alone = one_sequence(
        setting={"binCount": None, "binWidth": 4.0},
        image_types={"Gradient": ImageTypeSetting()},
        feature_classes={"firstorder": ("Entropy",)},
    )
    name = "x_gradient_firstorder_Entropy"
    assert found[name] == extract({"x": image}, {"x": mask}, alone)[name]
