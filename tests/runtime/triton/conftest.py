"""A real server for each module that wants one."""

from collections.abc import Iterator

import pytest
import SimpleITK as sitk

from scanside.runtime.cli.main import run
from scanside.training.demo import BUNDLE
from tests.runtime.triton.serving import BY_AS_NUMPY, CASES, LYING, MODEL, Place, altered, masks, segmented
from tests.support import phantoms
from tests.support.triton import Triton


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("triton")
    repository = root / "repository"
    assert (
        run(["export", "triton", str(BUNDLE), "-o", str(repository), "--device", "cpu", "--threads", "1"])
        == 0
    )
    altered(repository, "lying", LYING)
    altered(repository, "by-as-numpy", BY_AS_NUMPY)
    changed = repository / "changed" / "1" / "bundle" / "bundle.json"
    altered(repository, "changed", "")
    changed.write_text(changed.read_text().replace('"version": "2"', '"version": "3"'))
    server = Triton(repository, root)
    server.start(MODEL, "lying", "by-as-numpy", "changed", "pancreas-phantom-dwi", wait=False)
    (root / "images").mkdir()
    for index in range(CASES):
        image = sitk.GetImageFromArray(phantoms.smooth((20, 60 + index, 64), index) * 100)
        image.SetSpacing((3.0, 3.0, 5.0))
        sitk.WriteImage(image, str(root / "images" / f"c{index}_0000.nii.gz"))
    assert segmented(root, root / "alone", "--device", "cpu", "--threads", "1") == 0
    server.wait()
    yield Place(server, root, masks(root / "alone"))
    server.kill()
