"""Answers what the search for float layers asks of an INT8 network: by its scan, by running it, by timing stand-ins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from ..deadline import Deadline, OutOfTime
from ..noise import confirm, pair, scan
from ..quantization import answers, engine
from ..quantization import placement as places
from ..quantization.answers import Unit
from ..quantization.net import Net
from .control import Layers
from .forecast import Forecast, Goals, Seen, expect, look
from .journal import Journal

_SCANNED = 1 << 23  # values of all images that are scanned
_RUN = 1 << 25  # values of all images that a forecast runs on
_FEWEST, _MOST = 32, 1024  # images, however large or small

Timed = Callable[[Mapping[str, Path]], Mapping[str, float]]  # names → relative times; one that fails is left out


def patterns(layers: Sequence[str]) -> tuple[str, ...]:
    """Return expressions that match these layers and no other."""
    return tuple(f"^{re.escape(layer)}$" for layer in layers)


def enough(images: int, shape: Sequence[int]) -> int:
    """Return how many of the images of this shape a forecast needs."""
    return min(images, max(_FEWEST, min(_MOST, _RUN // int(np.prod(shape)))))


@dataclass(frozen=True)
class Outlook:
    """Forecasts of the verdict, from a network's answers to calibration images."""

    images: np.ndarray
    exact: np.ndarray  # the FP32 network's answers
    goals: Goals
    unit: Unit = "image"  # what has an answer of its own

    @staticmethod
    def on(exact: onnx.ModelProto, images: np.ndarray, goals: Goals) -> Outlook:
        """Run as many of the images as are needed in the FP32 network."""
        few = images[: enough(len(images), images.shape[1:])]
        return Outlook(few, answers.answers(exact, few), goals, answers.unit_of(exact))

    def judged_with(self, networks: int) -> Outlook:
        """Return forecasts of the verdict that each of several networks gets, which are judged at once."""
        return replace(self, goals=replace(self.goals, networks=networks))

    def seen(self, given: np.ndarray) -> Seen:
        """Compare a network's answers with the FP32 network's."""
        return look(self.exact, given, self.unit)

    def of(self, network: engine.Quantized) -> Forecast:
        """Return what the verdict of an INT8 network will be."""
        return expect(self.seen(answers.answers(network.executed(), self.images)), self.goals)


class Int8Layers:
    """One INT8 network whose layers may stay in float. `control` asks it. OutOfTime ends its making."""

    def __init__(
        self,
        exact: onnx.ModelProto,
        base: engine.Quantized,
        choices: engine.Choices,
        outlook: Outlook,
        timed: Timed | None,
        folder: Path,
        question: str,
        seed: int,
        until: Deadline,
    ):
        self._exact, self._base, self._choices, self._outlook = exact, base, choices, outlook
        self._timed, self._folder, self._images = timed, folder, outlook.images
        self._pair = pair.read(exact, base.executed(), self._images)
        few = max(_FEWEST // 2, min(len(self._images), _SCANNED // int(np.prod(self._images.shape[1:]))))
        self._scan = scan.scan(self._pair, self._images[:few], seed=seed, progress=_within(until))
        self._net = Net(base.source.model)
        self._gone: dict[Layers, frozenset[int]] = {}
        self._looks = Journal(folder / "looks.json", Seen, question)
        self._times = Journal(folder / "times.json", float, question)

    @property
    def continued(self) -> int:
        """Return how many answers were there before: of an interrupted search, or of an earlier round."""
        return self._looks.continued + self._times.continued

    def layers(self) -> Sequence[str]:
        """Return the layers that are INT8. Those that share their weights are one."""
        return list(places.labels(self._base.placement.weights.values()))

    def removed(self, chosen: Layers) -> float:
        """Return the estimated part of the noise that goes if these layers stay in float."""
        left = self._scan.total - self._scan.moved[:, sorted(self._without(chosen))].sum(1)
        return 1 - float(np.square(left).sum() / max(np.square(self._scan.total).sum(), 1e-30))

    def forecast(self, chosen: Layers, goals: Goals | None = None) -> Forecast:
        """Run the calibration images with these layers in float. `goals` are others than those of the search."""

        def ran() -> Seen:
            gone = self._without(chosen)
            int8 = {layer.name for index, layer in enumerate(self._pair.layers) if index not in gone}
            given = confirm.run(self._pair, self._images, int8)
            return self._outlook.seen(given.reshape(-1, given.shape[-1]))

        return expect(self._looks.of(_key(chosen), ran), goals or self._outlook.goals)

    def times(self, sets: Sequence[Layers]) -> list[float | None]:
        """Time stand-ins for these networks in turn; by their multiplications where the target is not here."""
        if self._timed is None:
            return [self._by_size(each) for each in sets]
        missing = [each for each in sets if _key(each) not in self._times.answers]
        if missing:
            first = sets[0]
            networks = {_key(each): self._written(each) for each in dict.fromkeys([first, *missing])}
            found = self._timed(networks)
            self._times.add({name: found[name] for name in map(_key, missing) if name in found})
        return [self._times.answers.get(_key(each)) for each in sets]

    def _by_size(self, chosen: Layers) -> float:
        """Return a time as if float took twice that of INT8, for each weight."""
        sizes = {
            places.label(node): float(np.prod(self._net.constants.shape(node.inputs[1])))
            for node in self._base.placement.weights.values()
        }
        return 1 + sum(sizes[layer] for layer in chosen) / max(sum(sizes.values()), 1.0)

    def _written(self, chosen: Layers) -> Path:
        path = self._folder / f"{_key(chosen)}.onnx"
        if not path.is_file():
            model = onnx.ModelProto()
            model.CopyFrom(self._exact)
            self._folder.mkdir(parents=True, exist_ok=True)
            onnx.save(engine.stand_in(model, engine.excluding(self._choices, patterns(sorted(chosen)))), path)
        return path

    def _without(self, chosen: Layers) -> frozenset[int]:
        """Return which scanned layers round nothing any more if these stay in float."""
        if chosen not in self._gone:
            placed = engine.excluding(self._choices, patterns(sorted(chosen))).placed(self._net).executed()
            self._gone[chosen] = frozenset(
                index
                for index, layer in enumerate(self._pair.layers)
                if layer.node.name not in placed.weights
                and not any((layer.node.name, slot) in placed.reads for slot in layer.reads)
            )
        return self._gone[chosen]


def _within(until: Deadline) -> scan.Progress:
    """Return what ends a scan with its time, batch by batch."""
    batches = until.part(1.0)

    def progress(done: int, total: int, word: str) -> None:
        batches.took()
        if done < total and batches.fits() == 0:
            raise OutOfTime

    return progress


def _key(chosen: Layers) -> str:
    return "int8-" + hashlib.sha256("\n".join(sorted(chosen)).encode()).hexdigest()[:16]
