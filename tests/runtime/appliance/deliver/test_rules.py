"""Rules: a destination gets the kinds, statuses and senders that it asks for, and each object once."""

import pytest

from scanside.runtime.appliance.config import DicomDestination, ResultStatus, Rule
from scanside.runtime.appliance.deliver.rules import sends_to
from scanside.runtime.appliance.store.records import Made

SEG = Made("seg", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3", "c/1/seg.dcm")
SR = Made("sr", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.4", "c/1/sr.dcm")


def _destination(name: str, **rule: object) -> DicomDestination:
    return DicomDestination(
        name=name, ae_title="PEER", host="127.0.0.1", port=104, rule=Rule.model_validate(rule)
    )


def test_without_a_rule_everything_goes_everywhere_in_order() -> None:
    both = (_destination("a"), _destination("b"))
    assert sends_to(both, "ok", "MR", (SEG, SR)) == (("a", SEG), ("a", SR), ("b", SEG), ("b", SR))


@pytest.mark.parametrize(
    ("rule", "status", "calling", "expected"),
    [
        ({"objects": ("sr",)}, "ok", "MR", (SR,)),
        ({"objects": ()}, "ok", "MR", ()),
        ({"statuses": ("ok",)}, "indeterminate", "MR", ()),
        ({"statuses": ("ok",)}, "ok", "MR", (SEG, SR)),
        ({}, "unsuitable input", "MR", (SR,)),
        ({"objects": ("seg",)}, "unsuitable input", "MR", ()),
        ({"objects_of": {"unsuitable input": ("seg", "sr")}}, "unsuitable input", "MR", (SEG, SR)),
        ({"objects_of": {"indeterminate": ("sr",)}}, "indeterminate", "MR", (SR,)),
        ({"calling": ("MR1",)}, "ok", "MR2", ()),
        ({"calling": ("MR1",)}, "ok", "MR1 ", (SEG, SR)),
    ],
)
def test_rule(
    rule: dict[str, object], status: ResultStatus, calling: str, expected: tuple[Made, ...]
) -> None:
    assert sends_to((_destination("a", **rule),), status, calling, (SEG, SR)) == tuple(
        ("a", made) for made in expected
    )


def test_an_object_goes_once_however_often_it_is_listed() -> None:
    assert sends_to((_destination("a"),), "ok", "MR", (SEG, SEG)) == (("a", SEG),)
