"""Where slices lie, which way they are shown, which lesion is which: against SimpleITK and brute force."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scanside.runtime.errors import GeometryError
from scanside.runtime.images.write import to_itk
from scanside.runtime.stages.lesions import find_lesions
from scanside.runtime.volume import Geometry, Volume
from scanside.tui.case.stack import (
    Spot,
    edges,
    index_of,
    on_slice,
    place_words,
    position,
    slice_at,
    stack_of,
)

GRID = Geometry((7, 20, 24), (6.0, 2.0, 1.5), (-17.0, -20.0, -18.0))


def turned(degrees: tuple[float, float, float], flips: tuple[int, int, int] = (1, 1, 1)) -> Geometry:
    matrix = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * np.array(flips)
    return Geometry(GRID.shape, GRID.spacing, GRID.origin, tuple(matrix.ravel().tolist()))


degrees = st.floats(-40, 40).map(lambda angle: round(angle, 3))  # next to zero ITK gives up
flips = st.sampled_from([-1, 1])
grids = st.builds(turned, st.tuples(degrees, degrees, degrees), st.tuples(flips, flips, flips))
places = st.tuples(*[st.floats(-60, 60)] * 3)


@given(grids, places)
@settings(max_examples=60)
def test_places_and_indices_are_those_of_simpleitk(grid: Geometry, place: tuple[float, float, float]) -> None:
    image = to_itk(np.zeros(grid.shape, np.uint8), grid)
    expected = image.TransformPhysicalPointToContinuousIndex(place)[::-1]
    assert np.allclose(index_of(grid, place), expected, atol=1e-6)
    assert np.allclose(position(grid, index_of(grid, place)), place, atol=1e-6)


@given(grids, places)
@settings(max_examples=60)
def test_the_slice_at_a_place_is_the_one_whose_plane_is_nearest(
    grid: Geometry, place: tuple[float, float, float]
) -> None:
    normal = grid.direction_matrix[:, 2]
    centres = [np.array(grid.origin) + k * grid.spacing[0] * normal for k in range(grid.shape[0])]
    distances = np.array([abs((np.array(place) - centre) @ normal) for centre in centres])
    found = slice_at(grid, place)
    if found is None:
        assert distances.min() > grid.spacing[0] / 2 - 1e-3
    else:
        assert distances[found] <= distances.min() + 1e-6
        assert distances[found] <= grid.spacing[0] / 2 + 1e-3
        moved = on_slice(grid, found, place)
        assert np.isclose(np.linalg.norm(np.subtract(moved, place)), distances[found])
        assert np.isclose((np.array(moved) - centres[found]) @ normal, 0, atol=1e-6)


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, 1), (-1, -1, -1)])
def test_whatever_the_orientation_right_is_left_and_front_is_up(flip: tuple[int, int, int]) -> None:
    grid = turned((0, 0, 0), flip)
    centre = position(grid, [(size - 1) / 2 for size in grid.shape])
    spot = (centre[0] - 9.0, centre[1] - 10.0, centre[2] + 12.0)  # right, front, head
    data = np.zeros(grid.shape, np.float32)
    data[tuple(np.rint(index_of(grid, spot)).astype(int))] = 100
    stack = stack_of(Volume(data[None], grid))
    z, y, x = np.unravel_index(int(stack.image.argmax()), stack.image.shape)
    assert x < stack.image.shape[2] / 2 - 2 and y < stack.image.shape[1] / 2 - 2 and z > stack.count / 2
    assert np.allclose(position(stack.geometry, (z, y, x)), spot, atol=3.1)
    assert edges(stack.geometry) == ("R", "L", "A", "P")


def test_an_oblique_edge_carries_two_letters() -> None:
    assert edges(turned((0, 0, 10))) == ("R", "L", "A", "P")
    assert edges(turned((0, 0, 30))) == ("RA", "LP", "AL", "PR")


def test_lesions_carry_the_numbers_of_the_report() -> None:
    mask = np.zeros(GRID.shape, np.float32)
    mask[1, 2:4, 2:4], mask[4, 10:16, 12:18], mask[6, 1, 20] = 1, 1, 1
    volume = Volume(np.ones((1, *GRID.shape), np.float32), GRID)
    found = find_lesions(mask.astype(np.uint8), GRID, "t2w")
    spots = [Spot("t2w", lesion.number, lesion.centroid_mm) for lesion in found]
    for given_spots in (spots, spots[::-1], []):
        stack = stack_of(volume, Volume(mask[None], GRID), given_spots)
        assert stack.lesions is not None
        numbers = [stack.lesions[at] for at in ((4, 12, 14), (1, 2, 2), (6, 1, 20), (0, 0, 0))]
        assert numbers == [1, 2, 3, 0]


def test_a_mask_of_another_grid_is_refused() -> None:
    other = Geometry(GRID.shape, GRID.spacing, (0.0, 0.0, 0.0))
    image = Volume(np.ones((1, *GRID.shape), np.float32), GRID)
    with pytest.raises(GeometryError, match="origin"):
        stack_of(image, Volume(np.zeros((1, *GRID.shape), np.float32), other))


def test_places_are_said_as_radiologists_do() -> None:
    assert place_words((17.2, -34.9, 1.4)) == "L17 A35 S1"
    assert place_words((-3.0, 8.0, -120.4)) == "R3 P8 I120"


def test_simpleitk_agrees_on_the_turned_image() -> None:
    """The pixels themselves: `DICOMOrient` to LPS."""
    random = np.random.default_rng(3)
    grid = turned((0, 0, 0), (-1, 1, -1))
    data = random.random(grid.shape).astype(np.float32)
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(to_itk(data, grid), "LPS"))
    assert np.array_equal(stack_of(Volume(data[None], grid)).image, expected)
