"""The stages of a whole study: files in, features, pictures and DICOM objects out."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from scanside.runtime.bundle import Bundle
from scanside.runtime.dicom.object_header import Algorithm, stamp_of
from scanside.runtime.dicom.seg import write_seg
from scanside.runtime.dicom.sr import write_sr
from scanside.runtime.radiomics.config import load_config
from scanside.runtime.radiomics.extract import extract
from scanside.runtime.study.findings import report_of
from scanside.runtime.study.overlay import draw_overlay
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult
from tests.benchmarks.stages.conftest import NEEDED, Layout
from tests.runtime.study.tiny_study import FEATURES, TinyStudy, images


def test_read_dicom(benchmark: BenchmarkFixture, study: Path, layout: Layout) -> None:
    found = benchmark(read_study, study, NEEDED)
    written = images(TinyStudy(t2w_grid=layout.t2w, dwi_grid=layout.dwi))
    for name in NEEDED:
        assert np.array_equal(found.images[name].volume.data, written[name].data), name


def test_radiomics(benchmark: BenchmarkFixture, bundle: Bundle, result: StudyResult) -> None:
    assert result.study is not None and result.features is not None and bundle.manifest.radiomics
    config = load_config(bundle.read(bundle.manifest.radiomics))
    volumes = {name: image.volume for name, image in result.study.images.items()}
    masks = {role: found.main for role, found in result.roles.items()}
    found = benchmark(extract, volumes, masks, config, FEATURES)
    assert found == dict(result.features) and all(value.value is not None for value in found.values())


def test_overlay(benchmark: BenchmarkFixture, result: StudyResult) -> None:
    assert result.study is not None
    volume, main = result.study.images["t2w"].volume, result.roles["t2w"].main
    picture = benchmark(draw_overlay, volume, main, "t2w", True)
    assert isinstance(picture, Image.Image)
    red, green, blue = (np.asarray(picture.convert("RGB"), int)[..., channel] for channel in range(3))
    assert ((abs(red - green) > 60) | (abs(green - blue) > 60)).any(), "the outline is in colour"


def test_seg(benchmark: BenchmarkFixture, result: StudyResult, tmp_path: Path) -> None:
    assert result.study is not None
    mask, series = result.roles["t2w"].mask, result.study.images["t2w"].source
    path = tmp_path / "mask.dcm"
    benchmark(
        write_seg, mask, {"lesion": 1}, series, path,
        algorithm_name="tiny", algorithm_version="1", bundle_sha256="0" * 64,
    )  # fmt: skip
    written = highdicom.seg.segread(path)
    assert int(written.pixel_array.sum()) == int(mask.sum()) > 0


def test_sr(benchmark: BenchmarkFixture, bundle: Bundle, result: StudyResult, tmp_path: Path) -> None:
    assert result.study is not None
    sources = [list(image.source.headers) for image in result.study.images.values() if image.source]
    algorithm = Algorithm(bundle.manifest.name, bundle.manifest.version, bundle.sha256)
    stamp = stamp_of(algorithm, [header for series in sources for header in series])
    trackings = {
        (role, lesion.number): (f"{role} {lesion.number}", stamp.uid("lesion", role, str(lesion.number)))
        for role, found in result.roles.items()
        for lesion in found.lesions
    }
    report, path = report_of(result, bundle, {}, trackings), tmp_path / "report.dcm"
    benchmark(write_sr, report, sources, (), stamp, path)
    written = pydicom.dcmread(path)
    assert written.Modality == "SR" and written.VerificationFlag == "UNVERIFIED"
    assert written.StudyInstanceUID == sources[0][0].StudyInstanceUID
