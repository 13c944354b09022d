"""The nodes of a Ray cluster. A job goes to the node that is named; the CPUs that it takes are its own meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import MachineError
from .nodes import Died, Job, Node
from .on_ray import Ray, cause_of, imported
from .work import Answered, answered, limit_threads, work_as

_OURS = "edgeresnet_"  # begins the names of resources that mean something here


class RayNodes:
    """The cluster that this process is connected to. This process runs on one of its nodes."""

    def __init__(self) -> None:
        self._ray = imported()
        self._task = self._ray.remote(max_retries=0)(_do)  # who sent it decides where it is done again
        self.here: str = self._ray.get_runtime_context().get_node_id()

    @staticmethod
    def connected(address: str) -> tuple[RayNodes, str]:
        """Connect to a cluster; return its nodes, and the address of Ray's dashboard (empty: there is none)."""
        if address.startswith("ray://"):
            hint = "run the command on a node of the cluster, with `--ray auto`"
            raise MachineError(f"the Ray cluster {address}", "is reached from outside", hint=hint)
        dashboard = Ray.connected(address).dashboard
        return RayNodes(), dashboard

    def alive(self) -> Mapping[str, Node]:
        """Return the nodes that are there now, by id."""
        found = {}
        for each in self._ray.nodes():
            if each["Alive"]:
                offers = each["Resources"]
                name, cpus, gpus = each["NodeName"], int(offers.get("CPU", 0)), int(offers.get("GPU", 0))
                ours = {key: amount for key, amount in offers.items() if key.startswith(_OURS)}
                found[each["NodeID"]] = Node(each["NodeID"], name, cpus, gpus, ours)
        return found

    def start(self, node: Node, job: Job, parts: int | None) -> Any:
        """Start a job on a node. One that has a node for itself takes all that the node offers."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = NodeAffinitySchedulingStrategy(node.id, soft=False)
        cpus = node.cpus if parts is None else max(1, node.cpus // parts)
        gpus = node.gpus / (parts or 1)
        needs = {
            "num_cpus": cpus,
            "num_gpus": int(gpus) if gpus >= 1 else gpus,
            "resources": dict(node.offers) if parts is None else {},
        }
        task = self._task.options(scheduling_strategy=place, **needs)
        sender = os.environ.get("OMP_NUM_THREADS"), os.nice(0)
        return task.remote(job, node.id, None if parts is None else cpus, sender)

    def wait(self, handles: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Return the handles of what has ended, of one at least, or none after some seconds."""
        if not handles:
            time.sleep(seconds)
            return ()
        ended: Sequence[Any] = self._ray.wait(list(handles), num_returns=1, timeout=seconds)[0]
        return ended

    def answer(self, handle: Any) -> Answered:
        """Return the answer of a job that has ended; raise Died where its worker or its node died."""
        try:
            found: Answered = self._ray.get(handle)
        except self._ray.exceptions.RayError as problem:
            raise Died(cause_of(problem)) from problem
        return found

    def cancel(self, handles: Sequence[Any]) -> None:
        """End jobs at once, with the processes that they started."""
        for handle in handles:
            self._ray.cancel(handle, force=True)

    def close(self) -> None:
        """Leave the cluster; one that began with this process ends."""
        self._ray.shutdown()


def _do(job: Job, node: str, cores: int | None, sender: tuple[str | None, int]) -> Answered:
    """Run a job in a worker of Ray, with some cores of its node; as its sender would, where it has the node alone."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as for every command
    if cores is None:
        work_as(*sender)
    else:
        limit_threads(cores)
    return answered(lambda: job(node))
