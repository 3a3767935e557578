"""Faults put into parts of a site: each is found by the name of its check, with what to do. The sound part passes."""

import hashlib
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pydicom
import pytest
from onnx import numpy_helper
from pydicom.dataset import Dataset

from scanside.runtime.acceptance import geometry, load, machine, models, phantom, refusals, saved, setup
from scanside.runtime.acceptance.record import Check, Failed
from scanside.runtime.acceptance.rehearsal import as_toml, rehearsed
from scanside.runtime.acceptance.run import GEOMETRY_BUNDLE
from scanside.runtime.acceptance.sender import send_files
from scanside.runtime.appliance.check import check
from scanside.runtime.appliance.config import (
    Config,
    DicomArchive,
    DicomDestination,
    Fetch,
    Rule,
    Tls,
    load_config,
)
from scanside.runtime.appliance.serve import make_folders
from scanside.runtime.appliance.store import audit, intake
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance, Item, Patient
from scanside.runtime.appliance.store.states import Sending
from scanside.runtime.bundle import open_bundle
from scanside.runtime.dicom.phantom_study import StudyNames, write_phantom_study
from scanside.runtime.options import Options
from scanside.runtime.radiomics.conformance import conformance
from scanside.runtime.radiomics.conformance import phantom as ibsi_phantom
from scanside.runtime.study.compose import run_report
from scanside.runtime.study.objects import write_objects
from scanside.runtime.study.pipeline import StudyRunner, read_recipe
from scanside.runtime.study.read import read_study
from scanside.runtime.study.report import LesionFound, StudyReport
from scanside.runtime.trust import Trust
from scanside.runtime.volume import Volume
from tests.runtime.acceptance.proven import change
from tests.runtime.acceptance.site import configure
from tests.support.appliance import free_port
from tests.support.tls_files import make_tls

CPU = Options(device="cpu", threads=1)
TRUST = Trust(allow=("geometry-phantom",))


def failed(checks: Any) -> set[str]:
    """Names of what failed; each says what to do."""
    found = [one for one in checks if one.result.outcome == "failed"]
    for one in found:
        assert isinstance(one.result, Failed)
        assert one.result.what.endswith(".") and one.result.to_do.endswith("."), one
    return {one.key for one in found}


# Configuration and installation


def _open_to_all(config: Config, _: Path) -> Config:
    config.service.data.chmod(0o755)
    return config


def _no_tls_file(config: Config, folder: Path) -> Config:
    missing = Tls(certificate=folder / "no.pem", key=folder / "no.key", authority=folder / "no.ca")
    return config.model_copy(update={"receive": config.receive.model_copy(update={"tls": missing})})


def _expired(config: Config, folder: Path) -> Config:
    tls = make_tls(folder / "tls").expired
    tls.key.chmod(0o600)
    return config.model_copy(update={"receive": config.receive.model_copy(update={"tls": tls})})


def _no_device(config: Config, _: Path) -> Config:
    return config.model_copy(update={"work": config.work.model_copy(update={"device": "quantum"})})


def _no_bundle(config: Config, folder: Path) -> Config:
    return config.model_copy(update={"service": config.service.model_copy(update={"bundle": folder})})


def _no_pacs(config: Config, _: Path) -> Config:
    there = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=free_port())
    return config.model_copy(update={"destinations": (there,)})


def _damaged_store(config: Config, _: Path) -> Config:
    config.database.write_bytes(b"this is no store" * 500)
    return config


def _altered_audit(config: Config, _: Path) -> Config:
    with Database(config.database, create=True) as database:
        audit.record(database, "somebody", "did something", detail={})
    with sqlite3.connect(config.database) as forger:
        forger.execute("DROP TRIGGER audit_is_not_changed")
        forger.execute("UPDATE audit SET actor = 'nobody'")
    return config


SETUP: dict[str, Callable[[Config, Path], Config]] = {
    "setup: data folder": _open_to_all,
    "setup: receive.tls": _expired,
    "setup: device": _no_device,
    "setup: bundle": _no_bundle,
    "setup: destination pacs": _no_pacs,
    "setup: store": _damaged_store,
    "setup: audit log": _altered_audit,
}


@pytest.fixture
def site(tmp_path: Path, proven: Path) -> Config:
    config = configure(tmp_path, proven)
    make_folders(config)
    return config


def test_a_sound_configuration(site: Config) -> None:
    assert failed(setup.configured(check(site))) == set()


@pytest.mark.parametrize("name", SETUP)
def test_faults_of_the_configuration(site: Config, tmp_path: Path, name: str) -> None:
    assert failed(setup.configured(check(SETUP[name](site, tmp_path)))) == {name}


def test_a_missing_tls_file(site: Config, tmp_path: Path) -> None:
    (found,) = [
        one for one in setup.configured(check(_no_tls_file(site, tmp_path))) if one.name == "receive.tls"
    ]
    assert failed([found]) == {"setup: receive.tls"} and "no.pem" in found.sentence


def test_a_port_that_is_taken(site: Config) -> None:
    with socket.create_server(("127.0.0.1", site.receive.port)):
        assert failed(setup.configured(check(site))) == {"setup: receive.port"}


# Bundle


def _wrong_spacing(bundle: Path) -> None:
    def edit(manifest: dict[str, Any]) -> None:
        manifest["segmenters"]["t2w"]["plan"]["spacing"][2] *= 1.5

    change(bundle, edit)


def _flipped_byte(bundle: Path) -> None:
    path = bundle / "segmenters/dwi/0.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _other_weights(bundle: Path) -> None:
    """A forger: the hashes are right, and the network is another one."""
    path = bundle / "segmenters/dwi/0.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "bias":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.85), "bias"))
    onnx.save(model, path)
    change(bundle, lambda manifest: None, "segmenters/dwi/0.onnx")


def _other_radiomics(bundle: Path) -> None:
    """Features of the T2WI are measured on other pixels."""
    path = bundle / "radiomics.yaml"
    path.write_text(path.read_text().replace("[1.0, 1.0, 0.0]", "[1.5, 1.5, 0.0]"))
    change(bundle, lambda manifest: None, "radiomics.yaml")


def _no_golden(bundle: Path) -> None:
    change(bundle, lambda manifest: manifest.update(golden=[]))


MODEL: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "wrong spacing": (_wrong_spacing, {"model: t2w-phantom on cpu, fp32"}),
    "a flipped bit": (_flipped_byte, {"model: every file as exported"}),
    "other weights": (_other_weights, {"model: dwi-phantom on cpu, fp32"}),
    "no golden cases": (_no_golden, {"model: golden cases"}),
}


def test_a_sound_bundle(proven: Path) -> None:
    checks = list(models.bundle_checks(open_bundle(proven), CPU, TRUST))
    assert failed(checks) == set() and len(checks) == 5
    assert [figure.values for one in checks for figure in one.figures if figure.kind == "exact"] == [
        (0,),
        (0,),
    ]


@pytest.mark.parametrize("name", MODEL)
def test_faults_of_the_bundle(tmp_path: Path, proven: Path, name: str) -> None:
    damage, expected = MODEL[name]
    bundle = shutil.copytree(proven, tmp_path / "bundle")
    damage(bundle)
    assert failed(models.bundle_checks(open_bundle(bundle), CPU, TRUST)) == expected


def test_another_recipe_of_radiomics(tmp_path: Path, proven: Path) -> None:
    bundle = shutil.copytree(proven, tmp_path / "bundle")
    _other_radiomics(bundle)
    (found,) = [
        one
        for one in models.bundle_checks(open_bundle(bundle), CPU, TRUST)
        if one.name.startswith("golden study")
    ]
    assert failed([found]) == {"model: golden study study-phantom"}


def test_features_beyond_the_consensus() -> None:
    image, mask = ibsi_phantom()
    other = image.data.copy()
    other[0, 0, 0, 0] += 5
    assert failed([models.ibsi(conformance())]) == set()
    assert failed([models.ibsi(conformance(Volume(other, image.geometry), mask))]) == {
        "features: IBSI-1 digital phantom"
    }


# Machine


def test_the_clock(site: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = replace(machine.look_at_clock(site), synchronised=True)
    assert failed(machine.clock(sound)) == set()
    monkeypatch.setattr(time, "time", lambda: datetime(2020, 1, 1).timestamp())
    stale = machine.look_at_clock(site)
    assert failed(machine.clock(stale)) == {"machine: clock is not behind"}
    ahead = replace(sound, peers={"pacs": 90.0})
    assert failed(machine.clock(ahead)) == {"machine: clock is synchronised"}
    unknown = machine.clock(replace(sound, synchronised=False))
    assert [one.result.outcome for one in unknown] == ["passed", "not done"]


def test_a_slow_disk(tmp_path: Path, site: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed([machine.disk_speed((0.001,) * 20)]) == set()
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (time.sleep(0.05), flush(number))[1])
    monkeypatch.setattr(machine, "FLUSH_SECONDS", 0.04)
    assert failed(machine.disk(site)) == {"machine: disk is fast enough"}
    assert list(site.service.data.glob(".flush-*")) == []


def test_a_full_disk() -> None:
    assert failed([machine.disk_room(11e9, 5)]) == set()
    assert failed([machine.disk_room(9e9, 5)]) == {"machine: disk has room"}


# Who may send


@contextmanager
def _takes_everything() -> Iterator[DicomDestination]:
    """A receiver that asks nobody's name."""
    from pynetdicom import AE, evt

    entity = AE("SCANSIDE")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.1.4")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])
    assert server is not None
    try:
        yield DicomDestination(
            name="receiver", ae_title="SCANSIDE", host="127.0.0.1", port=server.server_address[1]
        )
    finally:
        server.shutdown()


def test_a_receiver_that_takes_everybody(tmp_path: Path, site: Config) -> None:
    names = StudyNames(("strangers",), datetime(2026, 1, 1))
    (file, *_) = write_phantom_study({"t2w": phantom.images()["t2w"]}, {}, names, tmp_path)
    with _takes_everything() as receiver:

        def send(files: list[Path], calling: str, called: str | None, plaintext: bool) -> dict[str, str]:
            as_whom = site.model_copy(update={"send": site.send.model_copy(update={"ae_title": calling})})
            there = receiver.model_copy(update={"ae_title": called} if called else {})
            return send_files(there, as_whom, files)

        assert failed(refusals.strangers(send, file, callers=True, tls=True)) == {
            "association: a calling AE title that is not listed",
            "association: a called AE title that is not ours",
            "association: a sender without TLS",
        }


# The phantom, computed and read back


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


# The site's own state is not touched


def test_a_rehearsal_keeps_away_from_what_is_the_sites(tmp_path: Path, proven: Path) -> None:
    site = configure(tmp_path, proven, service={"anchor": tmp_path / "anchor.json"})
    there = [
        DicomDestination(
            name="pacs", ae_title="PACS", host="127.0.0.1", port=104, rule=Rule(calling=("MR1",))
        )
    ]
    archive = DicomArchive(name="archive", ae_title="PACS", host="127.0.0.1", port=104)
    site = site.model_copy(update={"destinations": tuple(there), "fetch": Fetch(archives=(archive,))})
    made = rehearsed(site, tmp_path / "run", ["geometry-phantom"])
    (tmp_path / "run.toml").write_text(as_toml(made))
    read = load_config(tmp_path / "run.toml")
    assert read == made, "as it is written, it is read"
    folders = (read.database, read.spool, read.results, read.quarantine, read.anchor)
    assert all(path.is_relative_to(tmp_path / "run") for path in folders)
    assert read.service.require_review and read.watch.port == 0 and read.fetch.archives == ()
    assert read.destinations[0].rule.calling == ("MR1", "SCANSIDE_ACCEPT")
    assert read.receive.port == site.receive.port and read.work == site.work


def test_a_backup_that_lacks_an_image(tmp_path: Path, site: Config) -> None:
    with Database(site.database, create=True) as db:
        content = b"an image"
        (site.spool / "x").write_bytes(content)
        one = Instance("1.2.9", "1.2", "1.2.3", "x", hashlib.sha256(content).hexdigest(), len(content))
        intake.add_instance(db, one, association="a", calling="MR1", patient=Patient("1", "A"), most=9)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    assert failed([saved.backed_up(site.service.data, tmp_path / "first")]) == set()
    (site.spool / "x").write_bytes(b"another one")
    assert failed([saved.backed_up(site.service.data, tmp_path / "second")]) == {
        "machine: a backup is restored and verified"
    }
    site.database.write_bytes(b"no store" * 999)
    assert failed([saved.backed_up(site.service.data, tmp_path / "third")]) == {
        "machine: a backup is restored and verified"
    }


# Load


def test_a_device_that_does_not_compute_the_same_twice(made: Made) -> None:
    report = made[1]
    assert report.probability is not None
    other = report.model_copy(update={"probability": report.probability.model_copy(update={"value": 0.8})})
    assert failed([load.same([report, report])]) == set()
    assert failed([load.same([report, other])]) == {"load: one study, one result"}
