import pytest

from scanside.runtime.backends.session import Session
from scanside.runtime.errors import ProviderMismatchError
from tests.support.session_contract import SessionTests


class TestOpenVino(SessionTests):
    device = "openvino"
    tolerance = 2e-5


class TestOpenVinoBf16(SessionTests):
    """Bfloat16 has eight bits of mantissa. A processor without it must refuse, never fall back in silence."""

    device = "openvino"
    precision = "bf16"
    tolerance = 5e-2

    def open(self, name: str) -> Session:
        try:
            return super().open(name)
        except ProviderMismatchError as error:
            pytest.skip(f"NOT TESTED: {error}")
