"""What calibrate and quantize read, and what a recipe wants of them. Like `specs`, open to every stage."""

from __future__ import annotations

from ..images import Samples
from ..portable import codec
from ..portable.frozen import dataclass
from ..portable.session import Dialect
from ..recipe.sections import Quantize
from ..store import Artifact, Given
from .specs import Inputs, Json, Parents, Spec, TimedSearch, artifact_of, samples_of


@dataclass(frozen=True)
class CalibrateInputs(Inputs):
    network: Artifact
    calibration: Given[Samples]

    @classmethod
    def from_parents(cls, parents: Parents) -> CalibrateInputs:
        return cls(artifact_of(parents["network"]), samples_of(parents, "calibration"))


@dataclass(frozen=True)
class CalibrateSpec(Spec):
    seed: int

    def to_json(self) -> Json:
        return {"seed": self.seed}


@dataclass(frozen=True)
class QuantizeInputs(Inputs):
    network: Artifact
    calibration: Given[Samples]
    ranges: Artifact

    @classmethod
    def from_parents(cls, parents: Parents) -> QuantizeInputs:
        network, ranges = artifact_of(parents["network"]), artifact_of(parents["ranges"])
        return cls(network, samples_of(parents, "calibration"), ranges)


@dataclass(frozen=True)
class Control:
    """What `exclude: auto` is searched for: promises that can be forecast, and how the target's times are measured."""

    max_drop_pp: float | None
    max_flips_pct: float | None
    max_confidence_change: float | None
    evaluated: int  # images
    timed: TimedSearch | None  # None: the target is not on this machine
    round: int = 1  # of verdicts: each one after a promise that was not kept
    spent_s: float = 0.0  # by earlier rounds
    several: bool = False  # networks, from which a device chooses

    def to_json(self) -> Json:
        found: Json = {"max_drop_pp": self.max_drop_pp, "max_flips_pct": self.max_flips_pct}
        found |= {"max_confidence_change": self.max_confidence_change, "evaluated": self.evaluated}
        found |= {"round": self.round, "spent_s": self.spent_s} | ({"several": True} if self.several else {})
        return found | (self.timed.to_json() if self.timed else {})


@dataclass(frozen=True)
class QuantizeSpec(Spec):
    quantize: Quantize
    dialect: Dialect
    seed: int
    control: Control | None = None  # with `exclude: auto`
    placing: TimedSearch | None = None  # with `residual: auto`

    @property
    def timed(self) -> TimedSearch | None:  # type: ignore[override]
        return self.placing or (self.control.timed if self.control else None)

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.timed.targets) if self.timed else ()

    def to_json(self) -> Json:
        own = self.quantize.model_dump(mode="json", exclude={"device"})  # where it is computed is not what it is
        found: Json = {**own, "dialect": codec.encode(self.dialect), "seed": self.seed}
        found |= {"control": self.control.to_json()} if self.control else {}
        return found | ({"placing": self.placing.to_json()} if self.placing else {})
