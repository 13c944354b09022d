"""Where Q/DQ stand, by measured latency: the few placements that a target knows, timed in turn as stand-ins.

Another placement is taken only if its interval shows that it is faster than the usual one, and if the promises that can
be forecast do not get worse by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import onnx

from ..notes import PlacementNotes, PlacementTime
from ..portable.times import Ratio
from ..quantization import engine
from ..quantization import placement as places
from ..quantization.net import Net
from .layers import patterns

USUAL = "as usual"
_OTHER = {"both": "shortcut", "shortcut": "both"}

Timed = Callable[[Mapping[str, Path]], Mapping[str, Ratio]]  # names → how many times as fast as the first


def placements(model: onnx.ModelProto, choices: engine.Choices) -> dict[str, engine.Choices]:
    """Return the placements to try, by name, the usual one first; none of them twice."""
    net, residual = Net(model), choices.dialect.residual
    layers = list(places.labels(choices.placed(net).weights.values()))
    found = {USUAL: choices}
    other = replace(choices.dialect, residual=_OTHER[residual])
    found[f"residual: {_OTHER[residual]}"] = replace(choices, dialect=other)
    for name, some in (("first layer in float", layers[:1]), ("last layer in float", layers[-1:])):
        if len(layers) > 1:
            found[name] = engine.excluding(choices, patterns(some))
    seen: list[object] = []
    for name in list(found):
        placed = found[name].placed(net)
        form = (sorted(placed.reads), sorted(placed.weights), dict(placed.points))
        if form in seen:
            del found[name]
        seen.append(form)
    return found


def file_of(folder: Path, name: str) -> Path:
    """Return where a placement's stand-in is written."""
    return folder / f"{name.replace(': ', '-').replace(' ', '-')}.onnx"


def fastest(
    model: onnx.ModelProto,
    choices: engine.Choices,
    timed: Timed,
    folder: Path,
    harms: Callable[[engine.Choices], bool] = lambda chosen: False,
) -> tuple[engine.Choices, PlacementNotes]:
    """Return the placement to take. `harms` answers whether a placement makes a forecast worse."""
    tried = placements(model, choices)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, each in tried.items():
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        files[name] = file_of(folder, name)
        onnx.save(engine.stand_in(copy, each), files[name])
    ratios = timed(files)
    faster = sorted(
        (name for name, ratio in ratios.items() if name != USUAL and ratio.has_interval and ratio.low > 1),
        key=lambda name: -ratios[name].value,
    )
    chosen = next((name for name in faster if not harms(tried[name])), USUAL)
    times = tuple(_time(name, ratios.get(name)) for name in tried)
    return tried[chosen], PlacementNotes(chosen, times)


def _time(name: str, ratio: Ratio | None) -> PlacementTime:
    if ratio is None:
        return PlacementTime(name, None, None, None)
    low, high = (ratio.low, ratio.high) if ratio.has_interval else (None, None)
    return PlacementTime(name, ratio.value, low, high)
