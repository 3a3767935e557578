"""Outlines and colour images: what is drawn is the mask, pixel by pixel, where the reference server reads it."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as Picture
from PIL import ImageDraw

from scanside.runtime.labels import segment_color
from scanside.runtime.mrd.header import with_fields
from scanside.runtime.mrd.meta import read_meta, write_meta
from scanside.runtime.mrd.reply import CHANGED, Labelled, parts_of
from scanside.runtime.mrd.segmenting import Choice
from scanside.runtime.mrd.series import slices_of
from scanside.runtime.mrd.wire import Image
from scanside.runtime.plan import Labels
from scanside.runtime.stages.outline import outlines
from scanside.runtime.volume import Volume
from tests.runtime.mrd.test_series import volume
from tests.runtime.mrd.test_session import answer, stream
from tests.support.reference_mrd import reference_server


def filled(polygons: list[npt.NDArray[np.float64]], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Even-odd filling at the centres of pixels: what a viewer shows inside of the outlines."""
    y, x = np.indices(shape) + 0.5
    inside = np.zeros(shape, bool)
    for polygon in polygons:
        for (x0, y0), (x1, y1) in pairwise(polygon):
            if x0 == x1:
                inside ^= (x < x0) & (y > min(y0, y1)) & (y < max(y0, y1))
    return inside


@settings(max_examples=80)
@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_outlines_filled_again_are_the_mask(plane: npt.NDArray[np.bool_]) -> None:
    found = outlines(plane)
    np.testing.assert_array_equal(filled(found, plane.shape), plane)
    for polygon in found:
        assert (polygon[0] == polygon[-1]).all(), "closed"
        steps = np.diff(polygon, axis=0)
        assert ((steps == 0).sum(axis=1) == 1).all(), "along edges of pixels"
        turns = np.diff(np.sign(np.concatenate([steps, steps[:1]])), axis=0)
        assert (turns != 0).any(axis=1).all(), "no corner on a straight line"


def test_pixels_that_touch_at_a_corner_have_outlines_of_their_own() -> None:
    assert len(outlines(np.eye(3, dtype=bool))) == 3
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert [len(polygon) for polygon in outlines(ring)] == [5, 5]


def two_labels(of: Volume, choice: Choice = Choice()) -> Labelled:
    mask = np.zeros(of.geometry.shape, np.uint8)
    mask[2, 1:4, 2:6], mask[2, 2, 4] = 1, 3
    return Labelled(mask, {"big one": 1.0, "part": 0.5}, {"big one": (1, 3), "part": (3,)}, "c0ffee" * 10)


def test_contours_are_drawn_on_the_originals_which_stay_as_they_were_but_for_their_attributes() -> None:
    attributes = write_meta({"SeriesDescription": ("T2",), "IceMiniHead": ("kept",), "ROI_part": ("1",)})
    own = {"attribute_string_len": len(attributes), "user_int": (1, 2, 3, 4, 5, 6, 7, 8)}
    sent = [Image(with_fields(i.header, **own), attributes, i.data) for i in slices_of(volume())]
    found = answer(stream(sent, '{"contours": "True"}'), two_labels)
    assert len(found.images) == 10
    for z, (source, image) in enumerate(zip(sent, found.images[:5], strict=True)):
        same = {"attribute_string_len": source.get("attribute_string_len")}
        assert with_fields(image.header, **same) == source.header
        assert image.data.tobytes() == source.data.tobytes()
        meta = read_meta(image.attributes)
        drawn = {name: values for name, values in meta.items() if name.startswith("ROI_")}
        kept = {name: values for name, values in meta.items() if name not in drawn}
        assert kept == {"SeriesDescription": ("T2",), "IceMiniHead": ("kept",)}
        assert sorted(drawn) == (["ROI_big_one", "ROI_part", "ROI_part_2"] if z == 2 else ["ROI_part"])
    middle = read_meta(found.images[2].attributes)
    assert middle["ROI_part"] == ("1",), "one that was there stays"
    numbers = [float(value) for value in middle["ROI_big_one"]]
    np.testing.assert_allclose(numbers[:3], np.array(segment_color(1)) / 255, atol=1e-4)
    assert numbers[3:6] == [1, 0, 1]
    expected = two_labels(volume()).mask[2]
    for name, values in (("ROI_big_one", (1, 3)), ("ROI_part_2", (3,))):
        polygon = np.array([float(value) for value in middle[name][6:]]).reshape(-1, 2)
        np.testing.assert_array_equal(filled([polygon], expected.shape), np.isin(expected, values))


def test_the_reference_server_reads_the_outlines() -> None:
    """`parse_roi` of python-ismrmrd-server, as its viewer draws them: x first."""
    helper: Any = reference_server("mrdhelper")
    found = answer(stream(slices_of(volume()), '{"contours": true, "sendlabels": false}'), two_labels)
    roi = list(read_meta(found.images[2].attributes)["ROI_big_one"])
    x, y, rgb, thickness, style, visible = helper.parse_roi(roi)
    assert (thickness, style, visible) == (1, 0, 1) and rgb == pytest.approx(
        (230 / 255, 25 / 255, 75 / 255), abs=1e-4
    )
    picture = Picture.new("L", (8 * 10, 6 * 10))
    ImageDraw.Draw(picture).polygon([(10 * a, 10 * b) for a, b in zip(x, y, strict=True)], fill=1)
    seen = np.asarray(picture)[5::10, 5::10] > 0
    np.testing.assert_array_equal(seen, two_labels(volume()).mask[2] > 0)


def test_colour_images_show_the_labels_over_the_scan() -> None:
    sent = slices_of(volume())
    found = answer(stream(sent, '{"colours": "True", "sendoriginal": "False"}'), two_labels)
    labels, colours = found.images[:5], found.images[5:]
    assert {image.get("image_series_index") for image in labels} == {2}
    mask = two_labels(volume()).mask
    for z, (source, image) in enumerate(zip(sent, colours, strict=True)):
        same = {name: source.get(name) for name in CHANGED}
        assert with_fields(image.header, **same) == source.header
        wanted = ("image_type", "data_type", "channels", "image_series_index", "image_index")
        assert [image.get(name) for name in wanted] == [6, 1, 3, 3, z + 1]
        assert image.data.shape == (3, 1, 6, 8) and int(image.data.max()) <= 255
        grey = (image.data[0] == image.data[1]) & (image.data[1] == image.data[2])
        np.testing.assert_array_equal(grey[0], mask[z] == 0)
        meta = read_meta(image.attributes)
        assert meta["InternalSend"] == ("1",) and "WindowCenter" not in meta
        assert meta["ImageComments"][0].startswith("RESEARCH USE ONLY")


def test_regions_are_drawn_as_what_they_consist_of() -> None:
    names: dict[str, int | tuple[int, ...]] = {"background": 0, "whole": (1, 2), "core": (2,)}
    labels = Labels(names=names, regions_class_order=(1, 2))
    assert parts_of(labels) == {"whole": (1, 2), "core": (2,)}
