"""Every volume that real scanners made, with every kind of object beside it: dciodvfy finds no error in any of them."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.dicom.header import attribute
from scanside.runtime.dicom.object_header import Replaced, Revision
from scanside.runtime.dicom.read import read_frames
from scanside.runtime.dicom.study import index_study
from scanside.runtime.errors import InputError
from scanside.runtime.radiomics.extract import FeatureValue
from scanside.runtime.stages.lesions import find_lesions, main_lesion
from scanside.runtime.study.objects import ObjectOptions, ResultObject, write_objects
from scanside.runtime.study.records import RoleResult, SequenceImage, StudyInput, StudyResult
from tests.runtime.study.tiny_study import TinyBundle, write_bundle
from tests.support.dciodvfy import errors_of
from tests.support.shared_data import shared_data

pytestmark = [pytest.mark.slow, pytest.mark.requirement("objects")]

FEATURES = ("t2w_original_firstorder_Mean", "t2w_original_shape_MeshVolume")
KINDS = {"seg", "gsps", "sr", "sc", "key", "reject"}
REPLACED = Replaced("sr", "1.2.840.10008.5.1.4.1.1.88.34", "2.25.11", "2.25.12")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    recipe = TinyBundle(channels={"t2w": ("t2w",)}, features=FEATURES, synthetic=False)
    return open_bundle(write_bundle(tmp_path_factory.mktemp("bundle") / "b", recipe))


def results(folder: Path) -> Iterator[StudyResult]:
    """A result for every volume of a folder: a lesion, and a smaller one, that somebody drew."""
    for one in index_study(folder).volumes:
        if one.problem is not None:
            continue
        volume, source = read_frames(list(one.frames), one.path, one.geometry)
        mask = np.zeros(volume.geometry.shape, np.uint8)
        z, y, x = (size // 2 for size in mask.shape)
        mask[max(z - 2, 0) : z + 2, y - 9 : y + 9, x - 7 : x + 8] = 1
        mask[z, y + 12 : y + 14, x : x + 4] = 1
        found = RoleResult(
            "t2w", mask, main_lesion(mask), find_lesions(mask, volume.geometry, "t2w"), {"lesion": 1.0}, 1
        )
        image = SequenceImage("t2w", volume, folder, one.name, "given", None, source)
        values = {name: FeatureValue(12.5, None) for name in FEATURES}
        study = StudyInput("s", folder, {"t2w": image})
        yield StudyResult("indeterminate", "Nobody can tell.", study, None, {"t2w": found}, values)


def folders() -> list[Path]:
    """Every folder that holds files."""
    root = shared_data("dicom")
    held = {file.parent for file in root.rglob("*") if file.is_file() and "LICENSES" not in str(file)}
    return sorted(held)


def expected(result: StudyResult) -> set[str]:
    """Without a frame of reference there is no place in the patient, and no object that needs one."""
    assert result.study is not None
    source = result.study.images["t2w"].source
    assert source is not None
    placed = all(attribute(header, "FrameOfReferenceUID") for header in source.headers)
    return KINDS if placed else KINDS - {"seg", "gsps"}


def wrong(made: Sequence[ResultObject], encoding: str) -> dict[str, list[str]]:
    """What dciodvfy objects to. It does not know that reports may refer to segments of a Label Map (table 10-3)."""
    found = {}
    for one in made:
        unknown = "that is not segmentation" if (one.kind, encoding) == ("sr", "LABELMAP") else "\0"
        if errors := [line for line in errors_of(one.path) if unknown not in line]:
            found[one.path.name] = errors
    return found


def test_every_object_beside_every_volume_conforms(tmp_path: Path, bundle: Bundle) -> None:
    tried, faults = 0, {}
    for folder in folders():
        try:
            made_of = list(results(folder))
        except InputError as error:
            assert "holds no DICOM images" in str(error)
            continue
        for number, result in enumerate(made_of):
            for encoding in ("BINARY", "LABELMAP"):
                out = tmp_path / f"{tried}"
                out.mkdir()
                options = ObjectOptions(
                    moment=datetime(2026, 3, 15, 10, 30), encoding=encoding, comprehensive=True, outlines=True,
                    reject=True, revision=Revision(2, "x", (REPLACED,)),
                )  # fmt: skip
                made, warnings = write_objects(result, bundle, {"t2w": ("t2w",)}, out, options=options)
                name = f"{folder.parent.name}/{folder.name} {number} {encoding}"
                assert {one.kind for one in made} == expected(result), name
                assert len(warnings) == (expected(result) != KINDS), (name, warnings)
                if found := wrong(made, encoding):
                    faults[name] = found
                tried += 1
    assert faults == {}
    assert tried >= 40
