"""What the stage `recognise` reads: the networks that given weights fit equally, and labelled images.

Light, as `specs` is: planning reads this file.
"""

from __future__ import annotations

from pathlib import Path

from ..images import Samples
from ..models.unwrap import Weights
from ..portable.frozen import dataclass
from ..store import Given
from .specs import Architecture, Inputs, Json, NetworkFile, Parents, Spec


@dataclass(frozen=True)
class RecogniseInputs(Inputs):
    network: NetworkFile
    images: Given[Samples]  # a few, with labels

    @classmethod
    def from_parents(cls, parents: Parents) -> RecogniseInputs:
        network, images = parents["network"], parents["images"]
        assert isinstance(network, Given), network
        assert isinstance(network.value, (Path, Weights)), network
        assert isinstance(images, Given), images
        assert isinstance(images.value, Samples), images
        return cls(Given(network.digest, network.value), Given(images.digest, images.value))


@dataclass(frozen=True)
class RecogniseSpec(Spec):
    candidates: tuple[Architecture, ...]  # the likeliest first
    seed: int

    def to_json(self) -> Json:
        return {"candidates": [each.to_json() for each in self.candidates], "seed": self.seed}
