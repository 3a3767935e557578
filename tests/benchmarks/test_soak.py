"""Long: the claim of the README, on every image. `make soak`."""

import json
from pathlib import Path

import pytest

from scanside.runtime.cli.main import run
from tests.support.shared_data import shared_data, shared_models


@pytest.mark.slow
def test_all_hippocampus_mris_have_the_labels_of_nnunets_predictor(tmp_path: Path) -> None:
    model = shared_models("hippocampus", "nnUNetTrainer__nnUNetPlans__3d_fullres")
    data, out = shared_data("volumes", "msd_hippocampus"), tmp_path / "parity.json"
    code = run(
        [
            "bench",
            "parity",
            str(model),
            str(data / "imagesTr"),
            "--labels",
            str(data / "labelsTr"),
            "-o",
            str(out),
        ]
    )
    assert code == 0, "a voxel differs that is no rounding tie"
    assert len(json.loads(out.read_text())["cases"]) == 200
