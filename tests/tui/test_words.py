"""Pure functions: words, times, estimates, filters."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from scanside.runtime.appliance.store.fetches import STAGE
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.store.worklist import Timing, timings
from scanside.runtime.appliance.store.worklist import cases as all_cases
from scanside.tui.estimate import Typical, seconds_left, typical, whole_fraction
from scanside.tui.feed import Health
from scanside.tui.format import age, bar, duration, moment, result_words, size, state_words
from scanside.tui.system.times import computed, quantiles, sparkline, whole
from scanside.tui.worklist.columns import Scene, columns, laid_out
from scanside.tui.worklist.table import fitted
from scanside.tui.worklist.view import GROUPS, View, chosen, counts
from tests.tui.desk import NOW, STAGES, Desk


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "now"), (4.9, "now"), (40, "40 s"), (61, "1 min"), (3599, "59 min"), (3600, "1 h"), (86400 * 2, "2 d"),
     (86400 * 99, "99 d"), (86400 * 400, "13 mo")],
)  # fmt: skip
def test_ages(seconds: float, words: str) -> None:
    assert age(seconds) == words and len(words) <= 6


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.84, "0.8 s"), (42.2, "42 s"), (185, "3:05"), (3729, "1:02:09"), (59.7, "60 s")]
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_moments_and_sizes() -> None:
    assert [moment(NOW - ago, NOW) for ago in (0, 86400, 86400 * 30, 86400 * 400)] == [
        "12:00", "Thu", "10 Dec", "2024",
    ]  # fmt: skip
    assert [size(n) for n in (512, 3.4e9, 70e9, 9.2e12, 240e6)] == [
        "512 B", "3.4 GB", "70.0 GB", "9.2 TB", "240 MB",
    ]  # fmt: skip


@given(st.floats(-1, 2), st.integers(1, 40))
def test_a_bar_has_its_width_and_never_more_than_full(fraction: float, width: int) -> None:
    drawn = bar(fraction, width)
    assert cell_len(drawn) == width
    if fraction >= 1:
        assert drawn == "█" * width


@given(st.text(max_size=40), st.integers(2, 30))
def test_a_cell_has_its_width_whatever_stands_in_it(text: str, cells: int) -> None:
    drawn = fitted(text, cells)
    assert cell_len(drawn) == cells and drawn.isprintable()


@given(st.integers(40, 500), st.booleans())
def test_columns_fit_into_every_terminal_from_80_on(width: int, names: bool) -> None:
    shown = laid_out(columns(names), width)
    taken = 1 + sum(cells + 1 for _, cells in shown) - 1
    if width >= 80:
        assert taken <= width
    assert all(cells >= column.width for column, cells in shown)


def test_a_number_is_never_shown_without_the_status_ok(desk: Desk) -> None:
    desk.one_of_each()
    for case in all_cases(desk.database):
        words = result_words(case).text
        if any(letter.isdigit() for letter in words):
            assert case.status == "ok" and words.startswith("PDAC 0.")
            assert case.state not in (State.REJECTED, State.CANCELLED, State.QUARANTINED)
        assert state_words(case).symbol.strip() and state_words(case).text


def test_a_complete_study_that_waits_for_an_archive_says_so(desk: Desk) -> None:
    case = replace(desk.case(desk.receive(1, complete=False)), stage=STAGE)
    assert str(state_words(case)) == "↓ fetching"
    assert str(state_words(replace(case, stage=None))) == "↓ receiving"


def test_time_left_counts_this_stage_and_those_behind_it(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.finish(number)
    known = typical(timings(desk.database, 0))
    assert list(known.seconds) == list(STAGES) and known.cases == 3
    case_id = desk.run(9)
    desk.progress(case_id, "t2w: network", 6, 24)
    left = seconds_left(desk.case(case_id), known, NOW)
    assert left == pytest.approx(24 * 0.75 + 1 + 9 + 0.02)
    assert whole_fraction(desk.case(case_id), known) == pytest.approx((2 + 6) / 36.02)
    desk.progress(case_id, "radiomics", 0, 0)
    assert seconds_left(desk.case(case_id), known, NOW, NOW - 4) == pytest.approx(5.02)
    assert seconds_left(desk.case(case_id), known, NOW, NOW - 400) == pytest.approx(0.02), "never negative"


def test_without_history_the_time_left_is_of_the_stage_alone(desk: Desk) -> None:
    case_id = desk.run(1)
    assert seconds_left(desk.case(case_id), Typical(), NOW, NOW - 5) is None, "nothing tells"
    desk.progress(case_id, "golden cases", 0, 10)
    assert seconds_left(desk.case(case_id), Typical(), NOW, NOW - 5) is None
    desk.progress(case_id, "golden cases", 4, 10)
    assert seconds_left(desk.case(case_id), Typical(), NOW, NOW - 8) == pytest.approx(12)


@given(st.lists(st.floats(0.001, 1e5), min_size=1, max_size=300))
def test_quantiles_are_values_that_occurred_and_in_order(seconds: list[float]) -> None:
    found = quantiles(seconds)
    assert found is not None and found.count == len(seconds)
    assert found.p50 <= found.p90 <= found.p99 <= max(seconds)
    assert {found.p50, found.p90, found.p99} <= set(seconds)
    assert sum(value <= found.p90 for value in seconds) >= 0.9 * len(seconds)


def test_whole_cases_are_told_apart_from_computing() -> None:
    rows = [
        Timing(1, "queued", 4000, 1), Timing(1, "read", 1000, 1), Timing(1, "total", 6000, 1),
        Timing(2, "read", 3000, 2), Timing(2, "classify", 500, 2), Timing(2, "total", 3600, 2),
    ]  # fmt: skip
    assert computed(rows) == [1.0, 3.5] and whole(rows) == [6.0, 3.6]
    assert sparkline([1, 8, 4], 2) == "█▅" and sparkline([], 5) == ""


def test_groups_count_what_they_show(desk: Desk) -> None:
    desk.one_of_each()
    cases = all_cases(desk.database)
    scene = Scene(NOW, Typical(), Health(), False, {})
    number = counts(cases, scene)
    for group in GROUPS:
        assert len(chosen(cases, View(group=group), columns(False), scene)) == number[group]
    assert number["all"] == len(cases)
