"""Lesions against brute force, SimpleITK and pyradiomics, and closed-form bodies."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scanside.runtime.errors import GeometryError
from scanside.runtime.stages.lesions import find_lesions, longest_diameter, main_lesion
from scanside.runtime.volume import Geometry

Mask = npt.NDArray[np.uint8]

masks = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6),
    elements=st.sampled_from([0, 0, 0, 1, 2]),
)
spacings = st.tuples(*[st.floats(0.3, 9)] * 3)
origins = st.tuples(*[st.floats(-300, 300)] * 3)


@st.composite
def rotations(draw: st.DrawFn) -> tuple[float, ...]:
    """Orthonormal directions, left-handed ones too, with rounding as in headers."""
    angles = [draw(st.floats(-math.pi, math.pi)) for _ in range(3)]
    matrix = np.eye(3)
    for angle, (i, j) in zip(angles, [(0, 1), (0, 2), (1, 2)], strict=True):
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = math.cos(angle)
        turn[i, j], turn[j, i] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    matrix[:, 2] *= draw(st.sampled_from([1, -1]))
    return tuple(float(v) for v in matrix.ravel())


def brute_components(mask: Mask) -> list[set[tuple[int, ...]]]:
    left = {tuple(int(i) for i in p) for p in np.argwhere(mask > 0)}
    found = []
    steps = [s for s in itertools.product((-1, 0, 1), repeat=3) if any(s)]
    while left:
        todo, component = [left.pop()], set()
        while todo:
            voxel = todo.pop()
            component.add(voxel)
            near = {tuple(a + b for a, b in zip(voxel, step, strict=True)) for step in steps} & left
            left -= near
            todo += near
        found.append(component)
    return found


def brute_diameter(component: set[tuple[int, ...]], spacing: tuple[float, float, float]) -> float:
    points = [
        (np.array(v) + 0.5 * s * np.eye(3)[axis]) * np.array(spacing)
        for v in component
        for axis in range(3)
        for s in (-1, 1)
        if tuple(v[i] + (s if i == axis else 0) for i in range(3)) not in component
    ]
    return max(float(np.linalg.norm(a - b)) for a in points for b in points)


@settings(max_examples=60)
@given(masks, spacings, origins, rotations())
def test_lesions_are_what_brute_force_and_simpleitk_say(
    mask: Mask,
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    direction: tuple[float, ...],
) -> None:
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    lesions = find_lesions(mask, Geometry(shape, spacing, origin, direction), "t2w")
    image = sitk.Image(shape[::-1], sitk.sitkUInt8)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(origin)
    image.SetDirection(direction)
    expected = []
    for component in brute_components(mask):
        centre = np.mean(sorted(component), axis=0)[::-1]
        place = image.TransformContinuousIndexToPhysicalPoint([float(c) for c in centre])
        expected.append((len(component), len(component) * np.prod(spacing) / 1000, place, component))
    assert [lesion.number for lesion in lesions] == list(range(1, len(expected) + 1))
    assert [lesion.voxels for lesion in lesions] == sorted((e[0] for e in expected), reverse=True)
    for lesion in lesions:
        voxels, volume, place, component = min(
            (e for e in expected if e[0] == lesion.voxels),
            key=lambda e: float(np.linalg.norm(np.subtract(e[2], lesion.centroid_mm))),
        )
        assert lesion.role == "t2w"
        assert lesion.volume_ml == pytest.approx(volume)
        assert lesion.centroid_mm == pytest.approx(place, abs=1e-6)
        if voxels < 40:
            assert lesion.longest_diameter_mm == pytest.approx(brute_diameter(component, spacing), rel=1e-12)


@settings(max_examples=40)
@given(masks)
def test_the_main_lesion_is_the_first_of_the_largest(mask: Mask) -> None:
    main = main_lesion(mask)
    assert main.dtype == np.uint8 and main.shape == mask.shape
    components = brute_components(mask)
    if not components:
        assert not main.any()
        return
    size = max(len(c) for c in components)
    first = min((min(c), c) for c in components if len(c) == size)[1]
    assert {tuple(int(i) for i in p) for p in np.argwhere(main)} == first


def test_the_longest_diameter_is_pyradiomics_maximum_3d_diameter() -> None:
    from radiomics import cShape

    z, y, x = np.ogrid[:12, :40, :36]
    inside = ((z - 6) / 4) ** 2 + ((y - 20) / 15) ** 2 + ((x - 18) / 11) ** 2 <= 1
    inside[7, 20:38, 18] = True
    spacing = (5.5, 0.8, 0.9)
    _, _, diameters = cShape.calculate_coefficients(np.pad(inside, 1), np.array(spacing))
    assert longest_diameter(inside, spacing) == pytest.approx(diameters[3], rel=1e-9)


def test_axis_order_on_a_stick() -> None:
    mask = np.zeros((5, 6, 7), dtype=np.uint8)
    mask[1:4, 2, 3] = 1
    geometry = Geometry((5, 6, 7), (6.0, 0.8, 0.5), (10.0, 20.0, 30.0))
    (lesion,) = find_lesions(mask, geometry, "dwi")
    assert lesion.longest_diameter_mm == pytest.approx(18)
    assert lesion.centroid_mm == pytest.approx((10 + 3 * 0.5, 20 + 2 * 0.8, 30 + 2 * 6.0))
    assert lesion.volume_ml == pytest.approx(3 * 6.0 * 0.8 * 0.5 / 1000)


def test_a_large_sphere_has_its_diameter_and_volume() -> None:
    spacing = (2.0, 1.0, 0.5)
    z, y, x = (np.arange(n) * s for n, s in zip((60, 120, 240), spacing, strict=True))
    inside = (z[:, None, None] - 60) ** 2 + (y[:, None] - 60) ** 2 + (x - 60) ** 2 <= 50**2
    (lesion,) = find_lesions(inside.astype(np.uint8), Geometry(inside.shape, spacing), "t2w")  # type: ignore[arg-type]
    assert lesion.longest_diameter_mm == pytest.approx(100, abs=2)
    assert lesion.volume_ml == pytest.approx(4 / 3 * math.pi * 5**3, rel=0.005)


def test_corner_contact_is_one_lesion_and_labels_do_not_matter() -> None:
    mask = np.zeros((4, 4, 4), dtype=np.uint16)
    mask[0, 0, 0], mask[1, 1, 1], mask[3, 3, 3] = 1, 2, 1
    assert [lesion.voxels for lesion in find_lesions(mask, Geometry((4, 4, 4), (1, 1, 1)), "t2w")] == [2, 1]


def test_an_empty_mask_has_no_lesion() -> None:
    mask = np.zeros((3, 3, 3), dtype=np.uint8)
    assert find_lesions(mask, Geometry((3, 3, 3), (1, 1, 1)), "t2w") == ()
    assert not main_lesion(mask).any()


def test_a_mask_of_another_grid_is_refused() -> None:
    with pytest.raises(GeometryError, match="not on the image's"):
        find_lesions(np.zeros((3, 3, 4), dtype=np.uint8), Geometry((3, 3, 3), (1, 1, 1)), "t2w")
