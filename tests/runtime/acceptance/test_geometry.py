"""The phantom, computed and read back from an archive with faults: each is found by the name of its check."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from scanside.runtime.acceptance import geometry, load, phantom
from scanside.runtime.acceptance.record import Check
from scanside.runtime.acceptance.run import GEOMETRY_BUNDLE
from scanside.runtime.appliance.store.records import Item
from scanside.runtime.appliance.store.states import Sending
from scanside.runtime.bundle import open_bundle
from scanside.runtime.dicom.phantom_study import StudyNames, write_phantom_study
from scanside.runtime.study.compose import run_report
from scanside.runtime.study.objects import write_objects
from scanside.runtime.study.pipeline import StudyRunner, read_recipe
from scanside.runtime.study.read import read_study
from scanside.runtime.study.report import LesionFound, StudyReport
from tests.runtime.acceptance.faults import CPU, failed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyReport, tuple[Item, ...]]:
    """The objects of the phantom, as they are sent, and its result."""
    folder = tmp_path_factory.mktemp("made")
    bundle = open_bundle(GEOMETRY_BUNDLE)
    recipe = read_recipe(bundle)
    names = StudyNames(("faults",), datetime(2026, 1, 1))
    write_phantom_study(phantom.images(), phantom.B_VALUES, names, folder / "study")
    with StudyRunner(bundle, CPU) as runner:
        result = runner.run(read_study(folder / "study", recipe.needed))
    (folder / "out").mkdir()
    objects, warnings = write_objects(result, bundle, recipe.channels, folder / "out")
    assert not warnings
    items = tuple(
        Item(n, 1, "case", "pacs", one.kind, one.sop_class_uid, one.sop_instance_uid, one.path.name,
             Sending.COMMITTED, 1, 0.0, None, None, 0.0, one.series_instance_uid)
        for n, one in enumerate(objects)
    )  # fmt: skip
    return folder / "out", run_report(result, bundle, CPU, [folder / "study"], []), items


Made = tuple[Path, StudyReport, tuple[Item, ...]]
COMES_BACK = "archive: pacs: every object comes back"
PATIENT = "archive: pacs: patient and study unchanged"
SEGMENTATIONS = "archive: pacs: Segmentations lie where the bodies are"
REPORT = "archive: pacs: volumes of the report"


def _back(made: Made, folder: Path, edit: Callable[[str, Dataset], bool]) -> tuple[Check, ...]:
    """Read back from an archive that does something to what it was sent."""
    out, _, items = made
    found = {}
    for item in items:
        dataset = pydicom.dcmread(out / item.path)
        if edit(item.path, dataset):
            found[item.sop_uid] = folder / item.path
            dataset.save_as(found[item.sop_uid])
    return geometry.read_back("pacs", "C-GET", items, found)


def _segs(change_one: Callable[[Dataset], None]) -> Callable[[str, Dataset], bool]:
    def edit(name: str, dataset: Dataset) -> bool:
        if name == "t2w_mask.dcm":
            change_one(dataset)
        return True

    return edit


def _flip(axis: int) -> Callable[[Dataset], None]:
    def flip(dataset: Dataset) -> None:
        from pydicom.pixels.utils import pack_bits

        frames = np.flip(dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns), axis)
        dataset.PixelData = pack_bits(np.ascontiguousarray(frames).ravel(), pad=True)

    return flip


def _lower(dataset: Dataset) -> None:
    for group in dataset.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0].ImagePositionPatient
        position[2] = f"{float(position[2]) + 4.0:.6f}"


def _upside_down(dataset: Dataset) -> None:
    shared = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    shared.ImageOrientationPatient = [-float(v) for v in shared.ImageOrientationPatient]


def _larger_pixels(dataset: Dataset) -> None:
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [float(v) * 1.1 for v in measures.PixelSpacing]


def _other_volume(name: str, dataset: Dataset) -> bool:
    if name == "report_sr.dcm":
        waiting = list(dataset.ContentSequence)
        while waiting:
            item = waiting.pop()
            waiting += list(item.get("ContentSequence", ()))
            code = item.get("ConceptNameCodeSequence") or [Dataset()]
            if code[0].get("CodeValue") == "118565006":
                item.MeasuredValueSequence[0].NumericValue = 12345
                break
    return True


def _other_patient(_: str, dataset: Dataset) -> bool:
    dataset.PatientName = "ANONYMOUS"
    return True


BACK: dict[str, tuple[Callable[[str, Dataset], bool], set[str]]] = {
    "sound": (lambda name, dataset: True, set()),
    "flipped left and right": (_segs(_flip(2)), {SEGMENTATIONS}),
    "flipped front and back": (_segs(_flip(1)), {SEGMENTATIONS}),
    "frames in another order": (_segs(_flip(0)), {SEGMENTATIONS}),
    "moved by a slice": (_segs(_lower), {SEGMENTATIONS}),
    "turned by half": (_segs(_upside_down), {SEGMENTATIONS}),
    "other pixels": (_segs(_larger_pixels), {SEGMENTATIONS}),
    "a volume of the report": (_other_volume, {REPORT}),
    "another patient": (_other_patient, {PATIENT}),
    "key objects are lost": (lambda name, _: name != "key_images.dcm", {COMES_BACK}),
    "a Segmentation is lost": (lambda name, _: name != "dwi_mask.dcm", {COMES_BACK, SEGMENTATIONS}),
}


@pytest.mark.parametrize("name", BACK)
def test_faults_of_an_archive(made: Made, tmp_path: Path, name: str) -> None:
    edit, expected = BACK[name]
    assert failed(_back(made, tmp_path, edit)) == expected


def test_an_archive_that_does_not_commit(made: Made) -> None:
    items = tuple(replace(item, state=Sending.AWAITING) for item in made[2])
    assert failed(geometry.delivered("pacs", items, True)) == {"archive: pacs: storage commitment"}
    items = tuple(
        replace(item, state=Sending.WAITING, reason="pacs refused it; see there.") for item in items
    )
    assert failed(geometry.delivered("pacs", items, False)) == {"archive: pacs: takes every object"}


def test_images_that_were_changed_on_the_way_in(made: Made) -> None:
    report = made[1]
    assert failed(geometry.computed(report)) == set()

    def told(change_one: Callable[[LesionFound], dict[str, Any]]) -> set[str]:
        lesions = tuple(row.model_copy(update=change_one(row)) for row in report.lesions or ())
        return failed(geometry.computed(report.model_copy(update={"lesions": lesions})))

    both = {f"geometry: {role}: volumes and places" for role in ("t2w", "dwi")}
    assert told(lambda row: {"volume_ml": 1.1 * row.volume_ml}) == both
    assert told(lambda row: {"voxels": row.voxels + 1}) == both

    def mirrored(row: LesionFound) -> dict[str, Any]:
        x, y, z = row.centroid_mm
        return {"centroid_mm": (-x, y, z)} if row.role == "t2w" else {}

    assert told(mirrored) == {"geometry: t2w: volumes and places"}
    assert failed(geometry.computed(report.model_copy(update={"lesions": None}))) == both


def test_a_device_that_does_not_compute_the_same_twice(made: Made) -> None:
    report = made[1]
    assert report.probability is not None
    other = report.model_copy(update={"probability": report.probability.model_copy(update={"value": 0.8})})
    assert failed([load.same([report, report])]) == set()
    assert failed([load.same([report, other])]) == {"load: one study, one result"}
