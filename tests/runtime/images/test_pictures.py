"""PNG, BMP and TIFF beside nnU-Net's own readers and writers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from scanside.runtime.errors import GeometryError, InputError
from scanside.runtime.images.picture_cases import find_pictures
from scanside.runtime.images.pictures import read_flat_or_stack, read_pictures, write_picture
from tests.support.sentences import assert_one_sentence

natural = pytest.importorskip("nnunetv2.imageio.natural_image_reader_writer").NaturalImage2DIO()
stacks = pytest.importorskip("nnunetv2.imageio.tif_reader_writer").Tiff3DIO()
RNG = np.random.default_rng(0)


def noise(shape: tuple[int, ...], dtype: Any = np.uint8) -> Any:
    if np.dtype(dtype).kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    return RNG.integers(0, min(np.iinfo(dtype).max, 60_000), shape).astype(dtype)


def palette(path: Path) -> None:
    image = Image.fromarray(noise((7, 9, 3)))
    image.quantize(16).save(path)


def grey_16(path: Path) -> None:
    Image.fromarray(noise((7, 9), np.uint16)).save(path)


WRITERS = {
    "grey.png": lambda path: Image.fromarray(noise((7, 9))).save(path),
    "rgb.png": lambda path: Image.fromarray(noise((7, 9, 3))).save(path),
    "rgba.png": lambda path: Image.fromarray(noise((7, 9, 4))).save(path),
    "grey16.png": grey_16,
    "palette.png": palette,
    "bits.png": lambda path: Image.fromarray(noise((7, 9)) > 99).save(path),
    "grey.bmp": lambda path: Image.fromarray(noise((7, 9))).save(path),
    "rgb.bmp": lambda path: Image.fromarray(noise((7, 9, 3))).save(path),
    "palette.bmp": palette,
    "grey.tif": lambda path: tifffile.imwrite(path, noise((7, 9), np.int16)),
    "float.tif": lambda path: tifffile.imwrite(path, noise((7, 9), np.float64)),
    "rgb.tif": lambda path: tifffile.imwrite(path, noise((7, 9, 3)), photometric="rgb"),
    "rgb16.tif": lambda path: tifffile.imwrite(path, noise((7, 9, 3), np.uint16), photometric="rgb"),
    "front.tif": lambda path: tifffile.imwrite(path, noise((3, 7, 9)), photometric="minisblack"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_same_array_as_nnunet(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    theirs, properties = natural.read_images([str(path)])
    ours = read_pictures([path], "picture")
    np.testing.assert_array_equal(ours.data, theirs, strict=True)
    assert ours.geometry.spacing == properties["spacing"] and not ours.geometry.scaled
    assert ours.geometry.dimension == 2


def test_several_files_are_channels_in_order(tmp_path: Path) -> None:
    files = [tmp_path / f"a_{index:04d}.png" for index in range(2)]
    for file in files:
        Image.fromarray(noise((7, 9, 3))).save(file)
    ours = read_pictures(files, "picture").data
    np.testing.assert_array_equal(ours, natural.read_images([str(file) for file in files])[0])
    assert ours.shape == (6, 1, 7, 9)
    Image.fromarray(noise((7, 9))).save(files[1])
    with pytest.raises(GeometryError, match="must be alike"):
        read_pictures(files, "picture")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("beside", [None, [2.5, 0.7, 1]])
def test_same_stack_as_nnunet(tmp_path: Path, dtype: Any, beside: list[float] | None) -> None:
    files = [tmp_path / f"a_{index:04d}.tif" for index in range(2)]
    for file in files:
        tifffile.imwrite(file, noise((4, 7, 9), dtype))
    if beside:
        (tmp_path / "a.json").write_text(json.dumps({"spacing": beside}))
    theirs, properties = stacks.read_images([str(file) for file in files])
    ours = read_pictures(files, "tiff")
    np.testing.assert_array_equal(ours.data, theirs, strict=True)
    assert list(ours.geometry.spacing) == list(properties["spacing"])
    assert ours.geometry.scaled == (beside is not None)


@pytest.mark.parametrize("top", [3, 254, 255])
@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
def test_same_picture_as_nnunet_writes(tmp_path: Path, ending: str, top: int) -> None:
    if ending == ".bmp" and top >= 255:
        pytest.skip("BMP has no 16 bits, here and there")
    tifffile.imwrite(tmp_path / "image.tif", noise((7, 9)))
    mask = noise((1, 7, 9)).astype(np.uint16) % top
    mask[0, 0, 0] = top
    natural.write_seg(mask, str(tmp_path / f"theirs{ending}"), {})
    write_picture(
        mask, read_pictures([tmp_path / "image.tif"], "picture").geometry, tmp_path / f"ours{ending}"
    )
    ours, theirs = (natural.read_seg(str(tmp_path / f"{name}{ending}"))[0] for name in ("ours", "theirs"))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(read_flat_or_stack(tmp_path / f"ours{ending}").data[0], mask)
    assert (tmp_path / f"ours{ending}").stat().st_size == pytest.approx(
        (tmp_path / f"theirs{ending}").stat().st_size, rel=0.1
    )


def test_same_stack_as_nnunet_writes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a_0000.tif", noise((4, 7, 9)))
    (tmp_path / "a.json").write_text(json.dumps({"spacing": [2.5, 0.7, 1.0]}))
    volume = read_pictures([tmp_path / "a_0000.tif"], "tiff")
    mask = noise((4, 7, 9)) % np.uint8(4)
    write_picture(mask, volume.geometry, tmp_path / "ours.tif")
    (tmp_path / "x").mkdir()
    stacks.write_seg(mask, str(tmp_path / "x/ours.tif"), {"spacing": [2.5, 0.7, 1.0]})
    assert (tmp_path / "ours.tif").read_bytes() == (tmp_path / "x/ours.tif").read_bytes()
    assert json.loads((tmp_path / "ours.json").read_text()) == json.loads(
        (tmp_path / "x/ours.json").read_text()
    )
    back, properties = stacks.read_seg(str(tmp_path / "ours.tif"))
    np.testing.assert_array_equal(back[0], mask)
    assert properties["spacing"] == [2.5, 0.7, 1.0]


def test_cases_by_name(tmp_path: Path) -> None:
    files = [
        tmp_path / name for name in ("b_0000.png", "b_0001.png", "a_0000.png", "c_0000.bmp", "notes.txt")
    ]
    for file in files:
        file.touch()
    assert [(case.name, len(case.channels)) for case in find_pictures([tmp_path], ".png", "picture")] == [
        ("a", 1),
        ("b", 2),
    ]
    one = find_pictures([files[1], files[0]], None, "picture")
    assert [case.channels for case in one] == [(files[0], files[1])]


def refusals(folder: Path) -> dict[str, Path]:
    Image.fromarray(noise((7, 9))).convert("LA").save(folder / "grey and alpha.png")
    Image.fromarray(noise((40, 30))).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:200])
    (folder / "words.png").write_text("no picture")
    (folder / "words.tif").write_text("no picture")
    tifffile.imwrite(folder / "complex.tif", np.ones((3, 4), np.complex64))
    tifffile.imwrite(folder / "nan.tif", np.full((3, 4), np.nan, np.float32))
    frames = [Image.fromarray(noise((7, 9))) for _ in range(2)]
    frames[0].save(folder / "film.png", save_all=True, append_images=frames[1:])
    return {path.stem: path for path in folder.iterdir()} | {"gone": folder / "gone.png"}


def test_refusals(tmp_path: Path) -> None:
    for path in refusals(tmp_path).values():
        with pytest.raises(InputError) as refused:
            read_pictures([path], "picture")
        assert_one_sentence(str(refused.value))
        assert path.name in str(refused.value)
    tifffile.imwrite(tmp_path / "s.tif", noise((4, 7, 9)))
    (tmp_path / "s.json").write_text('{"spacing": [1, 2]}')
    Image.fromarray(noise((7, 9))).save(tmp_path / "flat.tif")
    for path in (tmp_path / "s.tif", tmp_path / "flat.tif"):
        with pytest.raises(InputError) as refused:
            read_pictures([path], "tiff")
        assert_one_sentence(str(refused.value))
    for name in ("d_0001.png", "e.png"):
        (tmp_path / "only" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "only" / name).touch()
        with pytest.raises((InputError, ValueError)) as why:
            find_pictures([tmp_path / "only"], None, "picture")
        assert_one_sentence(str(why.value))
        (tmp_path / "only" / name).unlink()
