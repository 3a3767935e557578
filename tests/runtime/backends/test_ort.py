from tests.support.session_contract import SessionTests


class TestOrt(SessionTests):
    device = "cpu"
    tolerance = 1e-5


class TestOrtMixed(SessionTests):
    """Float16 convolutions: an approximation, but a good one."""

    device = "cpu"
    precision = "mixed"
    tolerance = 1e-2
