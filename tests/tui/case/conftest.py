"""One computed case for the whole session; tests that change something take a copy."""

from pathlib import Path

import pytest

from scanside.runtime.appliance.config import Config
from scanside.runtime.study.pipeline import StudyRunner
from tests.runtime.study.conftest import bundle, dicom_study, runner  # noqa: F401 - fixtures
from tests.tui.case.made import compute, configuration, copied, fixed, receive


@pytest.fixture(scope="session")
def reviewed(tmp_path_factory: pytest.TempPathFactory, dicom_study: Path, runner: StudyRunner) -> Config:  # noqa: F811
    """A case that waits for review, with objects for PACS. Not to be changed."""
    config = configuration(tmp_path_factory.mktemp("reviewed") / "data")
    receive(config, dicom_study)
    compute(config, runner, hold=True, to=["PACS"], change=fixed)
    return config


@pytest.fixture
def own(reviewed: Config, tmp_path: Path) -> Config:
    """The same, to be changed."""
    return copied(reviewed, tmp_path / "data")
