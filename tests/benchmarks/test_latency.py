"""`bench run` on a real bundle and a real DICOM study, with as few repetitions as there may be."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scanside.benchmarks import conditions
from scanside.benchmarks.results import Measured, Measurements
from scanside.benchmarks.studies import given_studies, phantom_studies
from scanside.benchmarks.tables import render
from scanside.runtime.cli.main import run
from scanside.runtime.errors import InputError
from scanside.runtime.options import Options
from scanside.runtime.record import json_schema
from scanside.runtime.study.read import read_study
from scanside.training.phantom.cohort import draw_patient
from tests.benchmarks.golden import write_golden_bundle
from tests.benchmarks.samples import SENSED, latency, study, times
from tests.runtime.study.tiny_study import TinyStudy, write_bundle, write_nifti
from tests.support.small_studies import write_study

ROOT = Path(__file__).parents[2]
FEW = ["--device", "cpu", "--threads", "1", "--repeats", "6", "--most", "6", "--cold", "1", "--offline", "2"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], Path]:
    """Exit code, results, folder."""
    folder = tmp_path_factory.mktemp("latency")
    bundle, study = write_golden_bundle(folder / "tiny.bundle"), write_study(1, folder / "small")
    out = folder / "run.json"
    table = str(folder / "run.md")
    words = ["bench", "run", str(bundle), str(study), "-o", str(out), "--table", table, *FEW]
    code = run([*words, "--device", "auto"])  # which opens the networks once more, to choose
    return code, json.loads(out.read_text()), folder


@pytest.fixture
def small(ran: tuple[int, dict[str, Any], Path]) -> Measured:
    (found,) = Measurements.model_validate(ran[1]).measured[1:]
    return found


def test_every_mode_is_measured(ran: tuple[int, dict[str, Any], Path], small: Measured) -> None:
    code, document, _ = ran
    assert code == 0 and document["schema"] == "scanside.bench-run/2"
    found = {one.name: one for one in small.quantities}
    assert len(found["warm"].samples) == 6 and found["warm"].low is not None
    assert {one.name for one in small.quantities if one.gate} == {"warm", "cold"}
    for wall, network, rest in zip(
        *(found[name].samples for name in ("warm", "in the network", "everything else")), strict=True
    ):
        assert 0 < network < wall and rest == pytest.approx(wall - network, abs=0.001)
    assert 0 < found["everything else, part of warm"].median < 1 and found["warm, peak memory"].max > 50
    assert len(found["cold"].samples) == 1 and found["cold"].low is None
    assert found["cold"].median > found["warm"].median
    assert small.median("offline, studies") == 2
    assert small.median("offline") == pytest.approx(7200e3 / small.median("offline, all"), rel=1e-3)
    opening = document["measured"][0]
    assert [one["name"] for one in opening["quantities"]] == ["libraries", "bundle", "networks"]
    assert all(one["median"] > 0 for one in opening["quantities"])


def test_stages_are_those_of_the_pipeline_and_add_up(small: Measured) -> None:
    stages, warm = small.stages_ms, small.find("warm")
    for name in ("read", "check", "t2w: slide", "dwi: label", "regions", "radiomics", "classify", "write"):
        assert len(stages[name].samples) == 6, name
    assert warm is not None
    for number, wall in enumerate(warm.samples):
        assert sum(stage.samples[number] for stage in stages.values()) < wall


def test_the_study_came_to_something_and_was_written(small: Measured) -> None:
    facts = small.facts
    assert facts["status"] in ("ok", "indeterminate") and facts["origin"] == "given"
    assert sorted(facts["objects"]) == ["key", "sc", "seg", "seg", "sr"]
    assert list(facts["images"]) == ["t2w", "dwi", "adc"]
    assert facts["voxels"] == 8 * 32 * 32 + 2 * 8 * 28 * 28


def test_golden_cases_are_in_the_same_report(ran: tuple[int, dict[str, Any], Path]) -> None:
    _, document, folder = ran
    (golden,) = document["golden"].values()
    assert golden["passed"] and len(golden["sentences"]) == 2
    assert "golden cases: passed (" in (folder / "run.md").read_text()
    assert document["headline"] == (not document["remarks"])
    assert not any("RESULT CHANGES" in remark for remark in document["remarks"])


def test_the_file_is_valid_and_names_no_folder(ran: tuple[int, dict[str, Any], Path]) -> None:
    _, document, folder = ran
    schema = json_schema(Measurements)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert Measurements.model_validate(document).model_dump(mode="json", by_alias=True) == document
    assert str(folder.parent) not in json.dumps(document)


def test_a_refused_study_is_an_error_and_no_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "tiny.bundle")
    study = write_nifti(tmp_path / "P1", names=("t2w",))
    code = run(["bench", "run", str(bundle), str(study), "-o", str(tmp_path / "o.json"), *FEW])
    assert code == 5 and not (tmp_path / "o.json").exists()
    assert "Study P1 is refused, so that there is nothing to measure" in capsys.readouterr().err


def test_a_bundle_without_a_classifier_is_refused_in_its_own_words(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_nifti(tmp_path / "P1", TinyStudy())
    code = run(["bench", "run", str(bundle), str(study), "-o", str(tmp_path / "o.json"), *FEW])
    assert code == 3 and "use `scanside segment`" in capsys.readouterr().err


def test_golden_cases_that_do_not_pass_take_the_headline(tmp_path: Path) -> None:
    found = conditions.golden_cases(write_bundle(tmp_path / "none.bundle"), "cpu", "fp32")
    assert not found.passed and "has no golden cases" in found.sentences[0]
    assert str(tmp_path) not in found.sentences[0]
    assert "worth nothing" in conditions.wrong(found)[0]
    assert conditions.wrong(found.model_copy(update={"passed": True})) == []


def test_noise_is_told_and_quiet_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions.machine, "cores", lambda: 2)
    wall = times(1000, 0)
    assert conditions.noise("x", wall, times(60, 1)) == []
    (busy,) = conditions.noise("x", wall, times(400, 1))
    assert busy == "x: other programs took 20% of the processor meanwhile."
    wide = times(1000, 0, 6).model_copy(update={"low": 700.0, "high": 1000.0})
    assert "wider than ± 10%" in conditions.noise("x", wide, None)[0].replace(" %", "%")
    assert conditions.noise("x", times(1000, 0, 3), None), "three samples have no interval"


def test_throttling_is_told() -> None:
    sensed = study().sensed
    assert sensed is not None and conditions.throttled("x", sensed) == []
    hot = sensed.model_copy(update={"throttled": ["cpu0: too hot (2×)"]})
    assert conditions.throttled("x", hot) == ["x: throttled: cpu0: too hot (2×)."]


def test_a_result_that_changes_is_told() -> None:
    one = {"status": "ok", "probability": 0.7, "objects": ["seg"]}
    assert conditions.changed("x", [one, dict(one)]) == []
    assert "RESULT CHANGES" in conditions.changed("x", [one, {**one, "probability": 0.71}])[0]


def test_every_choice_of_a_run_reaches_the_cold_command() -> None:
    plain, other = Options(), Options("cpu", "bf16", False, 0.25, ("0", "1"), "t2w", 2, None, True)
    assert conditions.as_arguments(plain) == ["--device", "auto", "--precision", "auto", "--step-size", "0.5"]
    words = " ".join(conditions.as_arguments(other))
    for expected in (
        "--device cpu",
        "bf16",
        "--no-mirroring",
        "--step-size 0.25",
        "--folds 0,1",
        "--threads 2",
        "--skip-empty-tiles",
    ):
        assert expected in words
    known = {
        "device",
        "precision",
        "mirroring",
        "step_size",
        "folds",
        "threads",
        "role",
        "skip_empty_tiles",
        "on_rejection",
        "engine",
    }
    assert {field.name for field in fields(Options)} == known, "add the new choice to as_arguments"


def test_the_table_warns_and_leaves_unknown_percentiles_open() -> None:
    words = render(latency(remarks=["small: throttled: too hot."], headline=False, gpus=["A card"]))
    assert "NOT TO BE QUOTED: small: throttled: too hot." in words and "A card" in words
    assert "| energy per study, package-0 (RAPL) | 30.0 J " in words and "Hottest 61 °C" in words
    (cold,) = [line for line in words.splitlines() if line.startswith("| small") and "| cold " in line]
    assert cold.count("–") == 2, "six samples carry neither p90 nor p99"
    assert SENSED["absent"] == [] and "Not told" not in words


def test_wrong_choices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no study"):
        given_studies([tmp_path / "absent"])
    for name in ("a", "b"):
        (tmp_path / name / "same").mkdir(parents=True)
    with pytest.raises(InputError, match="Two studies are called same"):
        given_studies([tmp_path / "a" / "same", tmp_path / "b" / "same"])
    for words in (["--sizes", "huge"], ["--repeats", "5"], ["--device", "none"]):
        assert run(["bench", "run", "x", "-o", str(tmp_path / "o.json"), *words]) == 2


def test_phantom_studies_are_dicom_of_the_wanted_size(tmp_path: Path) -> None:
    (made,) = phantom_studies(tmp_path, ("small",), seed=2025)
    assert (made.name, made.origin) == ("phantom-small", "phantom")
    study = read_study(made.path, ("t2w", "dwi", "b0", "adc"))
    plain = draw_patient(0, 2025, "test").scanner
    for name, protocol in (("t2w", plain.t2w), ("dwi", plain.dwi)):
        geometry = study.images[name].volume.geometry
        z, y, x = protocol.shape
        assert geometry.shape == (z, round(y / 2), round(x / 2)), name
    assert study.images["dwi"].source is not None
