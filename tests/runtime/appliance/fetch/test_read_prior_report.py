"""A report as it is read: of the same patient and study, whole, and of one lesion, or not used."""

import copy
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pydicom
import pytest

from scanside.runtime.dicom.patient import person_of
from scanside.runtime.study.prior_report import NotUsedError, Whose, read_prior_report
from tests.runtime.appliance.fetch.looking import changed, concept, file_of, measured_lesions, walked

pytestmark = pytest.mark.requirement("asked-for")


def _without(made: Any, code: str) -> None:
    """Take an item out of every group."""
    for item in [made, *walked(made)]:
        if "ContentSequence" in item:
            item.ContentSequence = [below for below in item.ContentSequence if concept(below) != code]


def _number(value: str) -> Callable[[Any], None]:
    def change(made: Any) -> None:
        for item in measured_lesions(made):
            item.MeasuredValueSequence[0].NumericValue = value

    return change


def _unit(made: Any) -> None:
    measured_lesions(made)[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "ml"


def _attribute(keyword: str, value: Any) -> Callable[[Any], None]:
    return lambda made: setattr(made, keyword, value)


def _bundle(made: Any) -> None:
    for item in walked(made):
        if str(item.get("TextValue", "")).startswith("bundle_sha256="):
            item.TextValue = f"bundle_sha256={'ab' * 32}"


REFUSED: dict[str, tuple[Callable[[Any], None], str]] = {
    "another patient": (_attribute("PatientID", "P2"), "states another patient"),
    "another birth date": (_attribute("PatientBirthDate", "19600103"), "states another patient"),
    "no birth date": (_attribute("PatientBirthDate", ""), "states another patient"),
    "another issuer": (_attribute("IssuerOfPatientID", "H2"), "states another patient"),
    "another study": (_attribute("StudyInstanceUID", "1.2.3"), "is another object than was asked for"),
    "another instance": (_attribute("SOPInstanceUID", "1.2.3"), "is another object than was asked for"),
    "another bundle": (_bundle, "states a device that is not the one of its bundle"),
    "no template": (_attribute("ContentTemplateSequence", []), "is no report of template 1500"),
    "no date": (_attribute("StudyDate", ""), "states no date of its study"),
    "no content": (_attribute("ContentSequence", []), "does not hold what a report of Scanside holds"),
    "no volume": (lambda made: _without(made, "118565006"), "does not hold what a report of Scanside holds"),
    "zero": (_number("0"), "states a size that is none"),
    "another unit": (_unit, "states a size that is none"),
}


def whose(report: Path) -> Whose:
    truly = pydicom.dcmread(report)
    person = person_of([truly])
    assert person is not None
    return Whose(str(truly.StudyInstanceUID), str(truly.SOPInstanceUID), "P1", person)


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_as_it_must_be_is_refused_by_name(report: Path, change: Any, words: str) -> None:
    made = pydicom.dcmread(report)
    change(made)
    with pytest.raises(NotUsedError, match=f"^{words}$"):
        read_prior_report(file_of(made), whose(report))


def test_any_bytes_are_a_report_or_refused(report: Path) -> None:
    """Cut off anywhere, or with bytes changed anywhere: it says what it said, or is not used, or is not ours."""
    file, who, chance = report.read_bytes(), whose(report), random.Random(43)
    truly = read_prior_report(file, who)
    assert truly is not None
    for _ in range(15):
        at = chance.randrange(132, len(file))
        for bad in (file[:at], file[:at] + chance.randbytes(8) + file[at + 8 :]):
            with suppress(NotUsedError):
                read_prior_report(bad, who)
    with pytest.raises(NotUsedError, match="is compressed"):
        read_prior_report(file.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1), who)


def test_of_several_lesions_the_measured_one_counts_and_none_is_guessed(report: Path) -> None:
    made, who = pydicom.dcmread(report), whose(report)
    (group,) = [one for one in walked(made) if tracking(one) == "t2w Lesion 1"]
    larger = copy.deepcopy(group)
    next(one for one in larger.ContentSequence if concept(one) == "112039").TextValue = "t2w Lesion 2"
    feature = [
        one for one in larger.ContentSequence if any(concept(below) == "FEATURE" for below in walked(one))
    ]
    larger.ContentSequence = [one for one in larger.ContentSequence if one not in feature]
    measured_lesions(larger)[0].MeasuredValueSequence[0].NumericValue = "99000"
    (groups,) = [one for one in made.ContentSequence if concept(one) == "126010"]
    groups.ContentSequence.append(larger)
    assert read_prior_report(file_of(made), who) == read_prior_report(report.read_bytes(), who)
    group.ContentSequence = [
        one for one in group.ContentSequence if not any(concept(below) == "FEATURE" for below in walked(one))
    ]
    said = read_prior_report(file_of(made), who)
    assert said is not None and [size.role for size in said.sizes] == ["dwi"]


def tracking(item: Any) -> str:
    below = [one for one in item.get("ContentSequence", ()) if concept(one) == "112039"]
    return str(below[0].TextValue) if below else ""


def test_an_earlier_result_that_a_report_repeats_is_not_its_own(second: Path) -> None:
    """A report with points in time states the lesions of two studies."""
    made = pydicom.dcmread(second)
    earlier = [one for one in walked(made) if tracking(one).endswith("lesion of 2026-01-01")]
    for group in earlier:
        measured_lesions(group)[0].MeasuredValueSequence[0].NumericValue = "1"
    said = read_prior_report(file_of(made), whose(second))
    assert len(earlier) == 2 and said == read_prior_report(second.read_bytes(), whose(second))
    assert said is not None and said.day == date(2026, 7, 1)
    assert [size.role for size in said.sizes] == ["dwi", "t2w"]
    assert all(size.volume_ml is not None and size.volume_ml > 1 for size in said.sizes)


def test_what_another_maker_wrote_is_none(report: Path) -> None:
    assert (
        read_prior_report(
            file_of(changed(report, SOPInstanceUID=whose(report).sop_uid, Manufacturer="ACME")), whose(report)
        )
        is None
    )
