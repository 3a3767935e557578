"""What several tests of the acceptance share."""

from pathlib import Path

import pytest

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.serve import make_folders
from tests.runtime.acceptance.proven import write_proven_bundle
from tests.runtime.acceptance.site import configure


@pytest.fixture(scope="session")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with golden cases; not to be changed."""
    return write_proven_bundle(tmp_path_factory.mktemp("proven") / "proven.bundle")


@pytest.fixture
def site(tmp_path: Path, proven: Path) -> Config:
    """A sound configuration, with its folders."""
    config = configure(tmp_path, proven)
    make_folders(config)
    return config
