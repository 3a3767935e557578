"""`scanside export engine` on the packaged demonstration bundle, with the real TensorRT-RTX."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from scanside.runtime.backends import gpu, trt_build
from scanside.runtime.bundle import open_bundle, verify
from scanside.runtime.cli.main import run
from scanside.runtime.errors import BundleError, ExitCode
from tests.support.interpreter import python
from tests.support.sentences import assert_one_sentence

DEMO = Path(__file__).parents[2] / "training" / "scanside" / "training" / "data" / "pancreas-phantom.bundle"
needs_rtx = pytest.mark.skipif(
    not trt_build.installed("tensorrt-rtx"),
    reason="tensorrt-rtx is not installed: pip install 'scanside[rtx]'",
)
no_gpu = pytest.mark.skipif(gpu.missing() is None, reason="there is a GPU here")


@needs_rtx
def test_engines_for_another_gpu_are_built_and_said_to_be_untried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "engine", str(DEMO), "--device", "tensorrt-rtx", "--compute-capability", "8.9"]
    assert run([*command, "-o", str(tmp_path), "--json"]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "scanside.engine-report/2" and report["verdict"].endswith("never run.")
    names = {row["network"] for row in report["engines"]}
    assert names == {f"{role}-{fold}" for role in ("t2w", "dwi") for fold in "012"}
    for row in report["engines"]:
        plan = (tmp_path / f"{row['network']}.fp32.sm89.plan").read_bytes()
        assert hashlib.sha256(plan).hexdigest() == row["sha256"] and len(plan) == row["bytes"]
    assert len(list(tmp_path.iterdir())) == 6


@needs_rtx
def test_it_needs_neither_torch_nor_onnx() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'nnunetv2', 'onnxscript', 'sklearn'): sys.modules[name] = None\n"
        "from scanside.runtime.cli.main import run\n"
        f"code = run(['export', 'engine', {str(DEMO)!r}, '--compute-capability', '8.9', '--device', 'tensorrt-rtx'])\n"
        "print(code)"
    )
    assert python(code).stdout.splitlines()[-1] == "0"


@no_gpu
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--device", "tensorrt-rtx"], ExitCode.BACKEND, "--compute-capability 8.9"),
        (["--device", "cpu"], ExitCode.USAGE, "tensorrt-rtx"),
        (["--device", "tensorrt-rtx", "-o", "plans"], ExitCode.USAGE, "--compute-capability"),
        (["--device", "tensorrt-rtx", "--precision", "int4"], ExitCode.BACKEND, "driver"),
    ],
)
def test_refusals(options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "engine", str(DEMO), *options]) == code
    said = capsys.readouterr().err.removeprefix("scanside: ").strip()
    assert_one_sentence(said, words)


@needs_rtx
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--compute-capability", "8.7"], ExitCode.BACKEND, "8.6, 8.9"),
        (["--compute-capability", "8.9", "--precision", "int8"], ExitCode.BUNDLE, "export it again"),
        (["--compute-capability", "8.9", "--precision", "int4"], ExitCode.USAGE, "int4"),
    ],
)
def test_refusals_of_a_build(
    options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "engine", str(DEMO), "--device", "tensorrt-rtx", *options]) == code
    assert_one_sentence(capsys.readouterr().err.removeprefix("scanside: ").strip(), words)


@no_gpu
@pytest.mark.parametrize("device", ["tensorrt", "tensorrt-rtx", "cuda"])
def test_selftest_on_a_device_that_is_not_here(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["selftest", str(DEMO), "--device", device]) == ExitCode.BACKEND
    assert_one_sentence(capsys.readouterr().err.removeprefix("scanside: ").strip(), device, "install")


@pytest.mark.parametrize("name", ["segmenters/t2w/0.plan", "0.engine", "x.TRT"])
def test_a_bundle_with_a_compiled_engine_is_refused(name: str, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEMO, bundle)
    (bundle / name).write_bytes(b"code")
    with pytest.raises(BundleError) as caught:  # brought in beside the manifest
        verify(open_bundle(bundle))
    assert_one_sentence(str(caught.value), name)
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(b"code").hexdigest(), "bytes": 4}
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError) as caught:  # and named by it
        open_bundle(bundle)
    assert_one_sentence(str(caught.value), name, "native code")
