"""`export triton`: models appear whole or not at all; what nobody could prove is not written."""

import hashlib
import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from google.protobuf import text_format

from scanside.runtime.acceptance.run import GEOMETRY_BUNDLE
from scanside.runtime.bundle import open_bundle, verify
from scanside.runtime.cli.main import run
from scanside.training.demo import BUNDLE
from tests.support.interpreter import python
from tests.support.wheels import unpacked

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


def test_networks_alone_are_models_of_onnx_runtime_with_batching(tmp_path: Path) -> None:
    """Nobody here can run them; Triton's own description of a configuration reads them."""
    out, config = tmp_path / "repository", protobuf()
    assert exported(out, "--networks", "--precision", "mixed") == 0
    folders = {path.name for path in out.iterdir()} - set(MODELS)
    assert folders == {f"{model}.net.{fold}" for model in MODELS for fold in range(3)}
    bundle = open_bundle(BUNDLE)
    for name in folders:
        told = config.ModelConfig()
        text_format.Parse((out / name / "config.pbtxt").read_text(), told)
        assert (told.name, told.platform, told.max_batch_size) == (name, "onnxruntime_onnx", 8)
        assert list(told.dynamic_batching.preferred_batch_size) == [4, 8]
        assert told.instance_group[0].kind == config.ModelInstanceGroup.KIND_GPU
        file = out / name / "1" / "model.onnx"
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        assert told.parameters["network_sha256"].string_value == sha256
        assert told.parameters["precision"].string_value == "mixed"
        graph = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        for tensors, described in ((graph.get_inputs(), told.input), (graph.get_outputs(), told.output)):
            assert [(one.name, tuple(one.dims)) for one in described] == [
                (one.name, tuple(one.shape[1:])) for one in tensors
            ]
        assert told.parameters["bundle_sha256"].string_value == bundle.sha256


def test_whole_cases_are_described_as_triton_reads_it(tmp_path: Path) -> None:
    config, told = protobuf(), []
    assert exported(tmp_path / "repository") == 0
    for name in MODELS:
        told.append(config.ModelConfig())
        text_format.Parse((tmp_path / "repository" / name / "config.pbtxt").read_text(), told[-1])
    assert [(one.name, one.backend, one.max_batch_size) for one in told] == [(n, "python", 0) for n in MODELS]
    assert [list(one.input[0].dims) for one in told] == [[2, -1, -1, -1], [1, -1, -1, -1]]
    assert all(one.parameters["golden"].string_value for one in told)


@cache
def protobuf() -> Any:
    """Triton's model_config.proto, from its client's wheel without the client."""
    file = (
        unpacked("tritonclient", "2.73.0", "tritonclient") / "tritonclient" / "grpc" / "model_config_pb2.py"
    )
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
