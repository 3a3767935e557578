"""What the panels say: a probability never without its status, nothing invented where something is absent."""

import re
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.states import Sending, State
from scanside.runtime.study.objects import ObjectKind
from scanside.runtime.study.report import StudyReport
from scanside.tui.case.data import CaseData
from scanside.tui.case.glance import Glance
from scanside.tui.case.panels import PANELS
from scanside.tui.case.stack import Spot, spot_of
from scanside.tui.case.text import chance_bar, feature_name, range_bar
from scanside.tui.format import spoken
from tests.tui.case.test_images import data_of


@pytest.fixture(scope="module")
def data(reviewed: Config) -> CaseData:
    return data_of(reviewed)


def changed(data: CaseData, **fields: Any) -> CaseData:
    """The case with another report; a status other than ok brings a reason."""
    assert data.report is not None
    document = data.report.model_dump(by_alias=True)
    if fields.get("status", "ok") != "ok":
        fields = {"reason": "Because of that.", **fields}
    return replace(data, report=StudyReport.model_validate({**document, **fields}))


def told(data: CaseData, name: str, width: int = 60, spot: Spot | None = None) -> str:
    panel = next(panel for panel in PANELS if panel.name == name)
    return str(panel.build(Glance(data, spot, width)))


@pytest.mark.parametrize("width", [20, 44, 60, 120])
def test_every_panel_fits_its_width(data: CaseData, width: int) -> None:
    for panel in PANELS:
        for line in str(panel.build(Glance(data, None, width))).splitlines():
            assert len(line) <= max(width, 40), (panel.name, line)


@pytest.mark.parametrize("status", ["ok", "indeterminate"])
def test_a_probability_stands_with_its_status_and_interval(data: CaseData, status: str) -> None:
    words = told(changed(data, status=status), "result")
    assert data.report is not None and data.report.probability is not None
    chance = data.report.probability
    lines = words.splitlines()
    at = next(n for n, line in enumerate(lines) if f"P(PDAC) = {chance.value:.2f}" in line)
    assert f"interval {chance.low:.2f} to {chance.high:.2f}" in lines[at]
    assert "━" in lines[at + 1] or "●" in lines[at + 1]
    assert lines[at + 2].startswith(status), "the status stands right below it"
    assert status.upper() in lines[0] and (status == "ok") is not ("Because of that." in words)


@pytest.mark.parametrize("status", ["indeterminate", "no lesion segmented", "unsuitable input"])
def test_without_a_probability_there_is_no_number(data: CaseData, status: str) -> None:
    words = told(changed(data, status=status, probability=None), "result")
    assert "none is given" in words and f"({status})" in words and "P(PDAC)" not in words and "━" not in words


def test_no_lesion_is_not_called_negative(data: CaseData) -> None:
    none = changed(data, status="no lesion segmented", lesions=(), probability=None)
    assert "not a negative finding" in told(none, "result")
    assert "This is not a negative finding." in told(none, "lesions")
    assert "no lesion was looked for" in told(changed(data, lesions=None), "lesions")


def test_absent_features_say_why(data: CaseData) -> None:
    assert data.report is not None and data.report.signature is not None
    signature = {name: row.model_dump() for name, row in data.report.signature.items()}
    gone = "adc_original_firstorder_Mean"
    signature[gone] |= {"value": None, "reason": "The region has 3 voxels only."}
    words = told(changed(data, signature=signature), "signature")
    lines = words.splitlines()
    at = lines.index("ADC firstorder Mean")
    assert lines[at + 1].strip() == "absent: The region has 3 voxels only."
    assert words.count("in range") + words.count("below") + words.count("above") == 8
    assert "No feature was measured." in told(changed(data, signature=None), "signature")


def test_each_feature_stands_with_its_place_among_the_training_patients(data: CaseData) -> None:
    for width in (44, 110):
        words = told(data, "signature", width)
        assert data.report is not None and data.report.signature is not None
        for name, row in data.report.signature.items():
            assert feature_name(name) in words and row.value is not None and f"{row.value:.4g}" in words
        assert words.count("┼") + words.count("●") + words.count("▶") + words.count("◀") >= 10


def test_lesions_with_size_and_place(data: CaseData) -> None:
    assert data.report is not None and data.report.lesions
    first = data.report.lesions[0]
    words = told(data, "lesions", spot=spot_of(first))
    line = next(line for line in words.splitlines() if line.startswith("▸*"))
    assert f"{first.volume_ml:.2f} ml" in line and f"{first.longest_diameter_mm:.1f} mm" in line
    assert "R12 P8 S5" in line, "where the tiny study has it"
    assert told(data, "lesions", spot=spot_of(first), width=30).count("R12 P8 S") == 2


def test_an_earlier_result_of_the_patient_is_a_line(data: CaseData) -> None:
    sizes = [
        {"role": "t2w", "volume_ml": 10.1, "longest_diameter_mm": 28.0},
        {"role": "dwi", "volume_ml": None, "longest_diameter_mm": None},
    ]
    prior = {"day": "2025-09-01", "algorithm": "pancreas 1", "same_algorithm": False, "sizes": sizes}
    words = told(changed(data, prior=prior), "lesions", 120)
    assert "Earlier, 2025-09-01 (another bundle): T2WI 10.10 ml, 28 mm; DWI no lesion segmented" in words
    words = told(changed(data, prior={**prior, "archive": "pacs"}), "lesions", 120)
    assert "Earlier, 2025-09-01 (another bundle, from the archive pacs): T2WI 10.10 ml" in words
    words = told(changed(data, prior={**prior, "same_algorithm": True, "archive": "pacs"}), "lesions", 120)
    assert "Earlier, 2025-09-01 (from the archive pacs): T2WI 10.10 ml" in words
    assert "Earlier" not in told(data, "lesions")


def test_warnings_and_checks(data: CaseData) -> None:
    assert "passed, no warnings" in told(changed(data, warnings=()), "result")
    words = told(changed(data, warnings=("The ADC map was converted.", "Noisy.")), "result")
    assert "2 warning(s)" in words and "! The ADC map was converted." in words and "! Noisy." in words
    assert "refused" in told(changed(data, status="unsuitable input", probability=None), "result")


def test_series_with_reasons(data: CaseData) -> None:
    words = told(data, "series")
    assert data.report is not None
    for row in data.report.considered:
        assert row.series.split("'")[1] in words
    assert "not used" in words and "localizer" in words
    chosen = replace(data, case=replace(data.case, series={"t2w": "1.2"}))
    assert "A person chose the series for T2WI." in told(chosen, "series")


def test_the_run_says_device_bundle_and_times(data: CaseData) -> None:
    words = told(data, "run")
    assert data.report is not None
    report = data.report
    for part in ("cpu", "asked: cpu", report.device.why, "tiny 1.0", "exact", "SYNTHETIC"):
        assert part in words, part
    assert report.bundle.sha256 in words.replace("\n  ", "")
    assert report.stages and all(spoken(stage.name)[:20] in words for stage in report.stages)
    other = changed(data, approximations=("no mirroring",), synthetic=False)
    assert "no mirroring" in told(other, "run") and "SYNTHETIC" not in told(other, "run")
    fused = changed(data, decided_with={"t2w": "dwi"})
    assert "T2WI decided together with DWI" in told(fused, "run") and "decided" not in words


def test_delivery_by_object_and_destination(data: CaseData) -> None:
    assert told(data, "delivery").count("waits until accepted") == 2, "under review nothing goes out"
    sending = replace(data.case, state=State.SENDING)
    items = (
        replace(data.items[0], state=Sending.COMMITTED),
        replace(data.items[1], attempts=3, reason="PACS does not answer."),
    )
    words = told(replace(data, case=sending, items=items), "delivery")
    assert "segmentation → PACS" in words and "✓ committed" in words
    assert "✗ waits, 3 tries" in words and "PACS does not answer." in words
    assert told(replace(data, items=()), "delivery") == "Nothing is to be sent yet."


def test_history_tells_who_and_when(data: CaseData) -> None:
    words = told(data, "history", 100)
    assert words.splitlines()[0].endswith("worker: result waits for review → review (job 1)"), (
        "the latest first"
    )
    assert "receiver: study arrived" in words and "job 1" in words


@pytest.mark.parametrize("state", list(State))
def test_a_case_without_result_says_what_it_waits_for(data: CaseData, state: State) -> None:
    case = replace(
        data.case, state=state, status=None, result=None, failure="timeout", reason="Stage t2w: slide."
    )
    words = told(replace(data, case=case, report=None, trouble=None), "result")
    assert words.startswith("No result") and "timeout" in words and "Stage T2WI: outlining." in words
    assert "0." not in words


def test_a_damaged_result_shows_no_number_of_the_store(data: CaseData) -> None:
    words = told(replace(data, report=None, trouble="The report is damaged; run the study again."), "result")
    assert "cannot be shown" in words and "damaged" in words and "P(PDAC)" not in words


values = st.floats(-100, 100)


@given(values, st.tuples(values, values, values).map(sorted), st.integers(8, 60))
def test_a_marker_stands_where_the_value_lies(value: float, span: list[float], width: int) -> None:
    low, median, high = span
    bar, words = range_bar(value, low, median, high, width)
    assert len(bar) == width
    assert sum(bar.count(sign) for sign in "●◀▶") == 1
    assert words == ("below" if value < low else "above" if value > high else "in range")
    if words == "below":
        assert "●" not in bar or bar.index("●") <= width / 2
    if words == "above":
        assert "●" not in bar or bar.index("●") >= width / 2 - 1


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted), st.integers(12, 60))
def test_the_band_lies_around_the_probability(span: list[float], width: int) -> None:
    low, value, high = span
    bar = chance_bar(value, low, high, width)
    assert len(bar) == width and bar.count("●") == 1
    assert abs(bar.index("●") - value * (width - 1)) <= 0.5
    marked = [n for n, sign in enumerate(bar) if sign != "┄"]
    assert abs(marked[0] - low * (width - 1)) <= 0.5 and abs(marked[-1] - high * (width - 1)) <= 0.5


def test_features_have_readable_names() -> None:
    assert (
        feature_name("adc_log-sigma-4-0-mm-3D_firstorder_TotalEnergy")
        == "ADC LoG 4.0 mm firstorder TotalEnergy"
    )
    assert feature_name("t2w_original_glcm_Contrast") == "T2WI glcm Contrast"
    assert feature_name("age_at_scan") == "age_at_scan", "a bundle may measure something else"


@pytest.mark.parametrize("kind", get_args(ObjectKind))
def test_every_object_that_can_be_sent_has_words(data: CaseData, kind: str) -> None:
    """`reject` had none."""
    words = told(replace(data, items=(replace(data.items[0], kind=kind),)), "delivery")
    assert words.split(" → ")[0].strip() not in ("", kind)


INTERNAL = re.compile(r"\b(t2w|dwi|adc|b0|quarantined|claim|held|hold|slide|abandoned|unsent)\b")


@pytest.mark.parametrize("panel", [panel.name for panel in PANELS])
def test_no_internal_name_is_on_a_panel(data: CaseData, panel: str) -> None:
    """`t2w: is a localiser` stood among the reasons of series, `claim` and `hold` in the history."""
    given_up = tuple(replace(item, state=Sending.ABANDONED) for item in data.items)
    other = replace(data, items=given_up, case=replace(data.case, state=State.CANCELLED))
    assert not INTERNAL.findall(told(data, panel, 120) + told(other, panel, 120))


def test_a_scanners_own_name_stays_as_it_is() -> None:
    assert spoken("t2w: 'ep2d dwi' isn't b0") == "T2WI: 'ep2d dwi' isn't low-b image"
