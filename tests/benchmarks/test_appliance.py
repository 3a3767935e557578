"""`bench appliance`: a real service, real senders, a real peer, as few times as there may be."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pydicom
import pytest

from scanside.benchmarks.appliance_ends import renamed_study, write_slices
from scanside.benchmarks.choices import ApplianceOptions
from scanside.benchmarks.results import Measured, Measurements
from scanside.benchmarks.tables import render
from scanside.runtime.cli.main import run
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.record import json_schema
from tests.benchmarks.golden import write_golden_bundle
from tests.benchmarks.samples import appliance
from tests.support.small_studies import write_study

ROOT = Path(__file__).parents[2]
QUIET_MS = 200.0


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], Path]:
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


@pytest.fixture
def found(ran: tuple[int, dict[str, Any], Path]) -> tuple[Measured, Measured, Measured]:
    """The rate, the study's way, the service."""
    rate, way, service = Measurements.model_validate(ran[1]).measured
    return rate, way, service


def samples(one: Measured) -> dict[str, list[float]]:
    return {quantity.name: quantity.samples for quantity in one.quantities}


def test_the_rate_is_that_of_all_senders(found: tuple[Measured, ...]) -> None:
    rate = found[0]
    assert rate.name == "2 sender(s)" and rate.facts["instances of each"] == 4
    of = samples(rate)
    assert len(of["round"]) == 2
    for n, wall in enumerate(of["round"]):
        assert of["instances"][n] == pytest.approx(8000 / wall, rel=1e-2)
        assert of["bytes"][n] == pytest.approx(
            2000 * rate.facts["megabytes of each"] / wall, rel=2e-2, abs=0.01
        )
        assert 0 < of["acknowledged after"][n] <= of["acknowledged at last after"][n] <= wall


def test_the_parts_of_the_way_make_the_whole(found: tuple[Measured, ...]) -> None:
    study = found[1]
    way = samples(study)
    for n in range(2):
        whole = way["last instance to report"][n]
        parts = sum(way[name][n] for name in ("until complete", "in the queue", "computing", "delivering"))
        assert parts == pytest.approx(whole, abs=0.01)
        assert way["added"][n] == pytest.approx(whole - QUIET_MS - way["inference"][n], abs=0.01)
        assert way["until complete"][n] >= QUIET_MS
        assert 0 < way["inference"][n] < way["computing"][n] < whole <= way["last instance to all objects"][n]
        assert way["delivering"][n] > 0 and way["in the queue"][n] >= 0
    inference = sum(
        ms.samples[0]
        for name, ms in study.stages_ms.items()
        if name in ("check", "regions", "radiomics", "classify") or ": " in name
    )
    assert inference == pytest.approx(way["inference"][0], abs=0.01)


def test_the_peer_got_every_object(
    ran: tuple[int, dict[str, Any], Path], found: tuple[Measured, ...]
) -> None:
    assert ran[0] == 0
    facts, memory = found[1].facts, samples(found[2])
    assert facts["objects"] == ["key", "sc", "seg", "seg", "sr"] and facts["status"] in (
        "ok",
        "indeterminate",
    )
    assert facts["instances"] == 8 + 3 * 8 and facts["origin"] == "given"
    assert set(memory) == {f"{name}, peak memory" for name in ("serve", "receive", "work", "deliver")}
    assert all(mib > 20 for (mib,) in memory.values())


def test_the_file_is_valid_and_names_no_folder(ran: tuple[int, dict[str, Any], Path]) -> None:
    _, document, folder = ran
    schema = json_schema(Measurements)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert Measurements.model_validate(document).model_dump(mode="json", by_alias=True) == document
    assert str(folder.parent) not in json.dumps(document)
    assert document["headline"] is False, "two samples have no interval"
    assert all(one["passed"] for one in document["golden"].values())
    assert document["conditions"]["quiet_seconds"] == 0.2 and not document["conditions"]["commitment"]
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
    assert "quiet_seconds 2" in words and "- 3 sender(s): senders 3, instances of each 300" in words
    assert "| phantom-typical | added " in words and "| 225 1/s " in words
