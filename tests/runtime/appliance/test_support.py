"""What the tests of the appliance stand on."""

from pathlib import Path

import pytest

from tests.support.appliance import appliance


def test_waiting_for_the_receiver_of_a_service_that_has_ended_ends_with_its_words(tmp_path: Path) -> None:
    with (
        appliance(tmp_path, tmp_path / "no bundle", work={"no_such_key": 1}) as scanside,
        pytest.raises(AssertionError, match=r"serve ended with 2:[\s\S]*no_such_key"),
    ):
        scanside.wait_for_receiver(3600)
