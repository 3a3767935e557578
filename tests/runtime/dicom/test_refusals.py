"""What the geometry gate and the reader refuse: every case one sentence that names the series."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from scanside.runtime.dicom.read import read_series
from scanside.runtime.errors import GeometryError, ImageReadError, InputError, ScansideError
from tests.support.dicom_factory import Grid, enhanced, save, slice_of, stored_values, write_series
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("geometry")

STORED = stored_values((6, 8, 6))


def on(slices: set[int], keyword: str, value: object) -> Callable[[int, Dataset], None]:
    def change(z: int, dataset: Dataset) -> None:
        if z in slices:
            setattr(dataset, keyword, value)

    return change


def without(keyword: str) -> Callable[[int, Dataset], None]:
    return lambda _, dataset: delattr(dataset, keyword)


def moved(slices: set[int], by: tuple[float, float, float]) -> Callable[[int, Dataset], None]:
    def change(z: int, dataset: Dataset) -> None:
        if z in slices:
            dataset.ImagePositionPatient = [
                p + b for p, b in zip(dataset.ImagePositionPatient, by, strict=True)
            ]

    return change


def sheared(z: int, dataset: Dataset) -> None:
    moved({z}, (0.0, 0.4 * z, 0.0))(z, dataset)


def half_rows(z: int, dataset: Dataset) -> None:
    if z == 2:
        dataset.Rows = 4
        dataset.PixelData = STORED[z, :4].tobytes()


def colour(_: int, dataset: Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"


ALL = set(range(6))
TABLE = {
    "orientation": (on({4}, "ImageOrientationPatient", [1, 0, 0, 0, 0.9998, 0.02]), GeometryError, "differs"),
    "flipped slice": (on({4}, "ImageOrientationPatient", [-1, 0, 0, 0, -1, 0]), GeometryError, "differs"),
    "not orthogonal": (
        on(ALL, "ImageOrientationPatient", [1, 0, 0, 0.1, 1, 0]),
        GeometryError,
        "perpendicular",
    ),
    "zero cosines": (on(ALL, "ImageOrientationPatient", [0] * 6), GeometryError, "perpendicular"),
    "five cosines": (on(ALL, "ImageOrientationPatient", [1, 0, 0, 0, 1]), GeometryError, "no usable Image"),
    "no orientation": (
        without("ImageOrientationPatient"),
        GeometryError,
        "no usable ImageOrientationPatient",
    ),
    "no position": (without("ImagePositionPatient"), GeometryError, "no usable ImagePositionPatient"),
    "empty position": (
        on({3}, "ImagePositionPatient", None),
        GeometryError,
        "no usable ImagePositionPatient",
    ),
    "no pixel spacing": (without("PixelSpacing"), GeometryError, "no usable PixelSpacing"),
    "zero pixel spacing": (on(ALL, "PixelSpacing", [0, 0]), GeometryError, "not positive"),
    "pixel spacing": (on({1}, "PixelSpacing", [0.8, 0.91]), GeometryError, "PixelSpacing differs"),
    "rows": (half_rows, GeometryError, "image size differs"),
    "frame of reference": (
        on({5}, "FrameOfReferenceUID", "1.9"),
        GeometryError,
        "frame of reference differs",
    ),
    "uneven": (moved({2}, (0, 0, 0.6)), GeometryError, "unevenly spaced"),
    "shear": (sheared, GeometryError, "drift 2 mm sideways"),
    "one slice aside": (moved({5}, (0.3, 0, 0)), GeometryError, "sideways"),
    "colour": (colour, InputError, "colour image (RGB)"),
    "palette": (on(ALL, "PhotometricInterpretation", "PALETTE COLOR"), InputError, "colour image"),
    "mosaic": (on(ALL, "ImageType", ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), InputError, "mosaic"),
    "two series": (
        on({3, 4}, "SeriesInstanceUID", "1.7"),
        InputError,
        "holds 2 series: 7 'T2 tra' (4 files)",
    ),
    "many frames": (on({3}, "NumberOfFrames", 2), GeometryError, "without a position each"),
    "zero slope": (on({3}, "RescaleSlope", 0), ImageReadError, "RescaleSlope 0"),
    "truncated": (on({2}, "PixelData", b"\0" * 40), ImageReadError, "truncated or damaged"),
    "no pixels": (without("PixelData"), ImageReadError, "truncated or damaged"),
}


@pytest.mark.parametrize("name", TABLE)
def test_refused(tmp_path: Path, name: str) -> None:
    change, error, words = TABLE[name]
    refused(write_series(tmp_path / "series 7", STORED, change=change), error, "series 7", words)


def refused(path: Path, error: type[ScansideError], *words: str) -> None:
    with pytest.raises(error) as caught:
        read_series(path)
    assert_one_sentence(str(caught.value), *words)
    assert "Phantom" not in str(caught.value)  # the patient's name


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ([0, 1, 3, 4, 5], ("1 slice(s) are missing", "6 mm instead of 3 mm", "IM0001.dcm and IM0002.dcm")),
        ([0, 1, 5], ("3 slice(s) are missing", "12 mm instead of 3 mm")),
        ([0, 2, 3, 5], ("2 slice(s) are missing",)),
    ],
)
def test_missing_slices(tmp_path: Path, kept: list[int], words: tuple[str, ...]) -> None:
    refused(write_series(tmp_path / "gap", STORED, order=kept), GeometryError, "gap", *words)


@pytest.mark.parametrize(
    ("keyword", "values", "words"),
    [
        ("DiffusionBValue", (50.0, 800.0), "DiffusionBValue (50.0, 800.0)"),
        ("AcquisitionNumber", (1, 2), "AcquisitionNumber (1, 2)"),
        ("TemporalPositionIdentifier", (1, 2), "TemporalPositionIdentifier (1, 2)"),
        ("EchoTime", (8.5, 80.0), "EchoTime (8.5, 80.0)"),
        ("ImageType", (["ORIGINAL", "M"], ["ORIGINAL", "P"]), "ImageType (ORIGINAL\\M, ORIGINAL\\P)"),
        ("SeriesDescription", ("a", "b"), "no attribute known here"),
    ],
)
def test_two_volumes_in_one_series(
    tmp_path: Path, keyword: str, values: tuple[object, object], words: str
) -> None:
    for i, value in enumerate(values):
        for z in range(4):
            dataset = slice_of(STORED, z, Grid())
            dataset.SOPInstanceUID += f".{i}"
            setattr(dataset, keyword, value)
            save(dataset, tmp_path / f"{z}_{i}.dcm")
    refused(
        tmp_path, GeometryError, str(tmp_path), "2 images at the same position", "0_0.dcm, 0_1.dcm", words
    )


def test_private_b_values(tmp_path: Path) -> None:
    for i, value in enumerate((50, 800)):
        dataset = slice_of(STORED, 0, Grid())
        dataset.SOPInstanceUID += f".{i}"
        dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", value)
        save(dataset, tmp_path / f"{i}.dcm")
    refused(tmp_path, GeometryError, "b-value (Siemens 0019,100C) (50, 800)")


def test_copies_of_one_image(tmp_path: Path) -> None:
    folder = write_series(tmp_path, STORED)
    (folder / "copy.dcm").write_bytes((folder / "IM0002.dcm").read_bytes())
    refused(folder, GeometryError, "stored twice", "copy.dcm", "IM0002.dcm")


def test_multi_frame_of_two_volumes(tmp_path: Path) -> None:
    dataset = enhanced(STORED, Grid(), [0, 1, 2, 0, 1, 2], shared_plane=True)
    for i, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        kind = Dataset()
        kind.ComplexImageComponent = "MAGNITUDE" if i < 3 else "PHASE"
        item.MRImageFrameTypeSequence = [kind]
    path = save(dataset, tmp_path / "mixed.dcm")
    refused(
        path,
        GeometryError,
        "mixed.dcm frame 1, mixed.dcm frame 4",
        "ComplexImageComponent (MAGNITUDE, PHASE)",
    )


def test_multi_frame_with_too_few_descriptions(tmp_path: Path) -> None:
    dataset = enhanced(STORED, Grid(), range(4), shared_plane=True)
    dataset.NumberOfFrames = 5
    refused(save(dataset, tmp_path / "short.dcm"), GeometryError, "short.dcm", "5 frames but describes 4")


def test_multi_frame_truncated(tmp_path: Path) -> None:
    path = save(enhanced(STORED, Grid(), range(6), shared_plane=False), tmp_path / "cut.dcm")
    path.write_bytes(path.read_bytes()[:-200])
    refused(path, ImageReadError, "cut.dcm", "truncated or damaged")


def test_single_slice_without_thickness(tmp_path: Path) -> None:
    refused(
        write_series(tmp_path, STORED[:1], change=without("SliceThickness")), GeometryError, "single slice"
    )


@pytest.mark.parametrize("cut", [0, 100, 140, 300, 500, -200, -20])
def test_cut_file(tmp_path: Path, cut: int) -> None:
    """At the end of the series no gap would tell: the file itself must be refused."""
    folder = write_series(tmp_path, STORED)
    path = folder / "IM0005.dcm"
    path.write_bytes(path.read_bytes()[:cut] if cut else b"")
    refused(folder, ScansideError, "IM0005.dcm")


@pytest.mark.parametrize("cut", [-20, -60, -100])
def test_cut_compressed_file(tmp_path: Path, cut: int) -> None:
    dataset = slice_of(STORED, 0, Grid())
    dataset.compress(RLELossless, generate_instance_uid=False)
    path = save(dataset, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:cut])
    refused(path, ImageReadError, "a.dcm")


@pytest.mark.parametrize(
    ("uid", "words"),
    [
        ("1.2.840.10008.1.2.4.202", "install pylibjpeg-openjpeg"),
        ("1.2.840.10008.1.2.4.100", "send it uncompressed"),
        ("1.2.3.4.5", "send it uncompressed"),
    ],
)
def test_unknown_transfer_syntax(tmp_path: Path, uid: str, words: str) -> None:
    from pydicom.pixels import get_decoder

    if uid.startswith("1.2.840.10008.1.2.4.20") and get_decoder(uid).is_available:
        pytest.skip("this machine decodes HTJ2K")
    dataset = slice_of(STORED, 0, Grid())
    dataset.compress(RLELossless, generate_instance_uid=False)
    path = save(dataset, tmp_path / "odd.dcm")
    coded = path.read_bytes()
    old = b"1.2.840.10008.1.2.5\0"
    place = coded.index(old)
    padded = uid.encode() + b"\0" * (len(uid) % 2)
    length = len(padded).to_bytes(2, "little")
    group = int.from_bytes(coded[140:144], "little") + len(padded) - len(old)
    head = coded[:140] + group.to_bytes(4, "little") + coded[144 : place - 2]
    path.write_bytes(head + length + padded + coded[place + len(old) :])
    refused(path, ImageReadError, "odd.dcm", "cannot be decoded here", words)


def test_no_images(tmp_path: Path) -> None:
    refused(tmp_path, InputError, str(tmp_path), "no DICOM files")
    refused(tmp_path / "gone", ImageReadError, "gone", "check the path")
    report = slice_of(STORED, 0, Grid())
    report.Modality, report.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.33"
    del report.Rows, report.Columns, report.PixelData
    save(report, tmp_path / "sr.dcm")
    refused(tmp_path, InputError, "only objects without images (SR)")


def test_text_that_calls_itself_dicom(tmp_path: Path) -> None:
    write_series(tmp_path, STORED)
    (tmp_path / "IM9999.dcm").write_text("This is not DICOM. " * 20)
    refused(tmp_path, ImageReadError, "IM9999.dcm")
