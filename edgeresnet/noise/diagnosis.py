"""What is found about the noise of an INT8 network: numbers per layer, and causes by name."""

from __future__ import annotations

from dataclasses import field

from ..portable.frozen import OMIT, dataclass


@dataclass(frozen=True)
class Cause:
    """A reason for a layer's noise, what shows it, and what to do about it."""

    code: str  # for programs; never changes
    layer: str  # empty: the network as a whole
    evidence: str  # a sentence with its numbers
    remedy: str  # a sentence that says what to do
    weight: float = 0.0  # the part of the noise that it explains, as far as known: orders the causes


@dataclass(frozen=True)
class LayerNoise:
    """One layer. Decibels are SQNR at the logits, except `output_db`."""

    name: str
    kind: str
    own_db: float | None  # only this layer in INT8; None: it adds no noise
    cost_db: float  # by how much SQNR rises if this layer alone is left in float
    output_db: float | None  # SQNR of its output, with the noise of all layers before it
    measured: bool  # own_db, cost_db and both flips come from runs; else they are estimated by gradients
    own_flips: int | None = None  # images (pixels, of a map) with another top class, only this layer in INT8
    saved_flips: int | None = None  # flips that end if this layer is left in float
    matched: bool = True  # its weights before rounding are known


@dataclass(frozen=True)
class NoiseDiagnosis:
    """The noise of an INT8 network. Layers are in the network's order."""

    network: str
    reference: str
    images: int
    sqnr_db: float | None
    flips: int
    agreement: float
    explained: float  # of the noise, by the layers' estimated parts
    layers: tuple[LayerNoise, ...]
    causes: tuple[Cause, ...]  # the most likely first; none: no cause was found
    float_layers: tuple[str, ...]  # layers with weights that are not in INT8
    seconds: float
    pixels: int | None = field(default=None, metadata=OMIT)  # of maps, that are compared: flips count these
    anchors: int | None = field(default=None, metadata=OMIT)  # the same of a detector

    @property
    def unit(self) -> str:
        """What flips count, in words."""
        return "pixel" if self.pixels is not None else "anchor" if self.anchors is not None else "answer"

    def worst(self) -> list[LayerNoise]:
        """Return the layers, the one that costs most first."""
        return sorted(self.layers, key=lambda layer: -layer.cost_db)
