import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks.scripts.naive_loop import Loop
from scanside.benchmarks.child import Child
from scanside.benchmarks.choices import PeersOptions
from scanside.benchmarks.environment import environment
from scanside.benchmarks.kinds import file_precisions, parse_kinds
from scanside.benchmarks.peers import run_peers
from scanside.benchmarks.results import Measurements
from scanside.benchmarks.source import find_source, stage
from scanside.benchmarks.tables import render
from scanside.benchmarks.warm import Setup, Worker
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.cli.main import run
from scanside.runtime.errors import BackendError, BundleError, CaseError, ExitCode, UsageError
from scanside.runtime.golden import lowest_dice
from scanside.runtime.images.read import read_image
from scanside.runtime.options import Options
from scanside.runtime.record import json_schema
from tests.benchmarks.conftest import SHAPE, write_image
from tests.benchmarks.doomed import Doomed
from tests.support.phantoms import volume
from tests.support.sentences import assert_one_sentence

BACKENDS = "cpu:fp32,openvino:bf16,onnx-loop"
PEERS = ["nnunetv2", "cpu:fp32", "openvino:bf16", "onnx-loop"]


def test_peers_run_cold_warm_and_together(
    model: Path, bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not _has_bf16(bundle):
        pytest.skip("this processor has no bfloat16")
    out, table = tmp_path / "peers.json", tmp_path / "peers.md"
    words = ["bench", "peers", str(model), str(images / "first_0000.nii.gz"), "-o", str(out)]
    options = [
        "--bundle",
        str(bundle),
        "--repeats",
        "1",
        "--warm-ups",
        "0",
        "--backends",
        BACKENDS,
        "--together",
    ]
    assert run([*words, *options, "--no-cold", "--table", str(table)]) == ExitCode.OK
    printed = capsys.readouterr()
    assert "| 1 cases | together " in printed.out and table.read_text() == printed.out
    assert "openvino:bf16 is an approximation" in printed.out and "[8/8] warm onnx-loop" in printed.err

    document = json.loads(out.read_text())
    jsonschema.validate(document, json_schema(Measurements))
    said = document["conditions"]["peers"]
    assert next(iter(document)) == "schema" and list(said) == PEERS
    assert said["cpu:fp32"]["device"]["obtained"] == "cpu"
    assert said["openvino:bf16"]["approximation"] == "precision bf16"
    assert said["nnunetv2"]["command"][-1] == "--disable_tta"
    assert said["cpu:fp32"]["command"][-1] == "--no-mirroring"
    found = {one.name: one for one in Measurements.model_validate(document).measured}
    case = found["first"].facts
    assert case["shape"] == list(SHAPE) and not case["converted"]
    for peer in PEERS:
        one = found[f"first, {peer}"]
        assert one.facts["network_runs"] == case["tiles"]
        outside = one.median("warm, outside the network")
        assert one.median("warm") == pytest.approx(one.median("warm, in the network") + outside, abs=1)
        assert outside > 0 and one.median("warm, peak memory") > 50
        assert found[f"1 cases, {peer}"].median("together") > 0 and found[f"opening {peer}"].quantities
    for mode in ("together", "warm"):
        assert found["first, cpu:fp32"].facts["labels"][mode]["differing"] == 0
        # The loop adds in float32 where nnU-Net rounds to float16: voxels at the corners fall the other way.
        assert min(found["first, onnx-loop"].facts["labels"][mode]["dice"].values()) > 0.99
    # The lean runtime's memory is measured without the peer's libraries.
    reference, lean = found["1 cases, nnunetv2"], found["1 cases, cpu:fp32"]
    assert reference.median("together, peak memory") > lean.median("together, peak memory")

    assert run([*words, *options]) != ExitCode.OK
    assert "exists already; add --overwrite" in capsys.readouterr().err


def test_a_peer_that_needs_too_much_memory_is_ended_and_told(
    model: Path, bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = PeersOptions(
        bundle=bundle, backends="cpu,cpu:mixed", repeats=2, warm=False, ceiling_gib=250 / 1024
    )
    report = run_peers(model, [images / "first_0000.nii.gz"], options, environment([]))
    assert "exported without precision 'mixed'" in report.conditions["absent"]["cpu:mixed"]
    (end,) = report.conditions["ended"]
    assert (end["peer"], end["mode"], end["case"]) == ("nnunetv2", "cold", "first") and end["held_mib"] >= 250
    found = {one.name: one for one in report.measured}
    assert found["first, cpu:fp32"].find("cold") and not found["first, nnunetv2"].quantities
    assert not found["first, cpu:fp32"].facts["labels"]
    text = render(report)
    assert "nnunetv2 was ended by memory (cold, first)" in text and "more than the ceiling of 0.2 GiB" in text
    assert (
        "Labels are not compared" in text and "nnunetv2, first: nnUNetv2_predict" in capsys.readouterr().err
    )


def test_backends_are_named_once_and_known() -> None:
    kinds = parse_kinds(["openvino:bf16", "cpu", "onnx-loop"])
    assert [kind.name for kind in kinds] == ["openvino:bf16", "cpu:fp32", "onnx-loop"]
    assert [kind.approximation for kind in kinds] == ["precision bf16", None, None]
    assert file_precisions(kinds) == ("fp32",) and file_precisions(parse_kinds(["cpu:mixed"])) == (
        "fp32",
        "mixed",
    )
    with pytest.raises(UsageError, match="no backend 'gpu:fp32'; give onnx-loop, or one of auto, "):
        parse_kinds(["gpu:fp32"])
    with pytest.raises(UsageError, match="each of them once"):
        parse_kinds(["cpu", "cpu:fp32"])


@pytest.mark.parametrize("mirroring", [False, True])
def test_the_naive_loop_is_no_straw_man(model: Path, bundle: Path, images: Path, mirroring: bool) -> None:
    """Its labels are those of the runtime but for ties, on a coarse anisotropic image too."""
    with open_segmenter(open_bundle(bundle), Options(device="cpu", mirroring=mirroring)) as segmenter:
        loop = Loop(bundle, ["0"], mirroring=mirroring)
        for spacing in ((2.5, 1.0, 1.0), (4.0, 0.9, 0.8)):
            image = volume(SHAPE, spacing, seed=5)
            expected = segmenter.segment(image).mask
            assert lowest_dice(loop.segment(image.data, spacing), expected) > 0.99


def _has_bf16(bundle: Path) -> bool:
    try:
        open_segmenter(open_bundle(bundle), Options(device="openvino", precision="bf16")).close()
    except BackendError:
        return False
    return True


def test_a_bundle_of_another_model_is_refused(
    model: Path, bundle: Path, images: Path, tmp_path: Path
) -> None:
    from scanside.benchmarks.models import make_model

    make_model(tmp_path / "other", "tiny", seed=7)
    with pytest.raises(BundleError, match="was not made of fold 0"):
        find_source(tmp_path / "other", bundle, None, tmp_path)
    with pytest.raises(UsageError, match="has no fold 3; it has 0"):
        run_peers(model, [images], PeersOptions(bundle=bundle, folds="3"), environment([]))


def test_images_of_other_formats_are_converted_and_keep_their_grid(bundle: Path, tmp_path: Path) -> None:
    source = write_image(tmp_path / "scan.mha", 3)
    image = sitk.ReadImage(str(source))
    image.SetOrigin((3.0, -4.0, 5.0))
    image.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    sitk.WriteImage(image, str(source))
    plan = open_bundle(bundle).manifest.segmenters["3d_fullres"].plan
    (staged,) = stage([source], plan, ".nii.gz", tmp_path / "staged")
    assert staged.converted and staged.files[0].name == "scan_0000.nii.gz"
    before, after = read_image(source), read_image(staged.files[0])
    assert np.array_equal(before.data, after.data) and before.geometry.difference(after.geometry) is None


def test_a_peer_that_dies_is_told_with_its_last_words(model: Path, tmp_path: Path) -> None:
    setup = Setup(model, tmp_path / "no.bundle", ("0",), mirroring=False)
    with pytest.raises(BundleError, match="is not a bundle"):
        Worker(parse_kinds(["cpu"])[0], setup, tmp_path)
    with Child("a peer", tmp_path / "log", Doomed) as child, pytest.raises(CaseError) as caught:
        child.ask(Doomed.die)
    assert_one_sentence(str(caught.value), "a peer was killed", "my last words")


def test_there_must_be_something_to_measure(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "peers", str(model), "scan.nii.gz", "-o", "out.json", "--no-cold", "--no-warm"]
    assert run(words) == ExitCode.USAGE
    assert "nothing is left to measure" in capsys.readouterr().err
