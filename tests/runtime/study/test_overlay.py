"""The pictures: the outline is where the lesion is, the sides are right, and what must be burned in is there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from scanside.runtime.images.orient import reorient
from scanside.runtime.study import overlay
from scanside.runtime.study.overlay import MOST_SLICES, PANEL, draw_overlay, write_overlay
from scanside.runtime.volume import Geometry, Volume

GRID = Geometry((9, 40, 40), (6.0, 4.0, 4.0), (-80.0, -80.0, -24.0))


def head_to_the_left() -> tuple[Volume, npt.NDArray[np.uint8]]:
    """A bright block on the patient's left, in front."""
    data = np.full((1, *GRID.shape), 100, np.float32)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[3:6, 8:14, 28:34] = 1
    data[0][mask > 0] = 400
    return Volume(data, GRID), mask


def outline(picture: Image.Image, panel: int) -> npt.NDArray[np.int64]:
    """(N, 2) row, column of the outline's pixels within a panel."""
    row, column = divmod(panel, 4)
    top, left = 26 + row * (PANEL + 4), 4 + column * (PANEL + 4)
    pixels = np.array(picture)[top : top + PANEL, left : left + PANEL]
    return np.argwhere((pixels == (255, 210, 0)).all(axis=-1))


def test_the_lesion_is_outlined_where_it_is() -> None:
    volume, mask = head_to_the_left()
    picture = draw_overlay(volume, mask, "title", synthetic=False)
    found = [outline(picture, panel) for panel in range(5)]
    assert [len(points) > 0 for points in found] == [
        False,
        True,
        True,
        True,
        False,
    ]  # one slice beyond each end
    middle = found[2].mean(axis=0) / PANEL
    # Patient left is on the right of the picture, anterior above. The lesion's centre is (44, -36) mm from that of
    # the image, and the view of 180 mm is cut off by the image: 160 mm.
    assert middle == pytest.approx((0.5 - 36 / 160, 0.5 + 44 / 160), abs=0.02)
    rows, columns = np.ptp(found[2], axis=0) + 1
    assert rows == pytest.approx(24 / 160 * PANEL, abs=4) and columns == pytest.approx(
        24 / 160 * PANEL, abs=4
    )


@pytest.mark.parametrize("target", ["RAS", "LPI", "RPS", "ASL"])
def test_the_picture_does_not_depend_on_how_the_image_is_stored(target: str) -> None:
    volume, mask = head_to_the_left()
    stored, _ = reorient(volume, target)
    turned = reorient(Volume(mask[None].astype(np.float32), GRID), target)[0].data[0].astype(np.uint8)
    assert stored.geometry.difference(GRID) is not None
    expected = draw_overlay(volume, mask, "title", synthetic=True)
    assert np.array_equal(np.array(draw_overlay(stored, turned, "title", synthetic=True)), np.array(expected))


def test_what_is_burned_in(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    original = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, place: object, words: str, **how: object) -> None:
        written.append(words)
        original(self, place, words, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    draw_overlay(*head_to_the_left(), "my title", synthetic=True)
    assert {"my title", "R", "L", "A", "P", "slice 4/9", "RESEARCH USE ONLY - SYNTHETIC PHANTOM"} <= set(
        written
    )
    # Of the five slices shown, the second lies at z = -24 + 3 * 6 mm.
    assert {"I6.0 mm", "S0.0 mm", "S6.0 mm", "W 300 L 250", "20 mm"} <= set(written)
    assert [written.count(words) for words in ("R", "L", "W 300 L 250", "20 mm")] == [5] * 4, (
        "on each picture"
    )
    written.clear()
    draw_overlay(*head_to_the_left(), "my title", synthetic=False)
    assert "RESEARCH USE ONLY" in written and not any("PHANTOM" in words for words in written)


def test_the_ruler_is_as_long_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[list[tuple[float, float]]] = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "line", lambda self, points, **how: lines.append(points))
    draw_overlay(*head_to_the_left(), "my title", synthetic=False)
    (left, y), (right, same) = next(points for points in lines if points[0][1] == points[1][1])
    assert y == same and (right - left) / PANEL * 160 == pytest.approx(20, abs=0.5), "the view is 160 mm wide"


def test_the_banner_is_really_drawn() -> None:
    volume, mask = head_to_the_left()
    both = [np.array(draw_overlay(volume, mask, "t", synthetic=s))[-26:] for s in (True, False)]
    for bar in both:
        assert (bar == (190, 30, 30)).all(axis=-1).mean() > 0.7  # red
        assert (bar > 200).all(axis=-1).sum() > 200  # white letters
    assert not np.array_equal(*both)


def test_without_a_lesion_slices_of_the_whole_image() -> None:
    volume, mask = head_to_the_left()
    picture = draw_overlay(volume, mask * 0, "no lesion segmented", synthetic=False)
    assert picture.height > 2 * PANEL  # nine slices in three rows
    assert not (np.array(picture) == (255, 210, 0)).all(axis=-1).any()


def test_many_slices_are_thinned_out() -> None:
    grid = replace(GRID, shape=(60, 40, 40))
    mask = np.zeros(grid.shape, np.uint8)
    mask[5:55, 10:20, 10:20] = 1
    assert len(overlay._slices(mask > 0)) == MOST_SLICES
    assert overlay._slices(mask > 0)[0] == 4 and overlay._slices(mask > 0)[-1] == 55


def test_anisotropic_pixels_keep_the_shape() -> None:
    grid = Geometry((3, 50, 100), (6.0, 2.0, 1.0))
    mask = np.zeros(grid.shape, np.uint8)
    mask[1, 20:30, 40:60] = 1  # 20 mm by 20 mm
    volume = Volume(np.where(mask, 300, 100).astype(np.float32)[None], grid)
    rows, columns = np.ptp(outline(draw_overlay(volume, mask, "t", False), 1), axis=0)
    assert abs(int(rows) - int(columns)) <= 2


def test_the_file_is_the_same_every_time(tmp_path: Path) -> None:
    volume, mask = head_to_the_left()
    for name in ("a.png", "b.png"):
        write_overlay(draw_overlay(volume, mask, "title", synthetic=True), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG" and picture.mode == "RGB"


def test_the_file_holds_the_pixels(tmp_path: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (37, 53, 3)).astype(np.uint8)
    for picture in (Image.fromarray(noise), Image.fromarray(noise[:1, :1])):
        write_overlay(picture, tmp_path / "noise.png")
        with Image.open(tmp_path / "noise.png") as read:
            assert (read.format, read.mode) == ("PNG", "RGB")
            assert np.array_equal(np.asarray(read), np.asarray(picture))
