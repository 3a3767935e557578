"""Reports of another appliance, for all tests of what archives hold."""

import shutil
from pathlib import Path

import pytest

from scanside.runtime.study.objects import REPORT
from tests.runtime.appliance.work.clinic import FIRST, SECOND, Clinic
from tests.runtime.study.conftest import bundle, dicom_study  # noqa: F401 - fixtures
from tests.support import once


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory, dicom_study: Path, bundle: Path) -> Path:  # noqa: F811
    """Results of two studies of one patient, in folders named by their day; made once in a run, not to be changed."""
    with once.place(once.key("runtime", (), b"reports of another appliance")) as folder:
        if not folder.exists():
            other = Clinic(tmp_path_factory.mktemp("other"), dicom_study, bundle, visits=100)
            part = folder.with_suffix(".part")
            for day in (FIRST, SECOND):
                shutil.copytree(other.report_file(other.visit(day)).parent, part / day)
            other.close()
            part.rename(folder)
    return folder


@pytest.fixture
def report(reports: Path) -> Path:
    """Of the first study."""
    return reports / FIRST / REPORT


@pytest.fixture
def second(reports: Path) -> Path:
    """Of the same patient, half a year later: it states the first one beside its own."""
    return reports / SECOND / REPORT
