import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.cli.conftest import Command
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("bundle-whole")


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy.bundle"))


def edit(copy: Path, **changes: Any) -> None:
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps({**manifest, **changes}))


def test_inspect_tells_what_is_inside(scanside: Command, bundle: Path) -> None:
    facts = scanside("bundle", "inspect", bundle, "--json").json
    assert facts["segmenters"]["3d_fullres"]["folds"] == ["0", "1"]
    assert facts["segmenters"]["3d_fullres"]["precisions"] == ["fp32", "mixed"]
    assert facts["golden"] == ["synthetic-tiles", "synthetic-small"]
    assert "cpu fp32: 0 of" in facts["parity"]
    words = scanside("bundle", "inspect", bundle)
    assert words.code == 0 and facts["sha256"] in words.out


def test_verify_passes_an_untouched_bundle(scanside: Command, bundle: Path) -> None:
    done = scanside("bundle", "verify", bundle, "--json")
    assert done.code == 0 and done.json["status"] == "ok"


def tamper_network(copy: Path) -> None:
    network = copy / "segmenters" / "3d_fullres" / "1.onnx"
    content = bytearray(network.read_bytes())
    content[len(content) // 2] ^= 1
    network.write_bytes(content)


def truncate_network(copy: Path) -> None:
    network = copy / "segmenters" / "3d_fullres" / "0.onnx"
    network.write_bytes(network.read_bytes()[:-10])


DAMAGE = {
    "tampered network": (tamper_network, "1.onnx"),
    "truncated network": (truncate_network, "0.onnx"),
    "missing network": (lambda copy: (copy / "segmenters/3d_fullres/0.onnx").unlink(), "0.onnx"),
    "no manifest": (lambda copy: (copy / "bundle.json").unlink(), "bundle.json"),
    "truncated manifest": (lambda copy: (copy / "bundle.json").write_text('{"schema": 1, "na'), "JSON"),
    "newer schema": (lambda copy: edit(copy, schema=99), "upgrade"),
    "unknown field": (lambda copy: edit(copy, surprise=1), "surprise"),
    "path outside": (lambda copy: edit(copy, files={"../x": {"sha256": "0" * 64, "bytes": 1}}), "inside"),
    "no schema": (lambda copy: (copy / "bundle.json").write_text("{}"), "schema"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_before_the_first_case(
    scanside: Command, copy: Path, write_image: Any, tmp_path: Path, name: str
) -> None:
    damage, word = DAMAGE[name]
    damage(copy)
    source = write_image(tmp_path / "x.nii.gz")
    for arguments in (
        ("bundle", "verify", copy),
        ("segment", copy, source, "-o", tmp_path / "out", "--device", "cpu"),
    ):
        done = scanside(*arguments)
        assert done.code == 3 and not done.out
        assert_one_sentence(done.err.strip(), word)
    assert not (tmp_path / "out").exists()


def test_a_file_that_the_manifest_does_not_name_is_found(scanside: Command, copy: Path) -> None:
    (copy / "segmenters" / "engine.plan").write_bytes(b"native code")
    done = scanside("bundle", "verify", copy)
    assert done.code == 3 and "engine.plan" in done.err


def test_a_model_folder_is_not_a_bundle(scanside: Command, tmp_path: Path) -> None:
    done = scanside("bundle", "inspect", tmp_path)
    assert done.code == 3 and "scanside export nnunet" in done.err


def test_a_network_that_is_not_the_plans_is_refused(
    scanside: Command, copy: Path, write_image: Any, tmp_path: Path
) -> None:
    manifest = json.loads((copy / "bundle.json").read_text())
    manifest["segmenters"]["3d_fullres"]["plan"]["patch_size"] = [16, 24, 32]
    edit(copy, **manifest)
    source = write_image(tmp_path / "x.nii.gz")
    done = scanside("segment", copy, source, "-o", tmp_path / "out", "--device", "cpu")
    assert done.code == 3 and "plan says" in done.err
