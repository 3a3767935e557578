"""Hypothesis as the tests use it: the same examples on every run, no deadline on a busy machine."""

from hypothesis import HealthCheck, settings


def examples(count: int) -> settings:
    return settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=count,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
