"""Options of the commands whose images can be cut into shards: who evaluates them, and where artifacts are shared."""

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


@dataclass(frozen=True)
class ScaleOptions:
    """Who evaluates and calibrates, and where artifacts are shared; None where nothing was given."""

    workers: int | None
    ray: str | None
    shared: str | None

    def given(self) -> list[str]:
        """List the options that were given, as they are spelled; the shared store may come from the environment."""
        return [f"--{name}" for name in ("workers", "ray") if getattr(self, name) is not None]

    def open_store(self, root: Path) -> Store:
        """Open a store to write to, which shares what is made in it."""
        from ..store import Store

        return Store.open(root, self.shared)

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
        if found.dashboard and not quiet:
            _output.echo(f"Ray's dashboard: {found.dashboard}", err=True)
        return found


def options(command: Command) -> Command:
    """Declare the options on a command, which takes them together as `scale`."""
    return gathered(command, "scale", ScaleOptions, _SCALE)
