"""Slices of MRD streams lie where the volume lay that they were cut from."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scanside.runtime.errors import GeometryError, InputError
from scanside.runtime.mrd.header import with_fields
from scanside.runtime.mrd.meta import write_meta
from scanside.runtime.mrd.series import magnitudes, slices_of, stack
from scanside.runtime.mrd.wire import Image, make_image
from scanside.runtime.volume import Geometry, Volume
from tests.support.sentences import assert_one_sentence

SHAPE = (5, 6, 8)


def volume(direction: Any = None, spacing: tuple[float, float, float] = (6.5, 0.8, 1.1)) -> Volume:
    matrix = np.eye(3) if direction is None else direction
    data = np.random.default_rng(3).integers(0, 4000, (1, *SHAPE)).astype(np.float32)
    geometry = Geometry(SHAPE, spacing, (-101.5, 33.25, 12.0), tuple(np.asarray(matrix).ravel().tolist()))
    return Volume(data, geometry)


def changed(image: Image, **fields: Any) -> Image:
    return replace(image, header=with_fields(image.header, **fields))


@settings(max_examples=60)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    order=st.permutations(range(SHAPE[0])),
    spacing=st.tuples(st.floats(0.5, 9), st.floats(0.4, 3), st.floats(0.4, 3)),
)
def test_a_volume_comes_back_from_its_shuffled_slices(angles: Any, order: list[int], spacing: Any) -> None:
    sent = volume(Rotation.from_euler("xyz", angles, degrees=True).as_matrix(), spacing)
    images = slices_of(sent)
    found = stack([images[z] for z in order])
    np.testing.assert_array_equal(found.volume.data, sent.data)
    mine, other = found.volume.geometry, sent.geometry
    np.testing.assert_allclose(mine.spacing, other.spacing, rtol=1e-4)
    corner = np.array(SHAPE[::-1]) - 1
    for index in (np.zeros(3), corner):
        here = np.array(mine.origin) + mine.direction_matrix @ (index * mine.spacing[::-1])
        there = np.array(other.origin) + other.direction_matrix @ (index * other.spacing[::-1])
        assert np.abs(here - there).max() < 0.01


def test_the_attributes_say_how_an_image_was_turned_after_the_scan() -> None:
    sent = volume()
    flipped = [
        replace(
            image,
            data=image.data[..., ::-1],
            attributes=write_meta({"ImageRowDir": ("-1", "0", "0"), "ImageColumnDir": ("0", "1", "0")}),
        )
        for image in slices_of(sent)
    ]
    found = stack(flipped).volume
    assert found.geometry.direction_matrix[:, 0].tolist() == [-1, 0, 0]
    # z grows along row × column, so that the order of slices turns with the row.
    np.testing.assert_array_equal(found.data[0, ::-1, :, ::-1], sent.data[0])


def test_spacing_comes_from_positions_not_from_the_thickness() -> None:
    images = [changed(image, field_of_view=(8.8, 4.8, 5.0)) for image in slices_of(volume())]
    assert stack(images).volume.geometry.spacing[0] == pytest.approx(6.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: images[:2] + images[3:], "1 slice.s. are missing"),
        (lambda images: [*images, images[1]], "same position|several"),
        (
            lambda images: [changed(images[0], field_of_view=(9.9, 4.8, 6.5)), *images[1:]],
            "PixelSpacing differs",
        ),
        (lambda images: [changed(images[0], read_dir=(0.0, 0.0, 1.0)), *images[1:]], "differs"),
        (lambda images: [changed(images[0], position=(float("nan"), 0.0, 0.0)), *images[1:]], "no usable"),
    ],
    ids=["gap", "doubled", "pixels", "direction", "NaN"],
)
def test_the_gate_refuses_what_is_no_grid(change: Any, words: str) -> None:
    with pytest.raises(GeometryError, match=words) as caught:
        stack(change(slices_of(volume())))
    assert_one_sentence(str(caught.value))


def test_another_matrix_among_the_slices_is_refused() -> None:
    images = slices_of(volume())
    images[2] = make_image(images[2].header, b"", images[2].data[:, :, :-1])
    with pytest.raises(GeometryError, match="image size differs"):
        stack(images)


def test_several_channels_are_refused() -> None:
    images = slices_of(volume())
    images[0] = make_image(images[0].header, b"", np.concatenate([images[0].data] * 2))
    with pytest.raises(InputError, match="2 channel"):
        stack(images)


def test_volumes_are_told_apart_and_phase_images_left_out() -> None:
    images = slices_of(volume())
    mixed = [
        changed(image, **{name: value})
        for image in images
        for name, value in (("contrast", 0), ("contrast", 1), ("repetition", 2), ("image_type", 2))
    ]
    groups = magnitudes(mixed)
    assert [len(group) for group in groups] == [5, 5, 5]
    assert stack(groups[1]).name == "series 1 contrast 1"
