"""Options of commands that several machines may work for: who does the work, and where artifacts are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from . import _output
from ._help import option
from ._options import Command, gathered

if TYPE_CHECKING:
    from pathlib import Path

    from ..context import Workers
    from ..shards.ray_nodes import RayNodes
    from ..store import Store

_SCALE = (
    option(
        "--workers",
        type=click.IntRange(min=1),
        show_default="1, this process",
        help="Processes of this machine that evaluate and calibrate, a part of the images each.",
    ),
    option(
        "--ray",
        metavar="ADDRESS",
        help="Ray cluster that does so instead: auto, an address, or local for one that ends with the command.",
    ),
    option(
        "--shared",
        metavar="URL",
        envvar="EDGERESNET_SHARED",
        show_envvar=True,
        help="Folder or s3://…, gs://… where machines share artifacts.",
    ),
)


_TRIALS = (
    option(
        "--ray",
        metavar="ADDRESS",
        help="Ray cluster that runs trials at once: auto, an address, or local for one that ends with the command.",
    ),
    option(
        "--workers",
        type=click.IntRange(min=1),
        show_default="1",
        help="Stages that each node of the cluster prepares at once. Each gets an equal part of its cores.",
    ),
    _SCALE[2],
)


@dataclass(frozen=True)
class _Shares:
    """What the options of both kinds say."""

    workers: int | None
    ray: str | None
    shared: str | None

    def open_store(self, root: Path) -> Store:
        """Open a store to write to, which shares what is made in it."""
        from ..store import Store

        return Store.open(root, self.shared)


@dataclass(frozen=True)
class TrialsOptions(_Shares):
    """Where the trials of a sweep run; None where nothing was given."""

    def start(self, *, quiet: bool) -> RayNodes | None:
        """Connect to the cluster; None where this process runs all trials."""
        from ..errors import EdgeresnetError

        if self.ray is None:
            if self.workers is not None:
                raise EdgeresnetError("--workers", "needs --ray", hint="add `--ray local` to prepare trials at once")
            return None
        from ..shards.ray_nodes import RayNodes

        nodes, dashboard = RayNodes.connected(self.ray)
        _show_dashboard(dashboard, quiet=quiet)
        return nodes


@dataclass(frozen=True)
class ScaleOptions(_Shares):
    """Who evaluates and calibrates, and where artifacts are shared; None where nothing was given."""

    def given(self) -> list[str]:
        """List the options that were given, as they are spelled; the shared store may come from the environment."""
        return [f"--{name}" for name in ("workers", "ray") if getattr(self, name) is not None]

    def start(self, *, quiet: bool) -> Workers | None:
        """Return the workers; None where this process does all itself."""
        from ..errors import EdgeresnetError

        if self.ray is None:
            if self.workers is None or self.workers == 1:
                return None
            from ..shards.processes import Processes

            return Processes(self.workers)
        if self.workers is not None:
            raise EdgeresnetError("--workers", "cannot be combined with --ray", hint="Ray knows its own machines")
        from ..shards.on_ray import Ray

        found = Ray.connected(self.ray)
        _show_dashboard(found.dashboard, quiet=quiet)
        return found


def _show_dashboard(address: str, *, quiet: bool) -> None:
    if address and not quiet:
        _output.echo(f"Ray's dashboard: {address}", err=True)


def options(command: Command) -> Command:
    """Declare the options on a command, which takes them together as `scale`."""
    return gathered(command, "scale", ScaleOptions, _SCALE)


def for_trials(command: Command) -> Command:
    """Declare the options on `sweep`, which takes them together as `scale`."""
    return gathered(command, "scale", TrialsOptions, _TRIALS)
