"""The documents keep up with the program: links, commands and options exist, and every command is told about."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from scanside.runtime.cli.main import app

ROOT = Path(__file__).parents[1]
FOLDERS = ("", "docs/**/", "benchmarks/", "results/*/")
DOCUMENTS = [
    document
    for folder in FOLDERS
    for document in ROOT.glob(f"{folder}*.md")
    if document.parent.name != "figures"
]
LINK = re.compile(r"\]\(([^)#\s]+)?(?:#([^)]*))?\)")


every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+ (.*)", document.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_every_relative_link_exists(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text()):
        if not target.startswith(("http://", "https://")):
            file = document.parent / target if target else document
            assert file.exists(), f"{document.name} links to {target}"
            assert not anchor or anchor in anchors(file), f"{document.name} links to {target}#{anchor}"


def test_every_module_that_the_maps_name_exists() -> None:
    """A map named a module that had long had another name."""
    parts = ("runtime", "export", "training", "tui", "benchmarks", "tests")
    there = [f"/{file.relative_to(ROOT)}" for part in parts for file in (ROOT / part).rglob("*.py")]
    named = []
    for shown in re.findall(r"`([\w…/.{},-]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text()):
        before, _, rest = shown.partition("{")
        choices, _, after = rest.partition("}")
        named += [f"{before}{choice}{after}" for choice in choices.split(",")]
    assert len(named) > 150
    for name in named:
        *folders, file = name.replace("…/", "").split("/")
        ways = [path for path in there if path.endswith(f"/{file}")]
        assert any(all(f"/{folder}/" in path for folder in folders) for path in ways), name


def commands(text: str) -> Iterator[list[str]]:
    """The words after `scanside` wherever it is called: in indented or fenced lines and between backticks."""
    text = text.replace("\\\n", " ")
    code = re.findall(r"(?m)^    (.*)", text) + re.findall(r"`([^`\n]+)`", text)
    for line in code:
        for call in re.split(r"&&|;|\||\s#|\s>", line):
            words = call.removeprefix("$").removeprefix("sudo -u scanside").strip("[] ").split()
            if len(words) > 1 and words[0].rpartition("/")[2] == "scanside":
                yield words[1:]


program = cache(lambda: typer.main.get_command(app))


@cache
def command_below(command: Any, word: str) -> Any:
    """Made once: there are hundreds of commands in the documents."""
    return command.get_command(None, word) or getattr(command, "usual", None)


@every_document
def test_every_command_that_is_shown_parses(document: Path) -> None:
    for words in commands(document.read_text()):
        command: Any = program()
        for word in words:
            if not hasattr(command, "get_command") or word.startswith("-"):
                break
            below = command_below(command, word)
            assert below is not None, f"{document.name}: there is no {' '.join(words)}"
            command = below
        command = getattr(command, "usual", command)
        known = {
            option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        given = {word.strip("[]").split("=")[0] for word in words if re.match(r"\[?--?[a-z]", word)}
        assert given <= known | {"--help"}, f"{document.name}: scanside {' '.join(words)}"


INSTRUCTIONS = [path for path in DOCUMENTS if path.parent != ROOT and "results" not in path.parts]


@pytest.mark.parametrize("document", INSTRUCTIONS, ids=lambda path: path.name)
def test_no_document_installs_from_an_index_that_does_not_have_the_package(document: Path) -> None:
    """`pip install 'scanside[cpu]'` names a package that nobody has published; a checkout's `.` works."""
    assert not re.search(r"pip install (--\S+ )*'?scanside\[", document.read_text())


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
        "merge",
        "selftest",
        "doctor",
        "bundle inspect",
        "serve",
        "queue",
        "send",
        "echo",
        "audit",
        "deidentify",
        "keys new",
        "keys show",
        "bundle sign",
        "store backup",
        "store restore",
        "store verify",
        "mrd serve",
        "mrd send",
        "mrd package",
        "mrd lint",
        "export triton",
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
        "bench gpu",
    ],
)
def test_every_command_is_in_a_document(command: str) -> None:
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    assert f"scanside {command}" in text


def test_the_two_commands_of_the_readme_are_make_targets() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = re.findall(r"^    make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["demo", "test"] and set(commands) <= set(targets)


def test_every_report_knows_every_precision_and_no_other() -> None:
    """Of every report that names one: int8 was obtained and its report refused by two of them."""
    from scanside.runtime.backends.table import PRECISIONS
    from scanside.runtime.cli.schema import record_of
    from scanside.runtime.record import json_schema

    for name in ("result", "segment", "doctor"):
        text = json.dumps(json_schema(record_of(name)))
        lists = [json.loads(f"[{names}]") for names in re.findall(r'"enum": \[("fp32"[^]]*)\]', text)]
        assert lists and all(names == list(PRECISIONS) for names in lists), name


def test_what_the_documents_say_that_the_demonstration_holds() -> None:
    """docs/engines.md said so of a bundle that no longer was."""
    from scanside.runtime.bundle import open_bundle

    manifest = open_bundle(ROOT / "training/scanside/training/data/pancreas-phantom.bundle").manifest
    networks = [network for segmenter in manifest.segmenters.values() for network in segmenter.networks]
    [kinds] = {tuple(sorted(network.files)) for network in networks}
    text = (ROOT / "docs" / "engines.md").read_text()
    assert f"The demonstration's bundle holds {' and '.join(kinds)}." in text
    assert len(networks) == 6 and "the demonstration's six networks" in text


def test_the_exactness_policy_in_the_documents_is_the_one_in_the_code() -> None:
    from scanside.runtime.golden import APPROXIMATE, EXACT

    text = (ROOT / "docs" / "exactness.md").read_text()
    assert f"within {EXACT.margin:g} of each other" in text
    assert f"at most {EXACT.fraction:.0e}".replace("e-0", "e-") in text and f"(or {EXACT.floor}," in text
    assert f"margin of {APPROXIMATE.margin:g}" in text and f"(or {APPROXIMATE.floor})" in text
    assert f"at least {APPROXIMATE.dice:g}" in text


def test_the_sentences_of_the_troubleshooting_page_are_those_of_the_program() -> None:
    parts = ("runtime", "export", "training", "tui")
    source = "\n".join(file.read_text() for part in parts for file in (ROOT / part).rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # sentences that stand in several literals
    rows = re.findall(r"(?m)^\| (.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text())
    phrases = [phrase for row in rows for phrase in re.findall(r"`([^`]+)`", row)]
    assert len(phrases) > 12
    assert not [phrase for phrase in phrases if phrase not in source]


def test_the_configurations_of_the_tutorials_are_valid(tmp_path: Path) -> None:
    from scanside.runtime.appliance.config import load_config

    found = [
        block
        for page in (ROOT / "docs" / "tutorials").glob("*.md")
        for block in re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    assert found
    for text in found:
        (tmp_path / "scanside.toml").write_text(text)
        load_config(tmp_path / "scanside.toml")
