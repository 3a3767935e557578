"""Requirements ↔ risks ↔ threats ↔ tests: checks that they hold together, and makes pages. `make check` runs it.

    python .ci/evidence.py            # says what does not hold together, or which page is stale; exit code 1
    python .ci/evidence.py --write    # writes the pages of docs/evidence
    python .ci/evidence.py --results dist/junit.xml dist/scanside.cdx.json   # and what was found at this commit

Source: docs/evidence/trace.toml, and the marker `requirement` of tests, read without importing them.
"""

import ast
import json
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Self
from xml.etree import ElementTree

from licences import table  # beside this file
from pydantic import model_validator

from scanside.runtime.record import Record

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "evidence"
Severity = Literal["negligible", "minor", "serious", "critical", "catastrophic"]
Stride = Literal[
    "spoofing",
    "tampering",
    "repudiation",
    "information-disclosure",
    "denial-of-service",
    "elevation-of-privilege",
]
STRIDE: tuple[Stride, ...] = Stride.__args__  # type: ignore[attr-defined]
Tests = Mapping[str, tuple[str, ...]]
"""Requirement → `tests/path.py` or `tests/path.py::test_name`."""


class Risk(Record):
    """A risk in the form of ISO 14971; `controls` are requirements."""

    id: str
    hazard: str
    sequence: str
    harm: str
    severity: Severity
    controls: tuple[str, ...]
    residual: str


class Threat(Record):
    """One kind of threat at one door: controlled by requirements, or accepted with its reason."""

    text: str = ""
    controls: tuple[str, ...] = ()
    accepted: str = ""

    @model_validator(mode="after")
    def _answered(self) -> Self:
        if bool(self.accepted) == bool(self.text and self.controls):
            raise ValueError("a threat has a text and controls, or says why it is accepted")
        return self


class Trace(Record):
    """The whole file."""

    doors: tuple[str, ...]
    requirements: dict[str, str]
    risks: tuple[Risk, ...]
    threats: dict[str, dict[Stride, Threat]]


def read_trace(path: Path = FOLDER / "trace.toml") -> Trace:
    """The file, typed."""
    return Trace.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def marked(folder: Path = ROOT / "tests") -> Tests:
    """Which tests say of which requirement that they test it."""
    found = defaultdict[str, list[str]](list)
    for path in sorted(folder.rglob("test_*.py")):
        name = path.relative_to(folder.parent).as_posix()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and any(
                getattr(one, "id", "") == "pytestmark" for one in node.targets
            ):
                for word in _named(node.value):
                    found[word].append(name)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for word in (word for decorator in node.decorator_list for word in _named(decorator)):
                    found[word].append(f"{name}::{node.name}")
    return {word: tuple(tests) for word, tests in found.items()}


def _named(tree: ast.AST) -> Iterator[str]:
    """The words in `pytest.mark.requirement(…)`, wherever it stands in an expression."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "requirement"
        ):
            yield from (
                one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
            )


def faults(trace: Trace, tests: Tests) -> list[str]:
    """Everything that does not hold together, a sentence each."""
    known, found = set(trace.requirements), list[str]()
    found += [f"Requirement '{one}' has no test; mark one." for one in sorted(known - set(tests))]
    found += [
        f"{tests[one][0]} names '{one}', which is no requirement." for one in sorted(set(tests) - known)
    ]
    for twice in (name for name, count in Counter(risk.id for risk in trace.risks).items() if count > 1):
        found.append(f"Two risks are called '{twice}'.")
    for risk in trace.risks:
        if not risk.controls:
            found.append(f"Risk '{risk.id}' has no mitigation; name a requirement.")
        found += [
            f"Risk '{risk.id}' names '{one}', which is no requirement."
            for one in risk.controls
            if one not in known
        ]
    for door in trace.doors:
        kinds = trace.threats.get(door, {})
        found += [f"Nobody thought of {kind} at the door {door}." for kind in STRIDE if kind not in kinds]
        for kind, threat in kinds.items():
            names = [one for one in threat.controls if one not in known]
            found += [f"Threat {kind} at {door} names '{one}', which is no requirement." for one in names]
    found += [
        f"Threats name the door '{one}', which is not listed."
        for one in trace.threats
        if one not in trace.doors
    ]
    return found


def pages(trace: Trace, tests: Tests) -> dict[str, str]:
    """File name → page."""
    counts = f"{len(trace.requirements)} requirements, {len(trace.risks)} risks, {len(trace.doors)} doors"
    index = f"""# Evidence

What the program promises, what could go wrong, and which test shows each promise: {counts}. The form is that of
ISO 14971, and words of IEC 62304 are used where they fit, so that a site can find its way. Scanside is **research use
only** and no medical device; nobody has assessed it against these standards.

- [Requirements and their tests](requirements.md)
- [Risks and what controls them](risks.md)
- [Threats at each door](threats.md), by STRIDE

`make evidence` runs the tests that are named here. It writes into `dist/evidence/` what the tests of each requirement
said at that commit, everything that an installation brings (CycloneDX 1.6), and the licences by extra; `make docs` then
makes pages of them. `make check` refuses a requirement without a test, and a risk or a threat without an answer.
Source: [trace.toml](trace.toml), and the marker `requirement` in the tests.
"""
    risks = "\n".join(_risk(risk) for risk in trace.risks)
    return {
        "index.md": _made(index),
        "requirements.md": _made(f"# Requirements and their tests\n\n{_requirements(trace, tests)}"),
        "risks.md": _made(f"# Risks and what controls them\n\n{risks}"),
        "threats.md": _made(f"# Threats at each door\n\n{_threats(trace)}"),
    }


def _made(text: str) -> str:
    return f"<!-- Made by `make evidence` from trace.toml and the tests' markers. -->\n{text.rstrip()}\n"


def _requirements(trace: Trace, tests: Tests) -> str:
    parts = []
    for name, text in trace.requirements.items():
        shown = "\n".join(f"- `{one}`" for one in tests.get(name, ()))
        parts.append(f"## {name}\n\n{text}\n\n{shown}\n")
    return "\n".join(parts)


def _risk(risk: Risk) -> str:
    controls = ", ".join(f"[{one}](requirements.md#{one})" for one in risk.controls)
    rows = {"hazard": risk.hazard, "sequence": risk.sequence, "harm": risk.harm, "severity": risk.severity,
            "controlled by": controls, "what is left": risk.residual}  # fmt: skip
    body = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    return f"## {risk.id}\n\n| | |\n|---|---|\n{body}\n"


def _threats(trace: Trace) -> str:
    parts = []
    for door in trace.doors:
        lines = [f"## {door}\n", "| kind | threat | answer |", "|---|---|---|"]
        for kind in STRIDE:
            threat = trace.threats[door][kind]
            controls = ", ".join(f"[{one}](requirements.md#{one})" for one in threat.controls)
            answer = controls or f"accepted: {threat.accepted}"
            lines.append(f"| {kind.replace('-', ' ')} | {threat.text or '–'} | {answer} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def results(trace: Trace, tests: Tests, junit: Path) -> str:
    """What each requirement's tests said in a run."""
    said = defaultdict[str, Counter[str]](Counter)
    for case in ElementTree.parse(junit).getroot().iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if kinds else "passed"
        parts, name = (case.get("classname") or "").split("."), (case.get("name") or "").partition("[")[0]
        group = parts.pop() if parts[-1].startswith("Test") else name
        module = "/".join(parts) + ".py"
        for key in (module, f"{module}::{group}"):
            said[key][outcome] += 1
    lines = [
        f"# Results at {_commit()}\n",
        "| requirement | passed | skipped | failed |",
        "|---|---|---|---|",
    ]
    for name in trace.requirements:
        total = sum((said[one] for one in tests.get(name, ())), Counter[str]())
        mark = "**none ran**" if not total else str(total["passed"])
        lines.append(f"| {name} | {mark} | {total['skipped']} | {total['failed']} |")
    return "\n".join(lines) + "\n"


def _commit() -> str:
    asked = ("git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12")
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def brought(bill: Path) -> str:
    """The bill of materials as a table, and the licences by extra."""
    components = json.loads(bill.read_text(encoding="utf-8"))["components"]
    rows = sorted((one["name"], one.get("version", "")) for one in components)
    listed = "\n".join(f"| {name} | {version} |" for name, version in rows)
    head = f"# What an installation brings\n\n{len(rows)} packages, from `{bill.name}` (CycloneDX 1.6)."
    return f"{head}\n\n| package | version |\n|---|---|\n{listed}\n\n# Licences by extra\n\n{table()}\n"


def main(arguments: list[str]) -> int:
    """Check, or write; returns the exit code."""
    trace, tests = read_trace(), marked()
    wrong = faults(trace, tests)
    if not wrong:
        made = pages(trace, tests)
        if arguments[:1] in (["--write"], ["--results"]):
            for name, text in made.items():
                (FOLDER / name).write_text(text, encoding="utf-8")
        stale = [name for name, text in made.items() if not _is(FOLDER / name, text)]
        wrong += [f"docs/evidence/{name} is stale; run `make evidence`." for name in stale]
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if arguments[:1] == ["--results"] and not wrong:
        if absent := [one for one in arguments[1:] if not Path(one).is_file()]:
            print(f"{absent[0]} is not there; run `make evidence`.", file=sys.stderr)
            return 1
        out = ROOT / "dist" / "evidence"
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.md").write_text(results(trace, tests, Path(arguments[1])), encoding="utf-8")
        (out / "brought.md").write_text(brought(Path(arguments[2])), encoding="utf-8")
    return 1 if wrong else 0


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
