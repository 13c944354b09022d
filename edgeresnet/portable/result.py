"""What a target answered and how long it took, as it is stored and as every reader of a run reads it.

Frozen values that travel as JSON (`codec`). Numbers that follow from them (proportions, intervals) are methods, so that
each is computed in one place. Judges nothing: `judging` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import Literal

from ..errors import quoted
from . import limits
from .codec import CodecError
from .frozen import OMIT, dataclass
from .machine import Machine
from .probabilities import Confidence, Probabilities
from .session import CompileNotes, Layer
from .tasks import DEFAULT, TaskName, member
from .tasks.box_accuracy import BoxAccuracy
from .tasks.class_accuracy import TOP1 as TOP1
from .tasks.class_accuracy import Accuracy as Accuracy
from .tasks.image_scores import ScoreName as ScoreName
from .tasks.mask_accuracy import MaskAccuracy
from .tasks.overlap import Overlaps
from .tasks.precision import Matched
from .tasks.two_stage import AnyDetector
from .times import Latency

Word = Literal["KEPT", "DEFERRED", "UNDECIDED", "NOT_MEASURED", "BROKEN"]
# INT8 networks from which a device's result chooses, the likeliest to keep its promises first: `SAFE` has more layers
# in float than are needed by forecast, `PLAIN` has none.
PLAIN, SAFE = "int8-all", "int8-safe"
INT8 = ("int8", SAFE, PLAIN)


@dataclass(frozen=True)
class RunWarning:
    """Something that a person should know. `code` is data, `text` is for people: it is never parsed, and in no key."""

    code: str
    text: str
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}" if self.subject else self.text


AnyAccuracy = Accuracy | MaskAccuracy | BoxAccuracy  # one type per task; all are read by the same names
AnyCounts = Overlaps | Matched  # what the scores of images are computed from


@dataclass(frozen=True)
class Variant:
    """One form of the network on one target: its answers, its times, its size."""

    accuracy: AnyAccuracy
    predicted: tuple[int, ...]
    latency: Latency | None
    size_mb: float
    digest: str
    notes: CompileNotes
    precisions: Mapping[str, int] = field(default_factory=dict)  # how many layers ran in which precision
    float_layers: tuple[Layer, ...] = field(default=(), metadata=OMIT)  # of an INT8 network, those that ran in float
    against_pruned: AnyAccuracy | None = field(default=None, metadata=OMIT)  # quantization's loss without pruning's
    probabilities: Probabilities | None = field(default=None, metadata=OMIT)  # None: an older edgeresnet measured it

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "size_mb")
        limits.check_all(self, 0, limits.MANY, "precisions", tuple(self.precisions.values()))

    @property
    def quantization(self) -> AnyAccuracy:
        """What quantizing alone changed: compared with the network that was quantized."""
        return self.against_pruned or self.accuracy


@dataclass(frozen=True)
class Yardstick:
    """A small pinned network that is timed with all others."""

    sha256: str
    latency: Latency | None


@dataclass(frozen=True)
class DecodingDifference:
    """How far a device's pixels are from the host's for the same files, and how many answers that changes."""

    images: int
    mean_levels: float
    largest_levels: int
    answers_changed: int

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "images")
        limits.check(self, 0, 65_535, "mean_levels", "largest_levels")
        limits.check(self, 0, self.images, "answers_changed")


@dataclass(frozen=True)
class Alternative:
    """Another INT8 network of the same search, with other layers in float; `rebuilds` as those of what would ship."""

    variant: Variant
    rebuilds: tuple[Variant, ...] = field(default=(), metadata=OMIT)


@dataclass(frozen=True)
class Judged:
    """One of several INT8 networks by the promises: its worst verdict, and the promise that is furthest away."""

    verdict: Word
    promise: str = field(default="", metadata=OMIT)
    distance: float | None = None  # of that promise, in parts of its limit: 0 is kept; None: it was not measured


@dataclass(frozen=True)
class Choice:
    """Several INT8 networks of one search, measured in turn: which of them is `int8`, and the others by name."""

    taken: str
    others: Mapping[str, Alternative] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)  # those that the device cannot build or run, and why
    judged: Mapping[str, Judged] = field(default_factory=dict, metadata=OMIT)  # where the promises are known

    def check_read(self) -> None:
        names = [self.taken, *self.others, *self.left_out]
        if len(set(names)) < len(names) or not set(names) <= set(INT8):
            raise CodecError("", f"names other networks than {', '.join(INT8)}, or one twice")
        if self.judged and set(self.judged) != {self.taken, *self.others}:
            raise CodecError("judged", "are not the networks that were measured")

    @property
    def count(self) -> int:
        """How many networks were measured."""
        return 1 + len(self.others)


@dataclass(frozen=True)
class Measured:
    """What was measured on one target."""

    target: str
    ships: str = field(metadata={"key": "candidate"})  # the variant that would ship
    classes: tuple[str, ...]
    labels: tuple[int, ...] | None
    skipped: tuple[str, ...]
    variants: Mapping[str, Variant]
    machine: Machine
    versions: Mapping[str, str]
    reference_predicted: tuple[int, ...]
    images: str | None = None  # digest of the evaluation images: another run's answers to them can be compared
    rebuilds: tuple[Variant, ...] = field(default=(), metadata=OMIT)  # what would ship, built again
    yardstick: Yardstick | None = None
    as_written: AnyAccuracy | None = field(
        default=None, metadata=OMIT
    )  # the INT8 file in onnxruntime, before a compiler
    decoding: Mapping[str, DecodingDifference | None] = field(default_factory=dict, metadata=OMIT)  # by library
    reference_probabilities: tuple[float, ...] = field(default=(), metadata=OMIT)  # of the reference's own answers
    confidence: Mapping[str, Confidence] = field(default_factory=dict, metadata=OMIT)  # by variant
    choice: Choice | None = field(default=None, metadata=OMIT)  # where `int8` is one of several
    task: TaskName = field(default=DEFAULT, metadata=OMIT)
    unrelated: AnyCounts | None = field(default=None, metadata=OMIT)  # FP32's answers with labels of other images
    detector: AnyDetector | None = field(default=None, metadata=OMIT)  # how answers become boxes
    state: Literal["measured"] = "measured"

    def check_read(self) -> None:
        if self.ships not in self.variants:
            raise CodecError("variants", f"lack {quoted(self.ships)}, which would ship")
        member(self.task).check(self)
        for name, variant in self.every().items():
            if variant.accuracy.has_labels != self.has_labels:
                problem = "lacks the counts that labels give" if self.has_labels else "has counts that only labels give"
                raise CodecError(f"{name}.accuracy", problem)
        if self.choice and self.ships != "int8":
            raise CodecError("choice", "is of INT8 networks, but none of them would ship")
        if not set(self.confidence) <= set(self.variants):
            raise CodecError("confidence", "is of a variant that was not measured")

    def every(self) -> dict[str, Variant]:
        """Return every network that answered, by its place in the document; rebuilds are not among them."""
        found = {f"variants.{name}": each for name, each in self.variants.items()}
        others = self.choice.others if self.choice else {}
        return found | {f"choice.others.{name}.variant": each.variant for name, each in others.items()}

    def every_build(self) -> Iterator[tuple[str, Variant]]:
        """Yield every network that answered, by name, and the rebuilds."""
        yield from self.variants.items()
        yield from ((self.ships, each) for each in self.rebuilds)
        for name, other in (self.choice.others if self.choice else {}).items():
            yield from ((name, each) for each in (other.variant, *other.rebuilds))

    @property
    def shipped(self) -> Variant:
        """The variant that would ship."""
        return self.variants[self.ships]

    @property
    def has_labels(self) -> bool:
        return bool(member(self.task).has_labels(self))

    @property
    def count(self) -> int:
        """How many images were evaluated."""
        return self.shipped.accuracy.images

    def builds(self) -> list[Measured]:
        """Return the result once for each time that what would ship was built."""
        return [self, *(replace(self, variants={**self.variants, self.ships: each}) for each in self.rebuilds)]

    def taking(self, name: str) -> Measured:
        """Return the result with another one of several INT8 networks as the one that ships; nothing else changes."""
        if self.choice is None or name == self.choice.taken:
            return self
        wanted, choice = self.choice.others[name], self.choice
        others = {each: other for each, other in choice.others.items() if each != name}
        return replace(
            self,
            variants={**self.variants, self.ships: wanted.variant},
            rebuilds=wanted.rebuilds,
            choice=replace(
                choice, taken=name, others={**others, choice.taken: Alternative(self.shipped, self.rebuilds)}
            ),
            as_written=None,  # both are of the one before
            confidence={},
        )

    def latency_of(self, variant: str) -> Latency | None:
        """Return the times of a variant; None where it was not built or not timed."""
        return self.variants[variant].latency if variant in self.variants else None

    def timed(self) -> dict[str, Latency]:
        """Return the variants whose latency was measured."""
        return {name: each.latency for name, each in self.variants.items() if each.latency}


@dataclass(frozen=True)
class Deferred:
    """A target that a device will measure: its bundle waits."""

    target: str
    reason: str
    hint: str = ""
    unlabelled: bool = False  # no image has a label: accuracy will not be known either
    state: Literal["deferred"] = "deferred"


@dataclass(frozen=True)
class NotMeasured:
    """A target without a result, and why."""

    target: str
    reason: str
    hint: str = ""
    state: Literal["not_measured"] = "not_measured"


Result = Measured | Deferred | NotMeasured


@dataclass(frozen=True)
class Promise:
    """What a recipe or a gate promises. `subject` is the class or the baseline variant that it is about, if any."""

    kind: str
    limit: float
    subject: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.subject}" if self.subject else self.kind

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Verdict:
    """One promise on one target: what was promised, what was found, and one sentence of reason."""

    target: str
    promise: Promise
    verdict: Word
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    more_images: int | None = None  # as many more images like these would decide
    by: Literal["recipe", "baseline"] = field(default="recipe", metadata=OMIT)
