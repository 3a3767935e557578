"""The documents keep up with the program: links exist, and every command is told about."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_exists(document: Path) -> None:
    for target in LINK.findall(document.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "run",
        "phantom",
        "cohort check",
        "train segment",
        "train signature",
        "train classifier",
        "evaluate",
        "export nnunet",
        "export bundle",
        "radiomics conformance",
        "segment",
        "selftest",
        "doctor",
        "bundle inspect",
        "serve",
        "queue",
        "send",
        "echo",
        "audit",
        "deidentify",
        "tui",
        "bench run",
        "bench appliance",
        "bench tui",
        "bench scale",
        "bench make-image",
        "bench make-model",
        "bench compare",
        "bench report",
        "bench peers",
        "bench parity",
        "bench install",
    ],
)
def test_every_command_is_in_a_document(command: str) -> None:
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    assert f"scanside {command}" in text


def test_the_two_commands_of_the_readme_are_make_targets() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["demo", "test"] and set(commands) <= set(targets)


def test_the_exactness_policy_in_the_documents_is_the_one_in_the_code() -> None:
    from scanside.runtime.golden import APPROXIMATE, EXACT

    text = (ROOT / "docs" / "exactness.md").read_text()
    assert f"within {EXACT.margin:g} of each other" in text
    assert f"at most {EXACT.fraction:.0e}".replace("e-0", "e-") in text and f"(or {EXACT.floor}," in text
    assert f"margin of {APPROXIMATE.margin:g}" in text and f"(or {APPROXIMATE.floor})" in text
    assert f"at least {APPROXIMATE.dice:g}" in text
