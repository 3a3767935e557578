import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk

from scanside.benchmarks.peers import PeersOptions, run_peers
from scanside.benchmarks.results import PeersReport, schema
from scanside.benchmarks.source import find_source
from scanside.benchmarks.staging import stage
from scanside.benchmarks.warm import Setup
from scanside.benchmarks.worker import Worker
from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from scanside.runtime.errors import BundleError, CaseError, ExitCode, UsageError
from scanside.runtime.images.read import read_image
from tests.benchmarks.conftest import SHAPE, write_image


def test_both_peers_run_cold_and_warm(
    model: Path, bundle: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "peers.json", tmp_path / "peers.md"
    words = ["bench", "peers", str(model), str(images / "first_0000.nii.gz"), "-o", str(out)]
    options = ["--bundle", str(bundle), "--repeats", "1", "--warm-ups", "0", "--device", "cpu"]
    assert run([*words, *options, "--table", str(table)]) == ExitCode.OK
    printed = capsys.readouterr()
    assert "cold command" in printed.out and table.read_text() == printed.out
    assert "[4/4] warm scanside" in printed.err

    document = json.loads(out.read_text())
    jsonschema.validate(document, schema(PeersReport))
    assert next(iter(document)) == "schema" and document["device"]["obtained"] == "cpu"
    assert document["commands"]["nnunetv2"][-1] == "--disable_tta"
    assert document["commands"]["scanside"][-1] == "--no-mirroring"
    (case,) = document["cases"]
    assert case["shape"] == list(SHAPE) and not case["converted"]
    assert case["network_runs"] == {"nnunetv2": case["tiles"], "scanside": case["tiles"]}
    assert {name: found["differing"] for name, found in case["labels"].items()} == {"cold": 0, "warm": 0}
    found = {(metric["mode"], metric["name"]): metric for metric in case["metrics"]}
    for peer in ("nnunetv2", "scanside"):
        values = {name: metric["median"][peer] for name, metric in found.items()}
        assert values["warm", "wall"] == pytest.approx(
            values["warm", "network"] + values["warm", "outside"], abs=1e-3
        )
        assert values["warm", "outside"] > 0 and values["cold", "wall"] > 0
        assert values["warm", "peak_memory"] > 50 and values["cold", "peak_memory"] > 50
    assert found["cold", "processes"]["median"]["nnunetv2"] > found["cold", "processes"]["median"]["scanside"]
    # The lean runtime's memory is measured without the peer's libraries.
    assert found["warm", "peak_memory"]["ratio"]["median"] > 1

    assert run([*words, *options]) != ExitCode.OK
    assert "exists already; add --overwrite" in capsys.readouterr().err


def test_a_bundle_of_another_model_is_refused(
    model: Path, bundle: Path, images: Path, tmp_path: Path
) -> None:
    from scanside.benchmarks.models import make_model

    make_model(tmp_path / "other", "tiny", seed=7)
    with pytest.raises(BundleError, match="was not made of fold 0"):
        find_source(tmp_path / "other", bundle, None, tmp_path)
    with pytest.raises(UsageError, match="has no fold 3; it has 0"):
        run_peers(model, [images], PeersOptions(bundle=bundle, folds=("3",)), [])


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
    setup = Setup(model, tmp_path / "no.bundle", ("0",), "cpu", mirroring=False)
    with pytest.raises(CaseError, match=r"scanside failed with exit code 1: .*is not a bundle"):
        Worker("scanside", setup, tmp_path)


def test_there_must_be_something_to_measure(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "peers", str(model), "scan.nii.gz", "-o", "out.json", "--no-cold", "--no-warm"]
    assert run(words) == ExitCode.USAGE
    assert "nothing is left to measure" in capsys.readouterr().err
