"""Models of pictures, from the results folder to files: beside `nnUNetv2_predict`'s own, 0 pixels differ."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from scanside.runtime.cli.main import run
from tests.support.nnunet_files import predict_files
from tests.support.phantoms import smooth
from tests.support.tiny_models import REGION_LABELS, Tiny, write_model

Pixels = npt.NDArray[np.float64]
FLAT = Tiny(patch=(32, 24), spacing=(1.0, 1.0), mirror=(0, 1), reader="NaturalImage2DIO", file_ending=".png")
RGB = ("RGBTo01Normalization",) * 3


def grey(path: Path, pixels: Pixels) -> None:
    Image.fromarray(np.clip(pixels * 40 + 120, 0, 255).astype(np.uint8)).save(path)


def grey_16(path: Path, pixels: Pixels) -> None:
    Image.fromarray(np.clip(pixels * 4000 + 20_000, 0, 65_535).astype(np.uint16)).save(path)


def colour(path: Path, pixels: Pixels) -> None:
    shifted = np.stack([np.roll(pixels, k, axis=0) * (40 - 9 * k) + 120 for k in range(3)], axis=-1)
    Image.fromarray(np.clip(shifted, 0, 255).astype(np.uint8)).save(path)


def stack(path: Path, pixels: Pixels) -> None:
    tifffile.imwrite(path, (pixels * 100 + 300).astype(np.int16))


@dataclass(frozen=True)
class Row:
    """A model, its pictures' shape and writer, and how many files a case has."""

    tiny: Tiny
    write: Callable[[Path, Pixels], None]
    files: int = 1
    shape: tuple[int, ...] = (57, 41)
    spacing: tuple[float, ...] | None = None


def tiny(base: Tiny, **changes: object) -> Tiny:
    return Tiny(**{**base.__dict__, **changes})  # type: ignore[arg-type]


ROWS = {
    "grey": Row(FLAT, grey),
    "16 bits": Row(FLAT, grey_16),
    "colour, regions": Row(
        tiny(
            FLAT, normalization=RGB, labels=REGION_LABELS, regions_class_order=(1, 2, 3), file_ending=".bmp"
        ),
        colour,
    ),
    "two files a case": Row(
        tiny(FLAT, normalization=("ZScoreNormalization",) * 2, file_ending=".tif"), grey_16, 2
    ),
    "stack with spacing": Row(
        Tiny(reader="Tiff3DIO", file_ending=".tif"), stack, shape=(14, 38, 33), spacing=(2.0, 0.9, 1)
    ),
    "stack without spacing": Row(Tiny(reader="Tiff3DIO", file_ending=".tiff"), stack, shape=(18, 26, 25)),
}


LONGER = ("16 bits", "two files a case", "stack without spacing")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONGER else []) for name in ROWS]
)
def test_same_files_as_nnunet(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    row, images = ROWS[name], tmp_path / "imagesTs"
    folder = write_model(tmp_path, row.tiny)
    images.mkdir()
    ending, cases = row.tiny.file_ending, []
    for number in range(2):
        case = [images / f"case{number}_{channel:04d}{ending}" for channel in range(row.files)]
        for channel, path in enumerate(case):
            row.write(path, smooth(row.shape, 10 * number + channel))
        if row.spacing:
            (images / f"case{number}.json").write_text(json.dumps({"spacing": row.spacing}))
        cases.append(case)
    assert run(["export", "nnunet", str(folder), "-o", str(tmp_path / "bundle"), "--precision", "fp32"]) == 0
    out = tmp_path / "ours"
    command = ["segment", str(tmp_path / "bundle"), str(images), "-o", str(out), "--device", "cpu", "--json"]
    capfd.readouterr()
    assert run([*command, "--statistics", str(tmp_path / "sizes.csv")]) == 0
    report = json.loads(capfd.readouterr().out)
    predict_files(folder, row.tiny.folds, cases, tmp_path / "theirs")
    read = tifffile.imread if ending.startswith(".tif") else lambda path: np.asarray(Image.open(path))
    for number in range(2):
        ours, theirs = (read(tmp_path / side / f"case{number}{ending}") for side in ("ours", "theirs"))
        np.testing.assert_array_equal(ours, theirs, strict=True)
        assert len(np.unique(ours)) > 2
        if row.tiny.reader == "Tiff3DIO":
            ours, theirs = (
                json.loads((tmp_path / side / f"case{number}.json").read_text())
                for side in ("ours", "theirs")
            )
            assert ours == theirs
    sizes = [case["labels"] or case["areas_mm2"] for case in report["cases"]]
    assert all((size is not None) == bool(row.spacing) for size in sizes)
    assert run(command) != 0  # the files are there
    assert run(["evaluate", "masks", str(out), str(tmp_path / "theirs")]) == 0
    assert "Foreground Dice 1.0000" in capfd.readouterr().out


def test_what_does_not_fit_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A colour picture for a grey model, a volume, a mask in another format."""
    bundle = tmp_path / "bundle"
    assert (
        run(["export", "nnunet", str(write_model(tmp_path, FLAT)), "-o", str(bundle), "--precision", "fp32"])
        == 0
    )
    colour(tmp_path / "colour.png", smooth((40, 30), 1))
    grey(tmp_path / "grey.png", smooth((40, 30), 1))
    (tmp_path / "volume.nii.gz").touch()
    for image, out, code, words in (
        ("colour.png", "masks", 5, "takes 1 channel(s)"),
        ("volume.nii.gz", "masks", 5, "is no picture"),
        ("grey.png", "mask.nii.gz", 2, "is no mask of this model"),
    ):
        assert (
            run(["segment", str(bundle), str(tmp_path / image), "-o", str(tmp_path / out), "--device", "cpu"])
            == code
        )
        assert words in capfd.readouterr().err
    assert (
        run(
            [
                "segment",
                str(bundle),
                str(tmp_path / "grey.png"),
                "-o",
                str(tmp_path / "m.png"),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
