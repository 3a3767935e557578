"""`bench appliance`: a real service, real senders, a real peer, as few times as there may be."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pydicom
import pytest

from scanside.benchmarks.appliance_ends import renamed_study, write_slices
from scanside.benchmarks.appliance_results import ApplianceReport
from scanside.benchmarks.choices import ApplianceOptions
from scanside.benchmarks.report_tables import render
from scanside.runtime.cli.main import run
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.record import json_schema
from tests.benchmarks.golden import write_golden_bundle
from tests.benchmarks.samples import appliance
from tests.support.small_studies import write_study

ROOT = Path(__file__).parents[2]
QUIET_MS = 200.0


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], Path]:
    """Exit code, results, folder."""
    folder = tmp_path_factory.mktemp("appliance")
    bundle, study = write_golden_bundle(folder / "tiny.bundle"), write_study(1, folder / "small")
    out = folder / "appliance.json"
    code = run(
        [
            "bench", "appliance", str(bundle), str(study), "-o", str(out), "--device", "cpu", "--threads", "1",
            "--repeats", "2", "--senders", "2", "--instances", "4", "--matrix", "32", "--quiet-seconds", "0.2",
        ]
    )  # fmt: skip
    return code, json.loads(out.read_text()), folder


def test_the_rate_is_that_of_all_senders(measured: tuple[int, dict[str, Any], Path]) -> None:
    code, document, _ = measured
    assert code == 0
    (rate,) = document["rates"]
    assert (rate["senders"], rate["instances"], len(rate["wall_ms"]["samples"])) == (2, 4, 2)
    seconds = rate["wall_ms"]["median"] / 1000
    assert rate["instances_per_s"] == pytest.approx(8 / seconds, rel=1e-2)
    assert rate["megabytes_per_s"] == pytest.approx(2 * rate["megabytes"] / seconds, rel=2e-2, abs=0.01)
    assert 0 < rate["response_ms"]["median"] <= rate["slowest_ms"] <= rate["wall_ms"]["max"]


def test_the_parts_of_the_way_make_the_whole(measured: tuple[int, dict[str, Any], Path]) -> None:
    (study,) = measured[1]["studies"]
    way = {name: found["samples"] for name, found in study["way"].items() if name != "stages_ms"}
    for n in range(2):
        parts = sum(way[name][n] for name in ("completeness_ms", "queue_ms", "compute_ms", "deliver_ms"))
        assert parts == pytest.approx(way["whole_ms"][n], abs=0.01)
        rest = way["whole_ms"][n] - QUIET_MS - way["inference_ms"][n]
        assert way["added_ms"][n] == pytest.approx(rest, abs=0.01)
        assert way["completeness_ms"][n] >= QUIET_MS
        assert (
            0 < way["inference_ms"][n] < way["compute_ms"][n] < way["whole_ms"][n] <= way["all_stored_ms"][n]
        )
        assert way["deliver_ms"][n] > 0 and way["queue_ms"][n] >= 0
    stages = study["way"]["stages_ms"]
    inference = sum(
        found["samples"][0]
        for name, found in stages.items()
        if name in ("check", "regions", "radiomics", "classify") or ": " in name
    )
    assert inference == pytest.approx(way["inference_ms"][0], abs=0.01)


def test_the_peer_got_every_object(measured: tuple[int, dict[str, Any], Path]) -> None:
    (study,) = measured[1]["studies"]
    assert study["objects"] == ["key", "sc", "seg", "seg", "sr"] and study["status"] in (
        "ok",
        "indeterminate",
    )
    assert study["instances"] == 8 + 3 * 8 and study["origin"] == "given"
    assert set(measured[1]["peak_mib"]) == {"serve", "receive", "work", "deliver"}
    assert all(mib > 20 for mib in measured[1]["peak_mib"].values())


def test_the_file_is_valid_and_names_no_folder(measured: tuple[int, dict[str, Any], Path]) -> None:
    _, document, folder = measured
    schema = json_schema(ApplianceReport)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert ApplianceReport.model_validate(document).model_dump(mode="json", by_alias=True) == document
    assert str(folder.parent) not in json.dumps(document)
    assert document["headline"] is False, "two samples have no interval"
    assert document["selftest"]["passed"] and document["quiet_seconds"] == 0.2 and not document["commitment"]
    assert not any("RESULT CHANGES" in remark for remark in document["remarks"])


def test_slices_are_images_with_uids_of_their_own(tmp_path: Path) -> None:
    size = write_slices(tmp_path / "a", 3, 32, "a")
    assert size == sum(path.stat().st_size for path in (tmp_path / "a").iterdir()) > 3 * 32 * 32 * 2
    write_slices(tmp_path / "b", 3, 32, "b")
    made = [pydicom.dcmread(path) for name in "ab" for path in sorted((tmp_path / name).iterdir())]
    assert len({one.SOPInstanceUID for one in made}) == 6
    assert [len({one.StudyInstanceUID for one in made[k : k + 3]}) for k in (0, 3)] == [1, 1]
    assert made[0].StudyInstanceUID != made[3].StudyInstanceUID
    assert not np.array_equal(made[0].pixel_array, made[1].pixel_array)


def test_a_study_under_other_uids_is_otherwise_the_same(tmp_path: Path) -> None:
    source = write_study(1, tmp_path / "source")
    (source / "notes.txt").write_text("not DICOM")
    before = [pydicom.dcmread(path) for path in sorted(source.glob("*.dcm"))]
    uid, count, size = renamed_study(source, tmp_path / "copy", "x")
    after = [pydicom.dcmread(path) for path in sorted((tmp_path / "copy").iterdir())]
    assert count == len(before) == len(after) and size > 0
    assert {one.StudyInstanceUID for one in after} == {uid} != {before[0].StudyInstanceUID}
    assert len({one.SeriesInstanceUID for one in after}) == len({one.SeriesInstanceUID for one in before})
    for old, new in zip(before, after, strict=True):
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID != old.SOPInstanceUID
        changed = {element.keyword for element in new if element != old[element.tag]}
        assert changed == {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"}
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no DICOM images"):
        renamed_study(tmp_path / "none", tmp_path / "other", "x")


def test_wrong_choices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--senders"):
        ApplianceOptions(senders="0")
    assert run(["bench", "appliance", "x", "-o", str(tmp_path / "o.json"), "--senders", "many"]) == 2


def test_the_table_tells_quiet_time_apart() -> None:
    words = render(appliance())
    assert "complete after 2 quiet second(s)" in words and "| 3       | 225 " in words
    assert "added: without quiet time and inference" in words
