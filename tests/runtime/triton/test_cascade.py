"""A cascade on a real Triton server: the golden cases of its second stage bring the first one's mask along."""

from pathlib import Path

import pytest

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.cli.main import run
from scanside.runtime.options import Options
from scanside.runtime.triton.address import Engine
from scanside.runtime.triton.contract import model_name
from scanside.runtime.volume import Geometry, Volume
from tests.support import phantoms
from tests.support.tiny_models import Tiny, write_cascade
from tests.support.triton import Triton

pytestmark = [pytest.mark.slow, pytest.mark.requirement("server-proven")]


def test_labels_of_a_cascade_are_those_of_this_machine(tmp_path: Path) -> None:
    first, second = write_cascade(tmp_path, Tiny(reader="SimpleITKIOWithReorient"))
    made = ExportOptions(precisions=("fp32",), previous=first)
    export_nnunet(second, tmp_path / "bundle", made, lambda words: None)
    bundle, repository = open_bundle(tmp_path / "bundle"), tmp_path / "repository"
    words = ["export", "triton", str(bundle.path), "-o", str(repository), "--device", "cpu", "--threads", "1"]
    assert run(words) == 0
    turned = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    grid = Geometry((24, 40, 44), (1.5, 1.1, 1.0), direction=turned)
    image = Volume(phantoms.smooth(grid.shape, 3)[None] * 100, grid)
    server = Triton(repository, tmp_path)
    try:
        server.start(model_name(bundle, bundle.role(None)))
        with (
            open_segmenter(bundle, Options(engine=Engine(server.url, seconds=120))) as there,
            open_segmenter(bundle, Options(device="cpu", threads=1)) as here,
        ):
            found, expected = there.segment(image), here.segment(image)
        assert int((found.mask != expected.mask).sum()) == 0 and int(found.mask.max()) > 0
        assert found.volumes_ml == expected.volumes_ml
        assert any(stage.endswith(": slide") for stage in found.stages), "both stages ran there"
    finally:
        server.kill()
