import json
from pathlib import Path

import jsonschema
import pytest

from scanside.benchmarks import parity as module
from scanside.benchmarks.choices import ParityOptions
from scanside.benchmarks.environment import environment
from scanside.benchmarks.parity import run_parity
from scanside.benchmarks.results import ParityReport
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
    jsonschema.validate(half, json_schema(ParityReport))
    assert [case["name"] for case in half["cases"]] == ["first"] and not half["complete"]

    capsys.readouterr()
    assert run(words) != ExitCode.OK
    assert "exists already; add --overwrite" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == ExitCode.OK
    printed = capsys.readouterr()
    assert "[2/2] second: cpu 0 of" in printed.err and "scanside, cpu" in printed.out
    whole = json.loads(out.read_text())
    jsonschema.validate(whole, json_schema(ParityReport))
    assert whole["complete"] and [case["name"] for case in whole["cases"]] == ["first", "second"]
    totals = whole["totals"]["cpu"]
    assert (totals["cases"], totals["differing"]) == (2, 0)
    assert set(totals["dice"].values()) == {1.0} == set(totals["reference_dice"].values())
    assert all(case["reading_equal"] for case in whole["cases"])


def test_without_manual_labels_there_is_no_dice_of_them(
    model: Path, bundle: Path, images: Path, tmp_path: Path
) -> None:
    options = ParityOptions(bundle=bundle, device=["cpu"], limit=1)
    report = run_parity(model, images, tmp_path / "parity.json", options, environment([]))
    assert report.complete and report.images == 1 and report.cases[0].reference_dice == {}


def test_a_missing_label_is_told_before_anything_runs(
    model: Path, bundle: Path, images: Path, tmp_path: Path
) -> None:
    options = ParityOptions(bundle=bundle, labels=tmp_path, device=["cpu"])
    with pytest.raises(InputError, match=r"has no label for first \(and 1 more\)"):
        run_parity(model, images, tmp_path / "parity.json", options, environment([]))
