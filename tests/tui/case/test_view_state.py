"""From one look to the next."""

import numpy as np
import pytest

from scanside.runtime.volume import Geometry, Volume
from scanside.tui.case import view_state
from scanside.tui.case.stack import Spot, Stack, index_of, position, slice_at, stack_of
from scanside.tui.case.view_state import Looking

T2W = Geometry((16, 48, 48), (6.0, 3.0, 3.0), (-72.0, -70.0, -40.0))
DWI = Geometry((15, 40, 40), (6.5, 3.5, 3.5), (-70.0, -69.0, -41.0))
SPOTS = [
    Spot("t2w", 1, (-12.0, 8.0, 6.0)),
    Spot("t2w", 2, (30.0, -20.0, 40.0)),
    Spot("dwi", 1, (-11.0, 9.0, 5.0)),
]


def made(grid: Geometry) -> Stack:
    data = np.random.default_rng(0).random((1, *grid.shape), dtype=np.float32) * 100
    return stack_of(Volume(data, grid))


def number(now: Looking, stack: Stack) -> int:
    at = index_of(stack.geometry, now.place)[0]
    assert abs(at - round(at)) < 1e-6, "it always lies in the plane of a slice"
    return round(at)


def test_the_first_look_is_at_the_largest_lesion_of_the_image() -> None:
    stack = made(T2W)
    now = view_state.first_look("t2w", stack, SPOTS)
    assert now.spot == SPOTS[0] and number(now, stack) == 8, "z = 6 mm is 7.67 slices above -40 mm"
    assert now.zoom > 1 and np.allclose(now.place[:2], SPOTS[0].centre[:2]), (
        "the lesion is in the middle, enlarged"
    )
    assert view_state.first_look("dwi", made(DWI), SPOTS).spot == SPOTS[2], "its own one"
    nothing = view_state.first_look("t2w", stack, [])
    assert nothing.spot is None and number(nothing, stack) == 7
    beyond = view_state.first_look("t2w", stack, [Spot("t2w", 1, (0.0, 0.0, 900.0))])
    assert beyond.spot is None and number(beyond, stack) == 7


def test_scrolling_stops_at_both_ends() -> None:
    stack = made(T2W)
    now = view_state.first_look("t2w", stack, [])
    assert number(view_state.scrolled(now, stack, 3), stack) == 10
    assert number(view_state.scrolled(now, stack, -100), stack) == 0
    assert number(view_state.scrolled(now, stack, 100), stack) == 15


def test_another_image_takes_up_the_same_position() -> None:
    t2w, dwi = made(T2W), made(DWI)
    for k in range(16):
        now = view_state.scrolled(
            view_state.scrolled(view_state.first_look("t2w", t2w, []), t2w, -100), t2w, k
        )
        z = -40 + 6.0 * k
        there = view_state.turned_to(now, "dwi", dwi)
        assert there.sequence == "dwi"
        assert number(there, dwi) == min(int(np.abs(-41 + 6.5 * np.arange(15) - z).argmin()), 14)
        assert np.allclose(there.place[:2], now.place[:2])


def test_an_image_that_does_not_reach_so_far_is_seen_at_its_nearest_end() -> None:
    t2w = made(T2W)
    short = made(Geometry((3, 40, 40), (6.0, 3.5, 3.5), (-70.0, -69.0, 0.0)))
    low = view_state.scrolled(view_state.first_look("t2w", t2w, []), t2w, -100)
    assert slice_at(short.geometry, low.place) is None
    assert number(view_state.turned_to(low, "dwi", short), short) == 0
    high = view_state.scrolled(low, t2w, 100)
    assert number(view_state.turned_to(high, "dwi", short), short) == 2


def test_moving_stays_on_the_image() -> None:
    stack = made(T2W)
    now = view_state.first_look("t2w", stack, SPOTS)
    moved = view_state.panned(now, stack, 9.0, -6.0)
    assert np.allclose(np.subtract(moved.place, now.place), (-6.0, 9.0, 0.0))
    corner = view_state.panned(now, stack, 1e6, 1e6)
    assert np.allclose(index_of(T2W, corner.place)[1:], (47, 47))


def test_zoom_has_bounds_and_comes_back_to_one() -> None:
    stack = made(T2W)
    now = view_state.first_look("t2w", stack, [])
    closer = view_state.zoomed(view_state.zoomed(now, stack, 1), stack, 1)
    assert closer.zoom == pytest.approx(1.5625) and closer.place == now.place
    assert view_state.zoomed(closer, stack, -2).zoom == 1.0
    assert view_state.zoomed(now, stack, -3).zoom == 1.0 and view_state.zoomed(now, stack, 99).zoom == 8.0


def test_what_is_enlarged_is_the_lesion_that_was_jumped_to() -> None:
    stack = made(T2W)
    whole = view_state.anew(view_state.first_look("t2w", stack, SPOTS), stack)
    there = view_state.zoomed(jumped(whole, stack, SPOTS, 1), stack, 1)
    assert np.allclose(there.place[:2], SPOTS[1].centre[:2]) and number(there, stack) == 13


def test_window_and_level_belong_to_one_image() -> None:
    stack = made(T2W)
    now = Looking("t2w", stack.middle, windows={"t2w": (0.0, 100.0)})
    assert view_state.windowed(now, stack, narrower=1).window("t2w", stack) == (10.0, 90.0)
    assert view_state.windowed(now, stack, narrower=-1).window("t2w", stack) == (-12.5, 112.5)
    assert view_state.windowed(now, stack, darker=1).window("t2w", stack) == (10.0, 110.0)
    assert view_state.windowed(now, stack, darker=-1).window("t2w", stack) == (-10.0, 90.0)
    assert view_state.windowed(now, stack, darker=1).window("dwi", stack) == stack.auto


def test_anew_is_the_whole_slice_with_its_own_window() -> None:
    stack = made(T2W)
    first = view_state.first_look("t2w", stack, SPOTS)
    away = view_state.outlined(
        view_state.windowed(
            view_state.zoomed(view_state.panned(first, stack, 20, 20), stack, 3), stack, 2, 2
        ),
        stack,
    )
    back = view_state.anew(view_state.scrolled(away, stack, 2), stack)
    assert (back.zoom, dict(back.windows)) == (1.0, {}) and np.allclose(back.place[:2], stack.middle[:2])
    assert number(back, stack) == number(first, stack) + 2 and not back.outline, "these stay"


def jumped(now: Looking, stack: Stack, spots: list[Spot], steps: int) -> Looking:
    spot = view_state.next_spot(now, stack, spots, steps)
    assert spot is not None
    return view_state.jumped_to(now, stack, spot)


def test_lesions_are_gone_through_in_a_circle() -> None:
    stack = made(T2W)
    now = view_state.first_look("t2w", stack, SPOTS)
    seen = []
    for _ in range(4):
        now = jumped(now, stack, SPOTS, 1)
        seen.append((now.spot, number(now, stack)))
    assert [spot for spot, _ in seen] == [SPOTS[1], SPOTS[2], SPOTS[0], SPOTS[1]]
    assert [at for _, at in seen] == [13, 8, 8, 13], "40 mm is 13.3, 5 mm 7.5, 6 mm 7.7 slices above -40 mm"
    assert jumped(now, stack, SPOTS, -1).spot == SPOTS[0]
    assert view_state.next_spot(now, stack, [], 1) is None
    assert view_state.next_spot(Looking("t2w", stack.middle), stack, SPOTS, -1) == SPOTS[2]


def test_enlarged_a_jump_goes_to_the_middle_of_the_lesion_and_shows_its_outline() -> None:
    stack = made(T2W)
    now = view_state.zoomed(view_state.outlined(view_state.first_look("t2w", stack, SPOTS), stack), stack, 3)
    there = jumped(now, stack, SPOTS, 1)
    assert there.outline and np.allclose(there.place[:2], SPOTS[1].centre[:2])
    assert there.place == pytest.approx(position(T2W, (13, *index_of(T2W, SPOTS[1].centre)[1:])))


def test_a_lesion_beyond_the_image_is_passed_over() -> None:
    stack = made(T2W)
    far = Spot("dwi", 9, (0.0, 0.0, 500.0))
    now = view_state.first_look("t2w", stack, SPOTS)
    assert view_state.next_spot(now, stack, [SPOTS[0], far, SPOTS[1]], 1) == SPOTS[1]
    assert view_state.jumped_to(now, stack, far) is now
