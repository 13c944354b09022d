"""Ray clusters of two nodes on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def two_nodes(second: dict[str, str] | None = None) -> Iterator[tuple[Any, Any]]:
    """Start a cluster of two nodes with one core each; yield it, and the second node, with its environment."""
    import ray
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "node_name": "first"})
    node = found.add_node(num_cpus=1, node_name="second", env_vars=second or {})
    found.wait_for_nodes()
    try:
        yield found, node
    finally:
        ray.shutdown()
        found.shutdown()
