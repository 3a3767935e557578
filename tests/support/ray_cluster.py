"""A real Ray cluster of two nodes on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def ray_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one CPU each; the first holds the cluster's head."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    for attempt in range(4):  # Ray gives a node 30 s to begin, which a busy machine does not always keep
        nodes = Cluster()
        try:
            nodes.add_node(num_cpus=1, include_dashboard=False)
            nodes.add_node(num_cpus=1)
            break
        except Exception:
            nodes.shutdown()
            if attempt == 3:
                raise
    try:
        yield nodes
    finally:
        nodes.shutdown()
