from collections.abc import Iterator
from pathlib import Path

import pytest

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.options import Options
from scanside.runtime.study.checks import check_study
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.records import SequenceImage, StudyInput, StudyResult
from tests.runtime.cli.conftest import scanside  # noqa: F401 - a fixture
from tests.runtime.study.tiny_study import TinyStudy, images, write_bundle, write_dicom


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("study") / "tiny.bundle")


@pytest.fixture(scope="session")
def dicom_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: copy it."""
    return write_dicom(tmp_path_factory.mktemp("dicom") / "study")


@pytest.fixture(scope="session")
def runner(bundle: Path) -> Iterator[StudyRunner]:
    with StudyRunner(open_bundle(bundle), Options(device="cpu")) as opened:
        yield opened


def study_of(recipe: TinyStudy | None = None, names: tuple[str, ...] = ("t2w", "dwi", "adc")) -> StudyInput:
    """A study in memory."""
    made = images(recipe)
    return StudyInput(
        "tiny",
        Path("tiny"),
        {name: SequenceImage(name, made[name], Path(name), name, "made") for name in names},
    )


def checked(recipe: TinyStudy | None = None) -> StudyInput:
    return check_study(study_of(recipe))


def run(runner: StudyRunner, recipe: TinyStudy | None = None) -> StudyResult:
    return runner.run(study_of(recipe))


@pytest.fixture(scope="module")
def opened(bundle: Path) -> Bundle:
    return open_bundle(bundle)
