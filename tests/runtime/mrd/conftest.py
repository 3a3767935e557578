"""A bundle whose network looks to one side of each voxel, so that a turned image has other labels; a server with it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.mrd.scanning import Scan, made_scans, serving
from tests.runtime.study.tiny_study import TinyBundle, write_bundle


@pytest.fixture(scope="session")
def lopsided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = TinyBundle(channels={"t2w": ("t2w",)}, features=(), classifier=False, lopsided=True)
    return write_bundle(tmp_path_factory.mktemp("lopsided") / "tiny.bundle", recipe)


@pytest.fixture(scope="session")
def scans(lopsided: Path) -> dict[str, Scan]:
    made = made_scans(lopsided)
    for scan in made.values():
        assert np.count_nonzero(scan.expected) > 50, "an empty mask proves nothing"
        assert (scan.expected != scan.expected[::-1]).any() and (
            scan.expected != scan.expected[..., ::-1]
        ).any()
    return made


@pytest.fixture(scope="module")
def server(lopsided: Path) -> Iterator[tuple[str, int]]:
    with serving(lopsided) as (_, address):
        yield address
