"""What the tests of faults ask of checks."""

from typing import Any

from scanside.runtime.acceptance.record import Failed
from scanside.runtime.options import Options

CPU = Options(device="cpu", threads=1)


def failed(checks: Any) -> set[str]:
    """Names of what failed; each says what to do."""
    found = [one for one in checks if one.result.outcome == "failed"]
    for one in found:
        assert isinstance(one.result, Failed)
        assert one.result.what.endswith(".") and one.result.to_do.endswith("."), one
    return {one.key for one in found}
