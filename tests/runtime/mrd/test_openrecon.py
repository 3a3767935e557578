"""Packages for OpenRecon: their label fits the schema itself, and faults of others are found."""

import base64
import copy
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from scanside.runtime import open_bundle
from scanside.runtime.errors import UsageError
from scanside.runtime.mrd.console import Console, read_console
from scanside.runtime.mrd.openrecon.fire import Package
from scanside.runtime.mrd.openrecon.label import Label
from scanside.runtime.mrd.openrecon.lint import lint
from scanside.runtime.mrd.openrecon.package import label_of, one_channel_roles, write_package
from scanside.training.demo import BUNDLE
from tests.runtime.cli.conftest import Command, scanside  # noqa: F401 - a fixture
from tests.support.reference_mrd import openrecon_schema

LABEL = label_of(open_bundle(BUNDLE), Package("Scanside", "research", "1.2.3"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("package") / "openrecon"
    write_package(open_bundle(BUNDLE), Package("Scanside", "research", "1.2.3"), out)
    return out


def test_a_package_holds_its_bundle_and_has_no_fault(package: Path) -> None:
    assert lint(package) == [] and lint(package / "OpenReconLabel.json") == []
    assert open_bundle(package / "bundle").sha256 == open_bundle(BUNDLE).sha256
    docker = (package / "Dockerfile").read_text()
    encoded = re.search(r'metadata:1\.1\.0"="([^"]+)"', docker)
    assert encoded and json.loads(base64.b64decode(encoded[1])) == json.loads(LABEL.text())
    workflow = ElementTree.parse(package / "wip_070_fire_Scanside.xml").getroot()
    assert (
        workflow.findtext("{OpenRecon}Marshal/{OpenRecon}IniFile") == r"%CustomerIceProgs%\fire\Scanside.ini"
    )
    for file in package.glob("*.*"):
        assert file.suffix not in (".txt", ".xml") or "ever built" in file.read_text(), file


def test_what_the_console_shows_is_what_the_server_reads(package: Path) -> None:
    text = (package / "fire" / "config" / "wip_070_fire_Scanside.json").read_text()
    console, strange = read_console(text)
    assert not strange and console == Console(segmenter=console.segmenter)
    usable = one_channel_roles(open_bundle(BUNDLE))
    assert usable == ("t2w",) and console.segmenter is None, (
        "there is nothing to choose: DWI takes its ADC map too"
    )
    assert {one.id for one in LABEL.parameters} <= {*Console.model_fields, "config"}


def test_the_command_of_the_container_is_one_of_ours(package: Path, scanside: Command) -> None:  # noqa: F811
    docker = (package / "Dockerfile").read_text()
    words = json.loads(re.findall(r"^CMD (\[.*\])", docker, re.MULTILINE)[0])
    assert words[:3] == ["scanside", "mrd", "serve"]
    help_text = scanside("mrd", "serve", "--help").out
    for option in [word for word in words if word.startswith("--")]:
        assert option in help_text, option


Path_ = tuple[Any, ...]


def places(value: Any, here: Path_ = ()) -> list[Path_]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, one in inside for place in places(one, (*here, key)))]


PLACES = places(json.loads(LABEL.text()))[1:]
VALUES = st.sampled_from(
    [None, "", "x", 1, -1, 1.5, True, [], {}, {"en": "a"}, {"en": 3}, "RESEARCH", "raw", 10**12]
)


def changed(place: Path_, value: Any, how: str) -> Any:
    document = copy.deepcopy(json.loads(LABEL.text()))
    parent = document
    for key in place[:-1]:
        parent = parent[key]
    if how == "drop":
        del parent[place[-1]]
    elif how == "add" and isinstance(parent, dict):
        parent["unknown"] = value
    else:
        parent[place[-1]] = value
    return document


@settings(max_examples=100)
@given(st.sampled_from(PLACES), VALUES, st.sampled_from(["drop", "set", "add"]))
def test_the_records_refuse_what_the_schema_refuses(place: Path_, value: Any, how: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(openrecon_schema().read_text())
    document = changed(place, value, how)
    allowed = jsonschema.Draft7Validator(schema).is_valid(document)
    try:
        Label.model_validate(document)
    except ValidationError:
        mine = False
    else:
        mine = True
    assert allowed or not mine, (place, value, how)


def test_labels_that_are_on_scanners_are_read_as_the_schema_reads_them() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    file = openrecon_schema()
    validator = jsonschema.Draft7Validator(json.loads(file.read_text()))
    assert validator.is_valid(json.loads(LABEL.text()))
    found = sorted(file.parent.glob("*/OpenReconLabel.json"))
    assert len(found) > 5
    for one in found:
        text = one.read_text().replace("VERSION_WILL_BE_REPLACED_BY_SCRIPT", "1.0.0")
        try:
            Label.model_validate_json(text)
        except ValidationError as error:
            assert not validator.is_valid(json.loads(text)), (one, error)
        else:
            assert validator.is_valid(json.loads(text)), one


def parameters(*more: dict[str, Any]) -> dict[str, Any]:
    document = json.loads(LABEL.text())
    document["parameters"] += more
    return dict(document)


WORDS = {"en": "x"}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (
            parameters({"type": "boolean", "id": "contours", "label": WORDS, "default": True}),
            "called contours",
        ),
        (
            parameters(
                {
                    "type": "choice",
                    "id": "a",
                    "label": WORDS,
                    "default": "b",
                    "values": [{"id": "c", "name": WORDS}],
                }
            ),
            "default of a is 'b'",
        ),
        (
            parameters({"type": "int", "id": "n", "label": WORDS, "minimum": 1, "maximum": 2, "default": 3}),
            "not from 1 to 2",
        ),
        (parameters({"type": "boolean", "id": "a_b", "label": WORDS, "default": True}), "pattern"),
        (
            parameters(*({"type": "string", "id": f"p{n}", "label": WORDS} for n in range(12))),
            "parameters",
        ),
        ({**parameters(), "parameters": []}, "called config"),
    ],
)
def test_lint_names_the_fault(tmp_path: Path, document: dict[str, Any], words: str) -> None:
    file = tmp_path / "OpenReconLabel.json"
    file.write_text(json.dumps(document))
    found = lint(file)
    assert any(words in one for one in found), found
    assert all(one.endswith(".") and "\n" not in one for one in found)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("LABEL ", "LABEL wrong=1 # ", "has no label"),
        ('metadata:1.1.0"="', 'metadata:1.1.0"="e30=" "x"="', "write the package again"),
        ("EXPOSE", "USER nobody\nEXPOSE", "needs root"),
        ("linux/amd64", "linux/arm64", "linux/amd64"),
        ('"9002"', '"9003"', "port 9002"),
    ],
)
def test_lint_reads_the_dockerfile(package: Path, tmp_path: Path, old: str, new: str, words: str) -> None:
    (tmp_path / "OpenReconLabel.json").write_text((package / "OpenReconLabel.json").read_text())
    (tmp_path / "Dockerfile").write_text((package / "Dockerfile").read_text().replace(old, new))
    assert [words in one for one in lint(tmp_path)] == [True]


def test_the_commands_write_and_lint_a_package(tmp_path: Path, scanside: Command) -> None:  # noqa: F811
    out = tmp_path / "made"
    done = scanside("mrd", "package", str(BUNDLE), "-o", str(out), "--name", "Pancreas")
    assert done.code == 0 and "never run on a scanner" in done.err, done.err
    assert scanside("mrd", "lint", str(out)).code == 0
    (out / "fire" / "Pancreas.ini").write_text("[OpenRecon]\nport=1\n")
    found = scanside("mrd", "lint", str(out))
    assert found.code == 1 and "says port '1'" in found.out
    assert scanside("mrd", "package", str(BUNDLE), "-o", str(out)).code != 0


def test_names_that_openrecon_refuses_are_refused() -> None:
    with pytest.raises(UsageError, match="letters and digits"):
        label_of(open_bundle(BUNDLE), Package("my tool", "research"))
