"""Figures in the documents are those of the results files, and no figure stands in the README beside them."""

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documents' scripts lie beside the documents."""
    monkeypatch.syspath_prepend(ROOT / "docs")


@pytest.fixture
def script(scripts: None) -> ModuleType:
    return importlib.import_module("render_figures")


def test_every_document_is_as_the_script_writes_it(script: ModuleType) -> None:
    values, documents = script.figures(), script.documents()
    assert {"README.md", "benchmarks.md", "study.md"} <= {path.name for path in documents}
    for path in documents:
        assert path.read_text() == script.render(path.read_text(), values), f"run `make figures`: {path.name}"


def test_every_template_is_used(script: ModuleType) -> None:
    used = {
        name for path in script.documents() for name in re.findall(r"figures: ([\w-]+)", path.read_text())
    }
    assert used == {path.stem for path in script.TEMPLATES.glob("*.md")}


def test_the_demonstrations_patients_were_measured_with_its_bundle() -> None:
    from scanside.training.demo import BUNDLE
    from scanside.training.phantom import VERSION

    found = importlib.import_module("results_files").read("demo/demo.json")
    assert found["bundle_created"] == json.loads((BUNDLE / "bundle.json").read_text())["created"]
    assert found["phantom_version"] == VERSION
    assert [case["seed"] for case in found["cases"]] == [2026, *range(1, 10)], "nobody is left out"


def test_a_demonstrations_patient_is_shown_as_it_was() -> None:
    module = importlib.import_module("figures_of_study")
    truth = {
        "diagnosis": "PNEN",
        "size_mm": 17.6,
        "place": "tail",
        "age": 51.2,
        "sex": "F",
        "scanner": "beta-3t",
    }
    missed = {"status": "no lesion segmented", "reason": "None on T2WI.", "probability": None}
    case = {"seed": 4, "truth": {**truth, "dice": {"t2w": 0.0}}, "answer": missed}
    assert module._patient(case) == (
        "| 4 | PNEN, 18 mm, tail; 51 years, F; beta-3t | 0.00 | – | **no lesion segmented**: None on T2WI. |"
    )
    assert module._named(missed) is None
    wrong = {"status": "ok", "reason": None, "probability": {"predicted": "PDAC"}}
    assert module._named(wrong) is True


def test_a_changed_figure_is_written_into_its_block_alone(
    script: ModuleType, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(script, "TEMPLATES", tmp_path)
    (tmp_path / "speed.md").write_text("It takes {time}.\n")
    text = "before 1 s\n<!-- figures: speed -->\nold\n<!-- /figures -->\nafter 1 s\n"
    assert script.render(text, {"time": "2 s"}) == text.replace("old", "It takes 2 s.")
    with pytest.raises(KeyError, match="time"):
        script.render(text, {})


def test_a_disturbed_run_is_not_quoted(tmp_path: Path, monkeypatch: Any) -> None:
    script = importlib.import_module("results_files")
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"headline": False, "remarks": ["It was disturbed."]}))
    with pytest.raises(script.NotToBeQuotedError, match="It was disturbed"):
        script.read("run.json")


def test_rounds_that_differ_in_what_is_shown_are_shown_from_the_lowest_to_the_highest() -> None:
    files = importlib.import_module("results_files")
    assert files.spread([198.0, 170.6], files.seconds) == "171–198\N{NO-BREAK SPACE}s"
    assert files.spread([66.075, 66.064], files.seconds) == "66.1\N{NO-BREAK SPACE}s"
    assert files.spread([7112.8, 2808.5], files.mebibytes) == "2808–7113\N{NO-BREAK SPACE}MiB"
    assert files.spread([12.3, 9.5], files.times) == "9.5–12\N{NO-BREAK SPACE}×"


def test_the_page_says_of_every_quoted_run_whether_it_was_disturbed() -> None:
    rows = dict(importlib.import_module("figures_of_peers").runs())["runs"].splitlines()
    for row in rows:
        [name] = re.findall(r"results/benchmarks/([\w-]+)\.", row)
        found = json.loads((ROOT / f"results/benchmarks/{name}.json").read_text())
        assert row.endswith("| yes |" if found["remarks"] else "| no |"), name
        assert f"| {found['versions']['scanside']} | {found['created'][:10]} |" in row


MEASURED = re.compile(r"\d[\d.,]*\s?(?:×|s\b|ms\b|[KMG]i?B\b|%|voxels|times\b|studies)")


def test_the_readme_holds_no_figure_outside_its_blocks() -> None:
    text = re.sub(r"(?s)<!-- figures: .*?<!-- /figures -->|```.*?```", "", (ROOT / "README.md").read_text())
    assert not MEASURED.findall(text)
    assert MEASURED.findall("It takes 2.5 s, 3 × less, 12 MiB, 40 %.")  # the pattern finds what it is for


def test_the_readme_is_short_and_reads_well() -> None:
    """At most 120 lines, 900 words, and no sentence over 30 words."""
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120 and len(text.split()) <= 900
    prose = re.sub(r"(?s)<!--.*?-->|```.*?```", "", text)
    prose = re.sub(r"(?m)^(?:    .*|#.*|>\s*\[!.*)$", "\n", prose)
    prose = re.sub(r"\]\([^)]*\)", "]", prose)
    for paragraph in re.split(r"\n\s*\n|\n- ", prose):
        for sentence in re.split(r"(?<=[.:;?!])\s+", paragraph):
            assert len(sentence.split()) <= 30, sentence
