"""The newest run's recipe, for commands that work on it where no MODEL is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..store import Store


def refuse_without_model(options: list[str]) -> None:
    """Refuse options that describe a network where none is named."""
    from ..errors import EdgeresnetError

    if options:
        raise EdgeresnetError(
            ", ".join(options),
            "cannot be given without a MODEL",
            hint="name the network first; without one the newest run is used, as its recipe describes it",
        )


def recipe_of(store: Store, purpose: str, promises: Mapping[str, float]) -> dict[str, object]:
    """Return the newest run's recipe, with other promises where some are given."""
    from ..errors import EdgeresnetError

    if not store.runs():
        raise EdgeresnetError(
            f"the store {store.root}",
            f"holds no run yet whose networks could be {purpose}",
            hint="give a network and images: `edgeresnet verify net.onnx --evaluation DIR`",
        )
    raw = dict(store.load_run().recipe)
    promised = raw.get("promises")
    raw["promises"] = {**(promised if isinstance(promised, Mapping) else {}), **promises}
    return raw
