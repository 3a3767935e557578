"""The contract on a GPU, for every device that needs one."""

import pytest

from scanside.runtime.backends import table
from scanside.runtime.backends.session import Session
from tests.support.session_contract import SessionTests


class GpuSessionTests(SessionTests):
    """Skipped with the reason that `scanside doctor` gives."""

    @pytest.fixture(autouse=True)
    def _here(self) -> None:
        absent = table.backend(self.device).missing()
        if absent:
            pytest.skip(f"{self.device}: {absent[0]}")

    def open(self, name: str) -> Session:
        return super().open(name)


@pytest.mark.gpu
class TestCuda(GpuSessionTests):
    device = "cuda"
    tolerance = 1e-4


@pytest.mark.gpu
class TestCudaMixed(GpuSessionTests):
    device = "cuda"
    precision = "mixed"
    tolerance = 1e-2


@pytest.mark.gpu
class TestTensorRt(GpuSessionTests):
    device = "tensorrt"
    tolerance = 1e-4


@pytest.mark.gpu
class TestTensorRtMixed(GpuSessionTests):
    device = "tensorrt"
    precision = "mixed"
    tolerance = 1e-2


@pytest.mark.gpu
class TestTensorRtRtx(GpuSessionTests):
    device = "tensorrt-rtx"
    tolerance = 1e-4


@pytest.mark.gpu
class TestTensorRtRtxMixed(GpuSessionTests):
    device = "tensorrt-rtx"
    precision = "mixed"
    tolerance = 1e-2
