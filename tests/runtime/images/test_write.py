import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import ENDINGS
from scanside.runtime.images.read import read_image
from scanside.runtime.images.write import write_mask
from scanside.runtime.volume import Geometry
from tests.support.interpreter import python
from tests.support.sentences import assert_one_sentence

OBLIQUE = (0.8, -0.6, 0.0, 0.48, 0.64, -0.6, 0.36, 0.48, 0.8)
SHAPE = (4, 6, 5)


def source(path: Path, flat: bool = False, oblique: bool = True) -> Geometry:
    image = sitk.GetImageFromArray(np.zeros(SHAPE[1:] if flat else SHAPE, np.int16))
    image.SetSpacing((0.7, 0.83) if flat else (0.7, 0.83, 3.3))
    image.SetOrigin((-12.51, 33.257) if flat else (-12.51, 33.257, 7.125))
    if oblique:
        image.SetDirection((0.6, -0.8, 0.8, 0.6) if flat else OBLIQUE)
    sitk.WriteImage(image, str(path))
    return read_image(path).geometry


def labels(top: int = 3, dtype: Any = np.uint8, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    mask = np.random.default_rng(0).integers(0, top + 1, shape).astype(dtype)
    mask[0, 0, 0] = top
    return mask


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".nii"])
@pytest.mark.parametrize("flat", [False, True])
def test_comes_back_on_the_very_grid(tmp_path: Path, ending: str, flat: bool) -> None:
    geometry = source(tmp_path / f"image{ending}", flat)
    mask = labels(shape=(1, *SHAPE[1:]) if flat else SHAPE)
    write_mask(mask, geometry, tmp_path / f"mask{ending}")
    before, after = (sitk.ReadImage(str(tmp_path / f"{name}{ending}")) for name in ("image", "mask"))
    assert after.GetSpacing() == before.GetSpacing()
    assert after.GetOrigin() == before.GetOrigin()
    exact = ending in (".nrrd", ".mha")  # NIfTI keeps a float32 quaternion
    tolerance = 1e-15 if exact else 1e-7
    np.testing.assert_allclose(after.GetDirection(), before.GetDirection(), rtol=0, atol=tolerance)
    assert after.GetDimension() == (2 if flat else 3)
    assert after.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(after), mask[0] if flat else mask)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("top", [3, 254, 255, 300])
def test_same_file_as_nnunet(tmp_path: Path, ending: str, top: int) -> None:
    nnunet = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO()
    geometry = source(tmp_path / f"image{ending}")
    _, properties = nnunet.read_images([str(tmp_path / f"image{ending}")])
    mask = labels(top, np.uint16 if top >= 255 else np.uint8)
    nnunet.write_seg(mask, str(tmp_path / f"theirs{ending}"), properties)
    write_mask(mask, geometry, tmp_path / f"ours{ending}")
    ours, theirs = ((tmp_path / f"{name}{ending}").read_bytes() for name in ("ours", "theirs"))
    if ending == ".nii.gz":
        ours, theirs = gzip.decompress(ours), gzip.decompress(theirs)
    assert ours == theirs


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending(tmp_path: Path, ending: str) -> None:
    geometry = Geometry(SHAPE, (3.5, 0.75, 0.5), (1.0, 2.0, 3.0))
    write_mask(labels(), geometry, tmp_path / f"a{ending}")
    back = read_image(tmp_path / f"a{ending}")
    assert back.geometry == geometry
    np.testing.assert_array_equal(back.data[0], labels())


def test_compressed(tmp_path: Path) -> None:
    geometry = Geometry((20, 50, 50), (1.0, 1.0, 1.0))
    for ending in (".nii.gz", ".nrrd", ".mha"):
        write_mask(np.zeros(geometry.shape, np.uint8), geometry, tmp_path / f"a{ending}")
        assert (tmp_path / f"a{ending}").stat().st_size < 2000


def test_format_that_loses_the_direction_is_refused(tmp_path: Path) -> None:
    geometry = source(tmp_path / "image.nrrd")
    with pytest.raises(OutputError) as caught:
        write_mask(labels(), geometry, tmp_path / "mask.gipl")
    assert_one_sentence(str(caught.value), "mask.gipl", "direction", ".nii.gz")
    assert not (tmp_path / "mask.gipl").exists()


@pytest.mark.parametrize("name", ["mask.txt", "mask", "mask.dcm", "mask.mhd"])
def test_unknown_ending(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError) as caught:
        write_mask(labels(), Geometry(SHAPE, (1, 1, 1)), tmp_path / name)
    assert_one_sentence(str(caught.value), name, ".nrrd")


def test_wrong_shape_is_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="grid"):
        write_mask(labels(), Geometry((4, 6, 6), (1, 1, 1)), tmp_path / "a.nii")


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the file size stands in for a full disk; ITK's NIfTI and GIPL writers do not notice it."""
    code = f"""
import resource, signal
from pathlib import Path
import numpy as np
from scanside.runtime.errors import OutputError
from scanside.runtime.images.write import write_mask
from scanside.runtime.volume import Geometry
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
mask = np.random.default_rng(0).integers(0, 200, (20, 100, 100)).astype(np.uint8)
for ending in {ENDINGS}:
    try:
        write_mask(mask, Geometry(mask.shape, (1.0, 1.0, 1.0)), Path({str(tmp_path)!r}) / ("m" + ending))
    except OutputError as error:
        print(error)
"""
    run = python(code)
    lines = run.stdout.splitlines()
    assert len(lines) == len(ENDINGS)
    for line, ending in zip(lines, ENDINGS, strict=True):
        assert_one_sentence(line, f"m{ending}", "free space")
    assert not list(tmp_path.iterdir())
