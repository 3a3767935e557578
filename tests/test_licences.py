"""The licence check finds what it is for."""

import importlib.util
from email.message import Message
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.requirement("licences")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ROOT / ".ci" / "licences.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def package(name: str, **fields: str) -> Any:
    metadata = Message()
    metadata["Name"] = name
    for key, value in fields.items():
        metadata[key.replace("_", "-")] = value
    return SimpleNamespace(metadata=metadata, version="1")


def test_nothing_in_the_product_has_a_licence_that_it_may_not_have(licences: ModuleType) -> None:
    assert licences.problems() == []
    names = {one.metadata["Name"].lower() for one in licences.extras()["appliance"]}
    assert {"numpy", "pydicom", "pynetdicom"} <= names


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("MIT", False),
        ("BSD-3-Clause", False),
        ("Apache-2.0 OR MIT", False),
        ("LGPL-2.1-or-later", False),
        ("GPL-3.0-only", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0", True),
        ("European Union Public Licence 1.2 (EUPL 1.2)", True),
        ("Other/Proprietary License", True),
        ("", True),
    ],
)
def test_a_licence_is_judged_by_its_words(
    licences: ModuleType, monkeypatch: pytest.MonkeyPatch, words: str, refused: bool
) -> None:
    found = [package("thing", License_Expression=words)]
    monkeypatch.setattr(licences, "extras", lambda: {"cpu": found})
    assert bool(licences.problems()) == refused
