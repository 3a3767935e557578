"""What several tests of the acceptance share."""

from pathlib import Path

import pytest

from tests.runtime.acceptance.proven import write_proven_bundle


@pytest.fixture(scope="session")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with golden cases; not to be changed."""
    return write_proven_bundle(tmp_path_factory.mktemp("proven") / "proven.bundle")
