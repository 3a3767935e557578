"""ADC: computed, converted, brought to another grid."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scanside.runtime.errors import InputError
from scanside.runtime.study.diffusion import fitted_adc, grid_points, in_unit, indices_in, onto_grid
from scanside.runtime.study.quality import body_of
from scanside.runtime.volume import Geometry, Volume
from tests.runtime.study.tiny_study import DWI_GRID, images, moved, places
from tests.support.properties import examples
from tests.support.sentences import assert_one_sentence


def test_two_points_give_the_adc_that_made_them() -> None:
    adc = np.array([500.0, 1500.0, 2800.0], np.float32)
    low = np.full((1, 1, 1, 3), 1000, np.float32)
    high = (low * np.exp(-750 * adc * 1e-6)).astype(np.float32)
    grid = Geometry((1, 1, 3), (1.0, 1.0, 1.0))
    made, used = fitted_adc([(50.0, Volume(low, grid)), (800.0, Volume(high, grid))])
    assert used == (50.0, 800.0)
    np.testing.assert_allclose(made.data[0, 0, 0], adc, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "used"),
    [
        ((0.0, 50.0, 400.0, 800.0), (50.0, 400.0, 800.0)),  # perfusion raises b = 0
        ((0.0, 400.0, 800.0), (0.0, 400.0, 800.0)),  # nothing else reaches low enough
        ((0.0, 50.0, 800.0), (50.0, 800.0)),
        ((0.0, 20.0, 1000.0), (0.0, 20.0, 1000.0)),
    ],
)
def test_several_points_are_fitted_by_least_squares(
    values: tuple[float, ...], used: tuple[float, ...]
) -> None:
    random = np.random.default_rng(0)
    grid = Geometry((2, 3, 4), (1.0, 1.0, 1.0))
    images = {
        b: random.uniform(50, 60, (1, 2, 3, 4)).astype(np.float32) * np.exp(-b * 1.5e-3) for b in values
    }
    images = {b: image.astype(np.float32) for b, image in images.items()}
    made, taken = fitted_adc([(b, Volume(image, grid)) for b, image in images.items()])
    logs = np.log(np.stack([images[b].ravel() for b in used]))
    expected = -np.polyfit(used, logs, 1)[0] * 1e6
    assert taken == used
    np.testing.assert_allclose(made.data.ravel(), expected, rtol=1e-4)


def test_no_signal_gives_no_adc() -> None:
    grid = Geometry((1, 1, 4), (1.0, 1.0, 1.0))
    low = Volume(np.array([0, 10, 0, 5], np.float32).reshape(1, 1, 1, 4), grid)
    high = Volume(np.array([10, 0, 0, 50], np.float32).reshape(1, 1, 1, 4), grid)
    np.testing.assert_array_equal(fitted_adc([(0, low), (800, high)])[0].data, 0)


@pytest.mark.parametrize(("low", "high"), [(None, 800.0), (0.0, None), (150.0, 800.0), (0.0, 300.0)])
def test_adc_is_never_made_of_the_wrong_b_values(low: float | None, high: float | None) -> None:
    made = images()
    with pytest.raises(InputError) as caught:
        fitted_adc([(low, made["b0"]), (high, made["dwi"])])
    assert_one_sentence(str(caught.value), "no ADC map", "add the ADC map")


def test_adc_is_never_made_across_grids() -> None:
    made = images()
    elsewhere = Volume(made["b0"].data, moved(DWI_GRID, x=5.0))
    with pytest.raises(InputError) as caught:
        fitted_adc([(0.0, elsewhere), (800.0, made["dwi"])])
    assert_one_sentence(str(caught.value), "one grid")


@pytest.mark.parametrize(
    ("factor", "unit"), [(1.0, None), (1e-3, "1e-3 mm²/s"), (1e-6, "(median in the body 0.0")]
)
def test_units(factor: float, unit: str | None) -> None:
    made = images()
    scaled = Volume((made["adc"].data * factor).astype(np.float32), made["adc"].geometry)
    converted, warning = in_unit(scaled, body_of(made["dwi"]))
    np.testing.assert_allclose(converted.data, made["adc"].data, rtol=1e-6)
    assert warning is None if unit is None else warning is not None and unit in warning


@pytest.mark.parametrize("factor", [0.1, 10.0, 1e-4])
def test_no_unit_is_guessed(factor: float) -> None:
    made = images()
    scaled = Volume((made["adc"].data * factor).astype(np.float32), made["adc"].geometry)
    with pytest.raises(InputError) as caught:
        in_unit(scaled, body_of(made["dwi"]))
    assert_one_sentence(str(caught.value), "median", "check its unit")


def test_an_empty_map_is_refused() -> None:
    made = images()
    with pytest.raises(InputError) as caught:
        in_unit(
            Volume(np.zeros_like(made["adc"].data), DWI_GRID),
            body_of(made["dwi"]),
        )
    assert_one_sentence(str(caught.value), "no values in the body")


@given(st.tuples(*[st.floats(-30, 30)] * 3), st.tuples(*[st.floats(-4, 4)] * 3))
@examples(15)
def test_onto_another_grid_as_simpleitk(turn: tuple[float, ...], shift: tuple[float, ...]) -> None:
    random = np.random.default_rng(0)
    source = Volume(
        random.standard_normal((1, 20, 30, 30)).astype(np.float32),
        Geometry((20, 30, 30), (4.0, 3.0, 3.0), (-45, -45, -40)),
    )
    direction = tuple(Rotation.from_euler("xyz", turn, True).as_matrix().ravel().tolist())
    target = Geometry((3, 5, 4), (2.0, 3.1, 2.9), (shift[0], shift[1], shift[2]), direction)
    made = onto_grid(source, target, "adc").data[0]
    image = sitk.GetImageFromArray(source.data[0])
    image.SetSpacing((3.0, 3.0, 4.0))
    image.SetOrigin((-45.0, -45.0, -40.0))
    size, spacing = target.shape[::-1], target.spacing[::-1]
    expected = sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, target.origin, spacing, direction
    )
    np.testing.assert_allclose(made, sitk.GetArrayFromImage(expected), atol=2e-5)


def test_what_does_not_cover_the_grid_is_refused() -> None:
    made = images()
    with pytest.raises(InputError) as caught:
        onto_grid(Volume(made["adc"].data, moved(DWI_GRID, z=20.0)), DWI_GRID, "adc")
    assert_one_sentence(str(caught.value), "adc covers only", "of the dwi")


def test_points_and_indices_are_inverse() -> None:
    direction = tuple(Rotation.from_euler("xyz", (20, -35, 60), True).as_matrix().ravel().tolist())
    grid = Geometry((3, 4, 5), (5.0, 1.5, 0.8), (10.0, -20.0, 30.0), direction)
    np.testing.assert_allclose(grid_points(grid).reshape(3, 3, 4, 5), places(grid))
    where = indices_in(grid, grid_points(grid))
    np.testing.assert_allclose(where, np.indices(grid.shape).reshape(3, -1), atol=1e-12)
