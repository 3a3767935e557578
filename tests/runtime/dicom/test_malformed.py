"""Damaged files from disk: each is read or refused in a sentence; nothing crashes, hangs or takes memory for ever.

The same files over the network: tests/runtime/appliance. `make soak` runs 5,000.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from scanside.runtime.dicom import decoder_process, header
from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.study import index_study
from scanside.runtime.errors import GeometryError, ImageReadError, ScansideError
from scanside.runtime.study.series_list import list_series
from tests.support import mutate
from tests.support.dicom_factory import Grid, enhanced, save, slice_of, stored_values, write_series
from tests.support.mutate import elements_of, mutations
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("malformed")

ROOT = Path(__file__).resolve().parents[3]
GROWTH_MB = 300


def made_seeds(folder: Path) -> list[Path]:
    """Classic, implicit, RLE, deflated and enhanced objects."""
    stored = stored_values((4, 16, 12))
    files = []
    for name in ("explicit", "implicit", "rle", "deflated"):
        dataset = slice_of(stored, 1, Grid())
        dataset.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
        dataset.add_new(0x0019100C, "IS", "800")
        if name == "implicit":
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        elif name == "deflated":
            dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        elif name == "rle":
            dataset.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
        files.append(save(dataset, folder / f"{name}.dcm"))
    files.append(save(enhanced(stored, Grid(), range(4), shared_plane=True), folder / "enhanced.dcm"))
    return files


def vendor_seeds() -> list[Path]:
    """The first file of every series of the test data, and what is malformed already."""
    root = shared_data("dicom")
    folders = sorted({file.parent for file in root.rglob("*") if file.is_file()} - {root / "LICENSES_cmbcrc"})
    odd = [file for file in sorted(shared_data("malformed", "pydicom").iterdir()) if file.suffix == ".dcm"]
    return [min(folder.iterdir()) for folder in folders] + odd


def run_gauntlet(work: Path, seeds: list[Path], count: int, seed: int) -> Counter[str]:
    command = [
        sys.executable,
        "-m",
        "tests.support.gauntlet",
        str(work),
        str(count),
        str(seed),
        *map(str, seeds),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    last = lines[-1].get("name", "the end") if lines else "the start"
    assert done.returncode == 0, f"after {last}:\n{done.stderr[-3000:]}"
    *rows, memory = lines
    assert len(rows) == count
    assert memory["peak_mb"] - memory["before_mb"] < GROWTH_MB, memory
    found = Counter(outcome for row in rows for outcome in row["outcomes"])
    print(f"{count} mutations: {dict(found)}; {memory}")
    return found


def test_made_files_damaged(tmp_path: Path) -> None:
    found = run_gauntlet(tmp_path, made_seeds(tmp_path), 300, seed=1)
    assert found["read"] > 50 and found["ImageReadError"] > 50 and found["GeometryError"] > 5


def test_vendors_files_damaged(tmp_path: Path) -> None:
    found = run_gauntlet(tmp_path, vendor_seeds(), 60, seed=1)
    assert found["read"] > 20 and found["ImageReadError"] > 20


@pytest.mark.slow
def test_five_thousand_damaged_files(tmp_path: Path) -> None:
    found = run_gauntlet(tmp_path, [*made_seeds(tmp_path), *vendor_seeds()], 5000, seed=2)
    assert found.total() >= 10_000


def test_mutations_are_the_same_every_time_and_a_prefix_of_longer_runs(tmp_path: Path) -> None:
    seeds = made_seeds(tmp_path)
    first, again, other = (list(mutations(seeds, n, s)) for n, s in ((60, 1), (90, 1), (60, 2)))
    assert first == again[:60] and first != other
    kinds = {name.split("-")[1] for name, _ in mutations(seeds, 400, 1)}
    assert kinds == set(mutate._KINDS)
    originals = {file.read_bytes() for file in seeds}
    assert sum(content in originals for _, content in again) < 10


def test_the_scanner_finds_what_pydicom_finds(tmp_path: Path) -> None:
    for file in made_seeds(tmp_path):
        dataset = pydicom.dcmread(file)
        if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
            continue
        found = {element.tag for element in elements_of(file.read_bytes())}
        assert {int(element.tag) for element in (*dataset, *dataset.file_meta)} <= found


def test_every_malformed_file_as_a_study(tmp_path: Path) -> None:
    outcomes = {}
    for number, file in enumerate(sorted(shared_data("malformed", "pydicom").glob("*.dcm"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / file.name).symlink_to(file)
        try:
            outcomes[file.name] = [row.problem for row in list_series(folder)]
        except ScansideError as error:
            assert_one_sentence(str(error))
            outcomes[file.name] = [str(error)]
    readable = {name for name, problems in outcomes.items() if problems == [None]}
    assert {name for name in outcomes if name.startswith("MR_small")} | {
        "J2K_pixelrep_mismatch.dcm"
    } <= readable
    for problems in outcomes.values():
        for problem in (words for words in problems if words):
            assert_one_sentence(problem)


def refused(path: Path, error: type[ScansideError], *words: str) -> None:
    with pytest.raises(error) as caught:
        read_series(path)
    assert_one_sentence(str(caught.value), *words)


def test_enormous_sizes_are_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    def change(_: int, dataset: pydicom.Dataset) -> None:
        dataset.Rows = dataset.Columns = 65535

    refused(write_series(tmp_path, stored_values(), change=change), ImageReadError, "21474 million pixels")


def test_a_bomb_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "LARGEST_INFLATED", 1 << 22)
    dataset = slice_of(stored_values(), 0, Grid())
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    good = save(dataset, tmp_path / "good.dcm")
    assert read_series(good)[0].data.shape == (1, 1, 8, 6)
    dataset.add_new(0x00091001, "OB", bytes(1 << 22))
    path = save(dataset, tmp_path / "bomb.dcm")
    assert path.stat().st_size < 10_000
    refused(path, ImageReadError, "bomb.dcm", "unpacks to more than 4 MiB")


def test_a_decoder_that_dies_refuses_the_file_and_not_the_program(tmp_path: Path) -> None:
    """GDCM aborts its process on this JPEG 2000 codestream, whose components are subsampled beyond its size."""
    dataset = pydicom.dcmread(shared_data("malformed", "pydicom", "J2K_pixelrep_mismatch.dcm"))
    assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
    data = bytearray(dataset.PixelData)
    data[data.index(b"\xff\x4f") + 42] ^= 0x40
    dataset.PixelData = bytes(data)
    dataset.save_as(tmp_path / "j2k.dcm")
    alone = "import sys, pydicom; pydicom.dcmread(sys.argv[1]).pixel_array"
    died = subprocess.run(
        [sys.executable, "-c", alone, tmp_path / "j2k.dcm"], capture_output=True, check=False
    )
    if died.returncode >= 0:
        pytest.skip("NOT TESTED: this GDCM survives the codestream")
    refused(tmp_path / "j2k.dcm", ImageReadError, "j2k.dcm", "truncated or damaged")


def test_a_decoder_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_process, "SECONDS", 0.0)
    monkeypatch.setattr(decoder_process, "SECONDS_PER_FRAME", 0.0)
    refused(shared_data("malformed", "pydicom", "MR_small_jp2klossless.dcm"), ImageReadError, "damaged")


def test_a_damaged_file_in_a_study_is_never_passed_over(tmp_path: Path) -> None:
    """It may be the slice that shows the lesion."""
    write_series(tmp_path, stored_values())
    path = tmp_path / "IM0004.dcm"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ImageReadError) as caught:
        index_study(tmp_path)
    assert_one_sentence(str(caught.value), "IM0004.dcm")


@pytest.mark.parametrize("value", [[1e308, 0, 0], [0, 0, -1e308]])
def test_positions_beyond_reason(tmp_path: Path, value: list[float]) -> None:
    def change(z: int, dataset: pydicom.Dataset) -> None:
        if z == 2:
            dataset.ImagePositionPatient = value

    with np.errstate(all="ignore"):
        refused(write_series(tmp_path, stored_values(), change=change), GeometryError)
