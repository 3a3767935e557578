"""The case screen, driven by its keys over a real store: what each key changes, on the state and in the pixels."""

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from textual.widgets import Static

from scanside.runtime.appliance.config import Config
from scanside.runtime.study.names import amount
from scanside.runtime.study.pipeline import StudyRunner
from scanside.tui.app import ScansideApp
from scanside.tui.case.draw import OTHER
from scanside.tui.case.layout import Layout
from scanside.tui.case.pane import Pane
from scanside.tui.case.screen import CaseScreen
from scanside.tui.widgets.help import HelpScreen
from tests.runtime.study.tiny_study import CENTRE, TinyStudy, write_dicom
from tests.tui.case.driving import LARGE, opened
from tests.tui.case.made import compute, configuration, fixed, receive
from tests.tui.case.test_images import data_of

pytestmark = pytest.mark.asyncio
T2W_SERIES, DWI_SERIES = "t2_tse_tra_fs", "ep2d_diff_tra"


def planes(config: Config, description: str) -> list[float]:
    """z of the slices of a series, mm, from the files themselves, ascending."""
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in config.spool.rglob("*.dcm")]
    found = {float(h.ImagePositionPatient[2]) for h in headers if h.SeriesDescription == description}
    return sorted(found)


def case_id(config: Config) -> str:
    return data_of(config).case.case_id


async def test_scrolling_shows_other_slices_and_the_other_image_follows_in_the_patient(
    reviewed: Config,
) -> None:
    t2w, dwi = planes(reviewed, T2W_SERIES), planes(reviewed, DWI_SERIES)
    async with opened(reviewed, case_id(reviewed)) as driver:
        first, second = driver.pane("first"), driver.pane("second")
        assert (first.sequence, second.sequence) == ("t2w", "dwi")
        assert t2w[first.number or 0] == pytest.approx(CENTRE[2], abs=3.0), "opened at the lesion"
        seen = []
        await driver.press("home")
        for _ in t2w:
            assert first.number is not None and second.number is not None
            z = t2w[first.number]
            distances = [abs(other - z) for other in dwi]
            assert distances[second.number] == min(distances)
            side = "S" if z >= 0 else "I"
            title = str(first.query_one(".title", Static).content)
            assert f"T2WI {first.number + 1}/16 z {side}{abs(z):.1f} mm" in title
            seen.append((first.number, driver.picture().tobytes()))
            await driver.press("j")
        assert [number for number, _ in seen] == list(range(15, -1, -1)), "downwards, to the feet"
        assert len({picture for _, picture in seen}) == 16, "every slice is another picture"
        await driver.press("k")
        assert first.number == 1
        await driver.press("pageup")
        assert first.number == 6
        await driver.press("pagedown", "up", "down", "end")
        assert first.number == 0
        await driver.press("home")
        assert first.number == 15


async def test_outlines_can_be_switched_off(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed)) as driver:
        assert driver.outlined() > 12 and driver.outlined("second") == 0
        other = (driver.picture("second") == OTHER).all(axis=2).sum()
        assert other > 10, "the lesion of the DWI is not the one that is looked at"
        await driver.press("i")
        assert not driver.outlined() and not (driver.picture("second") == OTHER).all(axis=2).any()
        assert "outline OFF" in str(driver.pane().query_one(".foot", Static).content)
        await driver.press("i")
        assert driver.outlined() > 12


async def test_zoom_keeps_both_images_at_one_scale_and_z_undoes_it(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed)) as driver:
        assert driver.pane().mm * 2 < 48 * 3.0 / driver.pane().surface.size.width * 2, (
            "opened at the lesion, enlarged"
        )
        await driver.press("z")
        whole, pixels = driver.pane().mm, driver.outlined()
        first_picture = driver.picture().copy()
        await driver.press("plus", "plus")
        assert driver.pane().mm == pytest.approx(whole / 1.5625)
        assert driver.pane("second").mm == pytest.approx(driver.pane().mm)
        assert driver.outlined() > 1.2 * pixels
        await driver.press("minus")
        assert driver.pane().mm == pytest.approx(whole / 1.25)
        await driver.press("right", "J", "c", "b", "z")
        assert driver.pane().mm == pytest.approx(whole)
        assert np.array_equal(driver.picture(), first_picture)


async def test_moving_moves_the_picture_the_other_way(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed)) as driver:
        await driver.press("z", "plus", "plus")

        def middle() -> np.ndarray:
            at = np.argwhere((driver.picture() == (255, 210, 0)).all(axis=2))
            return at.mean(axis=0)

        before = middle()
        await driver.press("right")
        after = middle()
        assert after[1] < before[1] - 2 and abs(after[0] - before[0]) < 1.5
        await driver.press("left", "shift+down")
        below = middle()
        assert below[0] < before[0] - 2 and abs(below[1] - before[1]) < 1.5
        await driver.press("shift+up", "H", "L", "K", "J")
        assert np.allclose(middle(), before, atol=1.0)


async def test_window_keys_change_brightness_and_contrast_of_one_image(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed)) as driver:
        await driver.press("z")
        start, other = driver.picture().astype(float), driver.picture("second").copy()
        await driver.press("b")
        brighter = driver.picture().astype(float)
        assert brighter.mean() > start.mean() and np.array_equal(driver.picture("second"), other)
        await driver.press("B", "B")
        assert driver.picture().mean() < start.mean()
        await driver.press("z", "C", "C")
        softer = driver.picture().astype(float)
        gray = (start[..., 0] == start[..., 2]) & (start[..., 0] > 0) & (start[..., 0] < 255)
        assert softer[gray].std() < start[gray].std()
        await driver.press("z", "c")
        foot = str(driver.pane().query_one(".foot", Static).content)
        low, high = driver.case.viewer.shown["t2w"].stack.auto
        assert f"W{amount((high - low) * 0.8)} L{amount((high + low) / 2)}" in foot


async def test_g_goes_from_lesion_to_lesion_and_the_table_follows(
    runner: StudyRunner, tmp_path: Path
) -> None:
    far = (24.0, -14.0, 26.0)
    study = TinyStudy(t2w=((CENTRE, 14.0), (far, 9.0)), dwi=((CENTRE, 14.0),))
    config = configuration(tmp_path / "data")
    one = receive(config, write_dicom(tmp_path / "study", study))
    compute(config, runner)
    async with opened(config, one, LARGE) as driver:
        marked = driver.rows("lesions")
        assert "volume" in marked[0] and "diameter" in marked[0] and "slices" in marked[0]
        assert [line[:1] for line in marked].count("▸") == 1
        places = []
        for _ in range(3):
            await driver.press("g")
            spot = driver.case.viewer.looking.spot if driver.case.viewer.looking else None
            assert spot is not None
            place, series = ("first", T2W_SERIES) if spot.role == "t2w" else ("second", DWI_SERIES)
            z = planes(config, series)[driver.pane(place).number or 0]
            assert abs(z - spot.centre[2]) <= 3.26 and driver.pane(place).has_class("active")
            assert driver.outlined(place) > 8
            line = next(line for line in driver.rows("lesions") if line.startswith("▸"))
            assert {"t2w": "T2WI", "dwi": "DWI"}[spot.role] in line
            places.append((spot.role, spot.number))
        assert sorted(places) == [("dwi", 1), ("t2w", 1), ("t2w", 2)]
        await driver.press("G")
        assert driver.case.viewer.looking is not None and driver.case.viewer.looking.spot is not None
        assert (driver.case.viewer.looking.spot.role, driver.case.viewer.looking.spot.number) == places[1]


async def test_where_one_image_is_shown_g_shows_the_one_with_the_lesion(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed), (80, 24)) as driver:
        for _ in range(3):
            await driver.press("g")
            spot = driver.case.viewer.looking.spot if driver.case.viewer.looking else None
            assert spot is not None and driver.pane().sequence == spot.role and driver.outlined() >= 8


async def test_f_gives_one_image_the_whole_screen_and_takes_it_back(reviewed: Config) -> None:
    async with opened(reviewed, data_of(reviewed).case.case_id, (120, 40)) as driver:
        before, sequence = driver.pane().surface.size, driver.pane().sequence
        await driver.press("l")
        await driver.until(lambda: driver.pane().surface.size.width > 1.9 * before.width)
        assert driver.pane().surface.size.height > before.height and driver.pane().sequence == sequence
        assert not driver.pane("second").display
        await driver.until(lambda: driver.picture().shape[1] == driver.pane().surface.size.width)
        assert driver.outlined(), "the outline is there too"
        await driver.press("l")
        await driver.until(lambda: driver.pane().surface.size == before)
        await driver.press("l", "tab")
        await driver.until(lambda: driver.pane().surface.size == before)
        assert driver.case.query_one("#panel-lesions").display, "a panel that is asked for comes back"


async def test_v_goes_through_the_images(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed)) as driver:
        assert driver.pane().has_class("active")
        await driver.press("v")
        assert driver.pane("second").has_class("active") and driver.pane("second").sequence == "dwi"
        before = driver.pane("second").number or 0
        await driver.press("k")
        assert driver.pane("second").number == before + 1, "keys act upon the DWI now"
        await driver.press("v")
        assert driver.pane("second").sequence == "adc" and driver.pane("first").sequence == "t2w"
        assert (driver.picture("second") == OTHER).all(axis=2).any() or driver.outlined("second")
        await driver.press("v")
        assert driver.pane().has_class("active")
    async with opened(reviewed, case_id(reviewed), (80, 24)) as driver:
        assert not driver.pane("second").display
        shown = []
        for _ in range(3):
            shown.append(driver.pane().sequence)
            await driver.press("v")
        assert shown == ["t2w", "dwi", "adc"]


@pytest.mark.parametrize(
    ("size", "layout", "double", "panels"),
    [
        ((80, 24), Layout.BESIDE, False, 1),
        ((120, 40), Layout.BELOW, True, 1),
        ((200, 60), Layout.ALL, True, 7),
        ((160, 24), Layout.BESIDE, True, 1),
        ((400, 120), Layout.ALL, True, 7),
    ],
)
async def test_it_fits_the_terminal(
    reviewed: Config, size: tuple[int, int], layout: Layout, double: bool, panels: int
) -> None:
    async with opened(reviewed, case_id(reviewed), size) as driver:
        board = driver.case.board
        assert board.layout_now is layout and driver.pane("second").display is double
        assert sum(view.display for view in board.views) == panels
        rows, columns = driver.picture().shape[:2]
        assert rows >= 24 and columns >= 36, "large enough to see a pancreas"
        assert driver.outlined() >= 8
        for widget in driver.case.query("Pane, PanelView"):
            if widget.display and widget.region.area:
                assert driver.case.region.contains_region(widget.region), widget.id
        banner = str(driver.case.query_one("Banner", Static).content)
        assert "RESEARCH USE ONLY" in banner


async def test_a_terminal_that_changes_its_size_is_followed(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed), (200, 60)) as driver:
        for size in ((80, 24), (120, 40), (50, 12), (200, 60)):
            await driver.pilot.resize_terminal(*size)
            await driver.ready()
            width = driver.pane().surface.size.width
            await driver.until(
                lambda width=width: driver.picture().shape[1] == width, f"no picture at {size}"
            )
        assert driver.outlined() > 12


async def test_panels_are_turned_and_scrolled_by_keys(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed), (80, 24)) as driver:
        names = []
        for _ in range(7):
            (shown,) = [view for view in driver.case.board.views if view.display]
            names.append(shown.panel.name)
            assert shown.panel.title in driver.text("#tabs")
            await driver.press("tab")
        assert names == ["result", "lesions", "signature", "series", "run", "delivery", "history"]
        await driver.press("shift+tab", "shift+tab", "shift+tab")
        (shown,) = [view for view in driver.case.board.views if view.display]
        assert shown.panel.name == "run"
        await driver.press("d")
        await driver.until(lambda: shown.scroller.scroll_y > 5)
        await driver.press("u")
        await driver.until(lambda: shown.scroller.scroll_y == 0)
        assert driver.pane().number == 8, "the image stayed where it was"


async def test_help_tells_every_key(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed)) as driver:
        await driver.press("question_mark")
        screen = await driver.opens(HelpScreen)
        assert isinstance(screen, HelpScreen)
        from rich.console import Console

        console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
        for static in screen.query(Static):
            console.print(static.content)
        text = console.export_text()
        for binding in CaseScreen.BINDINGS:
            assert binding.id and binding.id in text, binding
        await driver.press("escape")
        assert driver.app.screen is driver.case
        await driver.press("escape")
        assert driver.app.screen is not driver.case


async def test_a_study_stored_the_other_way_round_looks_the_same(
    reviewed: Config, dicom_study: Path, runner: StudyRunner, tmp_path: Path
) -> None:
    """Columns from left to right of the patient, slices from the head down: the same pictures, R on the left."""
    folder = tmp_path / "study"
    for file in dicom_study.rglob("*.dcm"):
        one = pydicom.dcmread(file)
        one.PixelData = np.ascontiguousarray(one.pixel_array[:, ::-1]).tobytes()
        width = (one.Columns - 1) * float(one.PixelSpacing[1])
        x, y, z = (float(v) for v in one.ImagePositionPatient)
        one.ImagePositionPatient = [x + width, y, z]
        one.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
        (folder / file.relative_to(dicom_study)).parent.mkdir(parents=True, exist_ok=True)
        one.save_as(folder / file.relative_to(dicom_study))
    config = configuration(tmp_path / "data")
    one_id = receive(config, folder)
    compute(config, runner, hold=True, change=fixed)
    pictures = []
    for which, name in ((reviewed, case_id(reviewed)), (config, one_id)):
        async with opened(which, name) as driver:
            pictures.append((driver.picture().copy(), driver.picture("second").copy()))
            row = driver.pane().surface.size.height // 2
            line = driver.pane().surface.render_line(row).text  # type: ignore[union-attr]
            assert line[0] == "R" and line[-1] == "L"
            at = np.argwhere((driver.picture() == (255, 210, 0)).all(axis=2))
            await driver.press("z")
            at = np.argwhere((driver.picture() == (255, 210, 0)).all(axis=2))
            assert at[:, 1].mean() < driver.picture().shape[1] / 2 - 1, "the lesion is on the patient's right"
    for a, b in zip(*pictures, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1


async def test_the_screen_shows_what_the_surface_was_given(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed), (80, 24)) as driver:
        svg = driver.app.export_screenshot()
        assert svg.count("▀") > 100 and "#fcd000" in svg.lower(), "half blocks, and the outline in its colour"
        await driver.press("i")
        assert "#fcd000" not in driver.app.export_screenshot().lower()
        assert "SYNTHETIC" in driver.app.export_screenshot()


async def test_a_picture_says_slice_thickness_series_window_value_and_scale(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed), (120, 40)) as driver:
        title, foot = (str(driver.pane().query_one(f".{line}", Static).content) for line in ("title", "foot"))
        assert "6 mm apart" in title and T2W_SERIES in title
        stack = driver.case.viewer.shown["t2w"].stack
        looking = driver.case.viewer.looking
        assert looking is not None and looking.spot is not None
        first, last = stack.slices_of(looking.spot.number) or (0, 0)
        assert f"lesion on slices {first + 1}–{last + 1}" in foot and "ADC" in foot
        assert f"middle {amount(stack.value(looking.place))}" in foot
        lines = [driver.pane().surface.render_line(y).text for y in range(driver.pane().surface.size.height)]  # type: ignore[union-attr]
        ruler = next(re.search(r"├─*┤ (\d+) mm", line) for line in lines if "├" in line)
        assert ruler is not None
        assert len(ruler[0].split()[0]) * driver.pane().mm == pytest.approx(float(ruler[1]), rel=0.2)
        await driver.press("home")
        assert f"NO lesion here: slices {first + 1}–{last + 1}" in str(
            driver.pane().query_one(".foot", Static).content
        )


async def test_without_colours_a_case_opens_and_its_outline_is_letters(
    reviewed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(reviewed, case_id(reviewed), (120, 40)) as driver:
        assert driver.app.no_color
        lines = [driver.pane().surface.render_line(y).text for y in range(driver.pane().surface.size.height)]  # type: ignore[union-attr]
        assert sum(line.count("o") for line in lines) >= 8
        await driver.press("i")
        lines = [driver.pane().surface.render_line(y).text for y in range(driver.pane().surface.size.height)]  # type: ignore[union-attr]
        assert sum(line.count("o") for line in lines) <= 2
        driver.app.export_screenshot()


async def test_tabs_and_lesions_are_clicked_and_a_drag_changes_the_window(reviewed: Config) -> None:
    async with opened(reviewed, case_id(reviewed), (120, 40)) as driver:
        tabs = driver.text("#tabs")
        await driver.pilot.click("#tabs", offset=(tabs.index("Lesions") + 1, 0))
        assert driver.case.query_one("#panel-lesions").display
        before = driver.case.viewer.looking
        rows = driver.rows("lesions")
        place = next(n for n, row in enumerate(rows) if "DWI" in row)
        await driver.pilot.click("#panel-lesions .text", offset=(6, place))
        await driver.pilot.pause()
        now = driver.case.viewer.looking
        assert now is not None and now.spot is not None and now.spot.role == "dwi" and now != before
        await driver.pilot.mouse_down("#first", offset=(10, 5))
        await driver.pilot.hover("#first", offset=(18, 5))
        await driver.pilot.mouse_up("#first", offset=(18, 5))
        after = driver.case.viewer.looking
        assert after is not None and "t2w" in after.windows


async def test_a_case_that_cannot_be_read_says_why_in_place_of_its_images(own: Config) -> None:
    app = ScansideApp(own, actor="user ann", keys=own.service.data / "no keys")
    async with app.run_test(size=(100, 34)) as pilot:
        case = CaseScreen("NO-SUCH")
        await app.push_screen(case)
        for _ in range(200):
            await pilot.pause(0.02)
            if "no case NO-SUCH" in case.query_one("#first", Pane).words:
                break
        assert "Looking for images" not in case.query_one("#first", Pane).words
