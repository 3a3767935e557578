"""`export triton`: models appear whole or not at all; what nobody could prove is not written."""

import json
import sys
from pathlib import Path

import pytest

from scanside.runtime.acceptance.run import GEOMETRY_BUNDLE
from scanside.runtime.bundle import open_bundle, verify
from scanside.runtime.cli.main import run
from scanside.training.demo import BUNDLE
from tests.support.interpreter import python

MODELS = ["pancreas-phantom-dwi", "pancreas-phantom-t2w"]


def exported(out: Path, *more: str) -> int:
    return run(["export", "triton", str(BUNDLE), "-o", str(out), *more])


def test_each_segmenter_is_a_model_with_its_bundle(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "repository"
    assert exported(out, "--packages", "/opt/one", "--packages", "/opt/two") == 0
    assert capfd.readouterr().out.split() == [str(out / name) for name in MODELS]
    assert sorted(path.name for path in out.iterdir()) == MODELS and list(tmp_path.iterdir()) == [out]
    for name in MODELS:
        copy = open_bundle(out / name / "1" / "bundle")
        assert verify(copy) and copy.sha256 == open_bundle(BUNDLE).sha256
        assert (
            f'key: "bundle_sha256" value {{ string_value: "{copy.sha256}" }}'
            in (out / name / "config.pbtxt").read_text()
        )
        assert json.loads((out / name / "1" / "packages.json").read_text()) == ["/opt/one", "/opt/two"]


def test_models_of_others_stay_and_ones_own_are_replaced_only_when_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "repository"
    (out / "other").mkdir(parents=True)
    (out / MODELS[1]).mkdir()
    assert exported(out) == 1
    assert "exists already" in capfd.readouterr().err and sorted(p.name for p in out.iterdir()) == [
        "other",
        MODELS[1],
    ]
    assert exported(out, "--overwrite") == 1  # what is there is no model
    (out / MODELS[1] / "config.pbtxt").write_text("not ours")
    assert exported(out, "--overwrite") == 0
    assert "not ours" not in (out / MODELS[1] / "config.pbtxt").read_text()
    assert sorted(path.name for path in out.iterdir()) == ["other", *MODELS]


def test_what_cannot_be_proven_or_told_apart_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "repository"
    assert run(["export", "triton", str(GEOMETRY_BUNDLE), "-o", str(out)]) == 3
    assert "has no golden case to prove a server with" in capfd.readouterr().err
    assert run(["export", "triton", str(BUNDLE), str(BUNDLE), "-o", str(out)]) == 2
    assert "Two models would be called" in capfd.readouterr().err
    assert exported(out, "--device", "abacus") == 2
    assert not out.exists()


def test_it_needs_neither_torch_nor_onnx(tmp_path: Path) -> None:
    words = ["export", "triton", str(BUNDLE), "-o", str(tmp_path / "repository")]
    done = python(
        "import sys\nfrom scanside.runtime.cli.main import run\n"
        f"assert run({words}) == 0\nprint(sorted({{'torch', 'onnx', 'nnunetv2'}} & set(sys.modules)))"
    )
    assert done.stdout.splitlines()[-1] == "[]", sys.version
