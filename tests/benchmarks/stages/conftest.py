"""Each stage by itself. As plain tests (the default) they run once, on small images; `--benchmark-enable` times them:

pytest tests/benchmarks/stages --benchmark-enable --benchmark-only -n 0
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.options import Options
from scanside.runtime.plan import Channel, Normalization, Plan
from scanside.runtime.stages.crop import Cropped, crop
from scanside.runtime.stages.normalise import normalise
from scanside.runtime.stages.resample import resample_image, resampled_shape
from scanside.runtime.stages.slide import slide
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult
from scanside.runtime.volume import Geometry, Volume
from tests.runtime.study.tiny_study import DWI_GRID, T2W_GRID, TinyStudy, images, write_bundle, write_dicom
from tests.support.plans import labels, plan

FIELD_MM = (-72.0, -70.0, -40.0)
NEEDED = ("t2w", "dwi", "adc")


@dataclass(frozen=True)
class Layout:
    """What is measured on.

    Attributes:
        t2w, dwi: Grids of the images.
        patch: (z, y, x) of a tile.
    """

    name: str
    t2w: Geometry
    dwi: Geometry
    patch: tuple[int, int, int]


SMALL = Layout("small", T2W_GRID, DWI_GRID, (8, 24, 24))
LAYOUTS = (
    Layout(
        "typical",
        Geometry((32, 320, 320), (3.0, 0.5, 0.5), FIELD_MM),
        Geometry((32, 160, 160), (3.0, 1.0, 1.0), FIELD_MM),
        (16, 128, 128),
    ),
    Layout(
        "large",
        Geometry((48, 512, 512), (2.0, 0.3125, 0.3125), FIELD_MM),
        Geometry((48, 256, 256), (2.0, 0.625, 0.625), FIELD_MM),
        (16, 160, 160),
    ),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "layout" in metafunc.fixturenames:
        asked = metafunc.config.getoption
        off = asked("benchmark_disable", True) and not asked("benchmark_enable", False)
        layouts = (SMALL,) if off else LAYOUTS
        metafunc.parametrize("layout", layouts, ids=lambda layout: layout.name, scope="module")


@pytest.fixture(scope="module")
def image(layout: Layout) -> Volume:
    """The T2WI."""
    return images(TinyStudy(t2w_grid=layout.t2w, dwi_grid=layout.dwi))["t2w"]


@pytest.fixture(scope="module")
def recipe(layout: Layout) -> Plan:
    """A plan whose grid is not the image's: both ways are resampled."""
    z, y, x = layout.t2w.spacing
    channel = Channel(name="t2w", normalization=Normalization(scheme="ZScoreNormalization", use_mask=True))
    return plan(
        channels=(channel,),
        spacing=(z, 1.25 * y, 1.25 * x),
        patch_size=layout.patch,
        labels=labels(3),
        mirror_axes=(1, 2),
    )


@dataclass(frozen=True, eq=False)
class Prepared:
    """One image at every station of its way, so that each stage has its input."""

    cropped: Cropped
    normalised: npt.NDArray[np.float32]
    resampled: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float16]


@pytest.fixture(scope="module")
def prepared(image: Volume, recipe: Plan) -> Prepared:
    cropped = crop(image, recipe)
    normalised = normalise(crop(image, recipe), recipe)
    target = recipe.spacing
    assert len(target) == 3
    shape = resampled_shape(normalised.shape[1:], cropped.spacing, target)
    resampled = resample_image(normalised, shape, cropped.spacing, target, recipe.resampling_data)
    return Prepared(cropped, normalised, resampled, slide(resampled, heads, recipe, 0.5, True, ignore))


def heads(tile: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Three logits that follow the grey value: all that is timed is around the network."""
    return np.concatenate([-tile, tile, 2 * tile - 3], axis=1)


def ignore(done: int, total: int) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(write_bundle(tmp_path_factory.mktemp("stages") / "tiny.bundle"))


@pytest.fixture(scope="module")
def study(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM study."""
    made = TinyStudy(t2w_grid=layout.t2w, dwi_grid=layout.dwi)
    return write_dicom(tmp_path_factory.mktemp("stages") / "study", made)


@pytest.fixture(scope="module")
def result(bundle: Bundle, study: Path) -> StudyResult:
    """The study, run."""
    with StudyRunner(bundle, replace(Options(), device="cpu", mirroring=False)) as runner:
        return runner.run(read_study(study, NEEDED))
