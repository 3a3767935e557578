import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from scanside.benchmarks import parity as module
from scanside.benchmarks.choices import ParityOptions
from scanside.benchmarks.environment import environment
from scanside.benchmarks.parity import run_parity
from scanside.benchmarks.results import Measurements
from scanside.benchmarks.tables import render
from scanside.runtime.cli.main import run
from scanside.runtime.errors import ExitCode, InputError
from scanside.runtime.record import json_schema


@pytest.fixture(scope="module")
def labels(model: Path, bundle: Path, images: Path) -> Path:
    """Masks that serve as the manual labels: the runtime's own."""
    out = model.with_name("labels")
    assert run(["segment", str(bundle), str(images), "-o", str(out), "--device", "cpu"]) == ExitCode.OK
    return out


def test_parity_is_written_after_every_case(
    model: Path,
    bundle: Path,
    images: Path,
    labels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "parity.json"
    words = ["bench", "parity", str(model), str(images), "--labels", str(labels), "-o", str(out)]
    words += ["--bundle", str(bundle), "--device", "cpu"]
    done: list[str] = []
    compare = module._compare

    def stop_at_the_second(case: module.CaseInput, *arguments: object) -> object:
        if done:
            raise KeyboardInterrupt
        done.append(case.name)
        return compare(case, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "_compare", stop_at_the_second)
        assert run(words) == ExitCode.INTERRUPTED
    half = json.loads(out.read_text())
    jsonschema.validate(half, json_schema(Measurements))
    assert [one["name"] for one in half["measured"]] == ["cpu", "first"] and not half["conditions"][
        "complete"
    ]

    capsys.readouterr()
    assert run(words) != ExitCode.OK
    assert "exists already; add --overwrite" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == ExitCode.OK
    printed = capsys.readouterr()
    assert "[2/2] second: cpu 0 of" in printed.err and "scanside, cpu" in printed.out
    whole = json.loads(out.read_text())
    jsonschema.validate(whole, json_schema(Measurements))
    total, *cases = Measurements.model_validate(whole).measured
    assert whole["conditions"]["complete"] and [one.name for one in cases] == ["first", "second"]
    facts = total.facts
    assert (total.name, facts["cases"], facts["differing"], facts["largest_margin"]) == ("cpu", 2, 0, None)
    assert set(facts["dice"]["cpu"].values()) == {1.0} == set(facts["dice"]["nnunetv2"].values())
    assert all(one.facts["reading_equal"] and one.median("nnunetv2") > 0 for one in cases)


def test_without_manual_labels_there_is_no_dice_of_them(
    model: Path, bundle: Path, images: Path, tmp_path: Path
) -> None:
    options = ParityOptions(bundle=bundle, device=["cpu"], limit=1)
    report = run_parity(model, images, tmp_path / "parity.json", options, environment([]))
    total, case = report.measured
    assert report.conditions["images"] == 1 and total.facts["dice"] == case.facts["dice"] == {}
    assert "| scanside, cpu | 1     | 0 of " in render(report)


def test_a_voxel_that_is_no_tie_is_a_fault(
    model: Path, bundle: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the reference's margins are far above the bound, and its labels are others."""
    predict = module.FromFolder.predict

    def other(self: module.FromFolder, case: module.CaseInput) -> object:
        volume, theirs, same = predict(self, case)
        labels = np.where(theirs.labels == 1, 2, theirs.labels)
        return volume, replace(theirs, labels=labels, margin=np.full_like(theirs.margin, 3.0)), same

    monkeypatch.setattr(module.FromFolder, "predict", other)
    options = ParityOptions(bundle=bundle, device=["cpu"], limit=1)
    report = run_parity(model, images, tmp_path / "parity.json", options, environment([]))
    facts = report.measured[0].facts
    assert facts["differing"] > 0 == facts["explained"] and facts["largest_margin"] == 3.0
    assert report.faults == ["cpu: a voxel differs that is no tie by rounding."] and not report.passed


def test_a_missing_label_is_told_before_anything_runs(
    model: Path, bundle: Path, images: Path, tmp_path: Path
) -> None:
    options = ParityOptions(bundle=bundle, labels=tmp_path, device=["cpu"])
    with pytest.raises(InputError, match=r"has no label for first \(and 1 more\)"):
        run_parity(model, images, tmp_path / "parity.json", options, environment([]))
