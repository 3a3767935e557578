"""The trace of requirements holds together, and each way in which it could not is found."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def evidence() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / ".ci"))
    try:
        spec = importlib.util.spec_from_file_location("evidence", ROOT / ".ci" / "evidence.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(ROOT / ".ci"))


def test_the_trace_holds_together_and_its_pages_are_fresh(evidence: ModuleType) -> None:
    trace, tests = evidence.read_trace(), evidence.marked()
    assert evidence.faults(trace, tests) == []
    for name, text in evidence.pages(trace, tests).items():
        assert (evidence.FOLDER / name).read_text() == text, f"{name} is stale; run `make evidence`"


def test_no_page_claims_what_nobody_has_assessed(evidence: ModuleType) -> None:
    for path in evidence.FOLDER.iterdir():
        assert "complian" not in path.read_text().lower(), path.name


def without_test(trace: Any, tests: dict[str, Any]) -> Any:
    del tests["audit"]
    return trace


def unknown_requirement(trace: Any, tests: dict[str, Any]) -> Any:
    tests["no such"] = ("tests/test_x.py",)
    return trace


def uncontrolled(trace: Any, tests: dict[str, Any]) -> Any:
    first, *others = trace.risks
    return trace.model_copy(update={"risks": (first.model_copy(update={"controls": ()}), *others)})


def controlled_by_nothing(trace: Any, tests: dict[str, Any]) -> Any:
    first, *others = trace.risks
    return trace.model_copy(update={"risks": (first.model_copy(update={"controls": ("hope",)}), *others)})


def forgotten_kind(trace: Any, tests: dict[str, Any]) -> Any:
    threats = {door: dict(kinds) for door, kinds in trace.threats.items()}
    del threats["MRD"]["tampering"]
    return trace.model_copy(update={"threats": threats})


def forgotten_door(trace: Any, tests: dict[str, Any]) -> Any:
    return trace.model_copy(update={"doors": (*trace.doors, "FHIR")})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_test, "'audit' has no test"),
        (unknown_requirement, "names 'no such'"),
        (uncontrolled, "has no mitigation"),
        (controlled_by_nothing, "names 'hope'"),
        (forgotten_kind, "tampering at the door MRD"),
        (forgotten_door, "at the door FHIR"),
    ],
)
def test_what_does_not_hold_together_is_found(
    evidence: ModuleType, change: Callable[[Any, dict[str, Any]], Any], words: str
) -> None:
    tests = dict(evidence.marked())
    changed = change(evidence.read_trace(), tests)
    assert any(words in sentence for sentence in evidence.faults(changed, tests))


@pytest.mark.parametrize("threat", [{}, {"text": "x"}, {"text": "x", "controls": ["audit"], "accepted": "y"}])
def test_a_threat_is_answered_in_one_way(evidence: ModuleType, threat: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a threat has a text and controls"):
        evidence.Threat.model_validate(threat)


def test_markers_are_read_from_source(evidence: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        'pytestmark = [pytest.mark.requirement("one", "two"), pytest.mark.slow]\n'
        '@pytest.mark.requirement("three")\ndef test_x(): ...\n'
        '@pytest.mark.slow\n@pytest.mark.requirement("one")\nclass TestY: ...\n'
    )
    assert evidence.marked(tmp_path / "tests") == {
        "one": ("tests/test_a.py", "tests/test_a.py::TestY"),
        "two": ("tests/test_a.py",),
        "three": ("tests/test_a.py::test_x",),
    }


def test_results_are_counted_by_requirement(evidence: ModuleType, tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    junit.write_text(
        '<testsuites><testsuite><testcase classname="tests.test_a" name="test_x[1]"/>'
        '<testcase classname="tests.test_a" name="test_x[2]"><failure/></testcase>'
        '<testcase classname="tests.test_a" name="test_z"><skipped/></testcase>'
        '<testcase classname="tests.test_a.TestY" name="test_w"/></testsuite></testsuites>'
    )
    tests = {
        "audit": ("tests/test_a.py::test_x",),
        "parity": ("tests/test_a.py",),
        "once": ("tests/test_a.py::TestY",),
    }
    page = evidence.results(evidence.read_trace(), tests, junit)
    assert "| audit | 1 | 0 | 1 |" in page and "| parity | 2 | 1 | 1 |" in page
    assert "| once | 1 | 0 | 0 |" in page
    assert "| backup | **none ran** | 0 | 0 |" in page
