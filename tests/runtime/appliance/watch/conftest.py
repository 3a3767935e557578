from pathlib import Path

import pytest

from tests.runtime.study.tiny_study import write_bundle


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("watched") / "tiny.bundle")
