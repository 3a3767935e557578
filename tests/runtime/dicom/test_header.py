"""Headers are the same whether they end within the first bytes of a file or not."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)

from scanside.runtime.dicom import header
from scanside.runtime.dicom.header import read_dataset, read_instance
from scanside.runtime.errors import ImageReadError


def image(rows: int, private: int) -> Dataset:
    """An MR image with a private attribute of so many bytes before its pixels."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.PatientID = MRImageStorage, "2.25.1", "P1"
    made.SamplesPerPixel, made.BitsAllocated, made.BitsStored, made.HighBit = 1, 16, 16, 15
    made.PixelRepresentation, made.PhotometricInterpretation = 0, "MONOCHROME2"
    made.Rows = made.Columns = rows
    made.private_block(0x0029, "SCANSIDE TEST", create=True).add_new(1, "OB", bytes(private))
    if rows:
        made.add_new(0x7FE00010, "OW", np.arange(rows * rows, dtype=np.uint16).tobytes())
    return made


@pytest.mark.parametrize("private", [0, header._HEAD - 500, header._HEAD + 4])
@pytest.mark.parametrize("rows", [0, 8, 300])
@pytest.mark.parametrize(
    ("syntax", "part_10"),
    [
        (ExplicitVRLittleEndian, True),
        (ImplicitVRLittleEndian, True),
        (ImplicitVRLittleEndian, False),
        (ExplicitVRBigEndian, True),
        (DeflatedExplicitVRLittleEndian, True),
    ],
)
def test_the_first_bytes_give_the_same_header_as_the_whole_file(
    tmp_path: Path, syntax: UID, part_10: bool, rows: int, private: int
) -> None:
    file, made = tmp_path / "one.dcm", image(rows, private)
    if part_10:
        made.file_meta = pydicom.dataset.FileMetaDataset()
        made.file_meta.TransferSyntaxUID = syntax
        made.save_as(file, enforce_file_format=True)
    else:
        made.save_as(file, implicit_vr=True, little_endian=True)
    wanted = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    got = read_dataset(file, stop_before_pixels=True)
    assert got == wanted and got.PatientID == "P1" and "PixelData" not in got
    if rows:
        assert read_instance(file).header == wanted
    else:  # an image that lost its end
        with pytest.raises(ImageReadError):
            read_instance(file)
    assert got.file_meta == wanted.file_meta and got.original_encoding == wanted.original_encoding


def test_the_whole_file_is_read_only_where_the_header_is_longer_than_its_first_bytes(tmp_path: Path) -> None:
    found = {}
    for private in (0, header._HEAD + 4):
        file, made = tmp_path / f"{private}.dcm", image(8, private)
        made.file_meta = pydicom.dataset.FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.save_as(file, enforce_file_format=True)
        with header._Bounded(file) as opened:
            found[private] = header._from_head(opened) is not None
    assert found == {0: True, header._HEAD + 4: False}
