"""A new store."""

from pathlib import Path

import pytest

from scanside.runtime.appliance.store.database import Database


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return Database(tmp_path / "data" / "scanside.db", create=True)
