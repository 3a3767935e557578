"""`scanside keys` and `scanside bundle sign`: from a new key to a bundle that an appliance takes."""

import json
import tomllib
from pathlib import Path

import pytest

from scanside.runtime.bundle import open_bundle
from scanside.runtime.trust import Trust, judge
from tests.runtime.cli.conftest import Command
from tests.runtime.study.tiny_study import write_bundle
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("bundle-trusted")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "tiny.bundle")


def test_the_printed_line_is_a_trusted_key(scanside: Command, bundle: Path, tmp_path: Path) -> None:
    made = scanside("keys", "new", "physics", "-o", tmp_path)
    assert made.code == 0, made.err
    trust = Trust.model_validate(tomllib.loads(f"keys = [ {made.out.partition('#')[0]} ]"))
    assert trust.keys[0].name == "physics"
    key = tmp_path / "physics.key"
    assert scanside("bundle", "sign", bundle, "--key", key, "--signer", "Physics, Example Hospital").code == 0
    assert judge(open_bundle(bundle), trust).signer == "physics"
    told = scanside("bundle", "verify", bundle, "--key", trust.keys[0].key)
    assert told.code == 0 and "signed by Physics, Example Hospital" in told.err
    shown = json.loads(scanside("bundle", "inspect", bundle, "--json").out)["signatures"]
    assert [one["key"] for one in shown] == [trust.keys[0].key]
    assert scanside("keys", "show", tmp_path / "physics.pub").out == made.out
    assert scanside("keys", "show", key).out == made.out


def test_a_wanted_signature_that_is_not_there_ends_with_code_3(
    scanside: Command, bundle: Path, tmp_path: Path
) -> None:
    line = scanside("keys", "new", "physics", "-o", tmp_path).out
    found = scanside("bundle", "verify", bundle, "--key", tomllib.loads(f"x = {line}")["x"]["key"])
    assert found.code == 3 and "not signed by" in found.err
    assert_one_sentence(found.err.strip().removeprefix("scanside: "))


def test_what_is_not_whole_is_not_signed(scanside: Command, bundle: Path, tmp_path: Path) -> None:
    scanside("keys", "new", "physics", "-o", tmp_path)
    (bundle / "extra.txt").write_text("?")
    found = scanside("bundle", "sign", bundle, "--key", tmp_path / "physics.key")
    assert found.code == 3 and "extra.txt" in found.err
    assert not (bundle / "bundle.json.sig").exists()


def test_a_key_is_never_replaced(scanside: Command, tmp_path: Path) -> None:
    scanside("keys", "new", "physics", "-o", tmp_path)
    before = (tmp_path / "physics.key").read_bytes()
    assert scanside("keys", "new", "physics", "-o", tmp_path).code == 1
    (tmp_path / "physics.pub").unlink()
    assert scanside("keys", "new", "physics", "-o", tmp_path).code == 1
    assert (tmp_path / "physics.key").read_bytes() == before


def test_a_key_with_a_password(scanside: Command, bundle: Path, tmp_path: Path) -> None:
    word = tmp_path / "word"
    word.write_text("correct horse\n")
    assert scanside("keys", "new", "physics", "-o", tmp_path, "--password-file", word).code == 0
    key = tmp_path / "physics.key"
    refused = scanside("bundle", "sign", bundle, "--key", key)
    assert refused.code == 2 and "has a password" in refused.err
    assert scanside("bundle", "sign", bundle, "--key", key, "--password-file", word).code == 0


@pytest.mark.parametrize("name", ["a/b", ".hidden", " "])
def test_a_name_that_is_no_file_s(scanside: Command, tmp_path: Path, name: str) -> None:
    assert scanside("keys", "new", name, "-o", tmp_path).code == 2
