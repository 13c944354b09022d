"""What a target is, and what a loaded network can do. The only plug-in interface of the project.

Knows no compiler: each lives in one file of `edgeresnet/targets/`. Needs numpy only as a word in annotations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..errors import TargetError
from . import limits
from .frozen import OMIT, dataclass

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Availability:
    """Whether a target can work here; where it cannot, why, and the line that mends it."""

    ok: bool
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    hint: str = ""
    builds: bool = False  # it can compile here what it cannot run here


@dataclass(frozen=True)
class Dialect:
    """What INT8 must look like for a compiler. Data, not code: equal dialects share one artifact."""

    activations: str  # "u8-after-relu" (all others s8), or "s8-symmetric"
    residual: str  # which edges of a residual Add carry Q/DQ: "shortcut" or "both"
    channel_multiple: int  # channel counts that run best
    smallest_gemm: int = 0  # a Gemm with fewer outputs stays float
    weights: str = "full"  # or "half" of the INT8 range, for CPUs whose sums of products saturate in 16 bits
    sums_in_float: bool = False  # of Conv → Add → ReLU: the sum is taken before it is rounded, whatever Q/DQ say
    zero_points: str = "never"  # of signed activations: "never", "where-closer" to FP32, "always" (they are uint8)
    integer_bias: bool = False  # of a Gemm, in 32 bits: only with it is the Gemm computed as INT8
    float_additions: str = "never"  # or of an Add next to "normalised" values, or "scaled" ones: attention too
    rounds_for_all: bool = field(default=False, metadata=OMIT)  # a layer is INT8 where all readers get rounded values
    image_zeros: str = field(default="one", metadata=OMIT)  # of padded images: "one", or "per-channel" on this x86


@dataclass(frozen=True)
class Signature:
    """The one input and the one output of a network. `batch` is None where it may vary.

    `map` holds the sides of the answer to one image where that is a map of classes or of their logits.
    """

    input: str
    batch: int | None
    channels: int
    size: int
    output: str
    classes: int
    pixels: bool = False  # takes pixels as they are decoded, uint8 and N×H×W×C; else normalised float32, N×C×H×W
    least: int = 1  # of a batch that may vary
    most: int | None = None  # None: whatever memory holds
    map: tuple[int, ...] = field(default=(), metadata=OMIT)

    def check_read(self) -> None:
        limits.check(self, 1, limits.MANY, "channels", "size", "classes", "least", "batch", "most")
        limits.check_all(self, 1, limits.MANY, "map", self.map)

    @property
    def logits(self) -> int:
        """How many classes there are logits of; 0 where it is not known, since it answers classes themselves."""
        return 0 if len(self.map) == 2 else self.classes

    @property
    def answer(self) -> tuple[int, ...]:
        """The sides of the answer to one image."""
        return self.map or (self.classes,)

    @property
    def kind(self) -> str:
        return "uint8" if self.pixels else "float32"

    def shape(self, batch: int) -> tuple[int, int, int, int]:
        if self.pixels:
            return batch, self.size, self.size, self.channels
        return batch, self.channels, self.size, self.size

    def check(self, batch: np.ndarray) -> None:
        """Refuse what the network was not compiled for, before numpy stretches one shape to another."""
        count = len(batch)
        if (str(batch.dtype) == "uint8") != self.pixels:
            raise TargetError(
                "the network",
                f"takes {'uint8 pixels' if self.pixels else 'normalised images'}, not {batch.dtype}",
                hint="a `uint8` network contains its preprocessing; all others take normalised float32 images",
            )
        if batch.shape != self.shape(count):
            raise TargetError(
                "the network",
                f"takes {self.shape(count)[1:]} images, not {batch.shape[1:]}",
                hint="compile it again for this preprocessing",
            )
        least, most = (self.batch, self.batch) if self.batch else (self.least, self.most or count)
        if not least <= count <= most:
            span = f"{least}" if least == most else f"{least} to {most}"
            raise TargetError(
                "the network",
                f"was built for batches of {span} images, not of {count}",
                hint="set the batches that it must take, then compile again: `batch: [1, 8, 64]` under the target",
            )


@dataclass(frozen=True)
class CompileNotes:
    """What a compiler reported about what it made."""

    signature: Signature
    float_parts: str | None = field(default=None, metadata={"omit": True})  # the precision of what is not INT8
    device: str = field(default="", metadata={"omit": True})  # of several that a target may run on


class Compiled(NamedTuple):
    """What `Target.compile` returns: notes that are stored, and the compiler's warnings."""

    notes: CompileNotes
    warnings: tuple[str, ...] = ()


class Layer(NamedTuple):
    """What really ran, as the runtime reports it: never guessed from the file."""

    name: str
    operator: str
    precision: str


class Throughput(NamedTuple):
    images: int
    seconds: float


class Session(Protocol):
    """A network ready to run. A context manager: leaving it frees the device."""

    @property
    def signature(self) -> Signature: ...

    def __enter__(self) -> Session: ...
    def __exit__(self, *problem: object) -> None: ...

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """Return the logits of a batch as the signature wants it: on the host, and the caller's to keep."""

    def device_times_ms(self, batch: np.ndarray, n: int) -> list[float] | None:
        """Return the times of n inferences by the device's or runtime's own clock, without copies; None without one."""

    def throughput(self, batch: np.ndarray, streams: int, seconds: float) -> Throughput:
        """Measure how many images `streams` parallel requests answer in about `seconds`."""

    def device_memory_mb(self) -> float:
        """Return what it holds of a device's memory in addition to the process's own; 0 on a CPU."""

    def layers(self) -> list[Layer]: ...


class Target(Protocol):
    """One compiler and its runtime. Importing its file never imports the runtime."""

    @property
    def name(self) -> str:
        """The word in recipes."""

    @property
    def title(self) -> str:
        """The word in sentences."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions whose versions belong to what was compiled."""

    @property
    def oldest(self) -> str:
        """The oldest release of the runtime that is tested: pyproject.toml has the same."""

    @property
    def install(self) -> str:
        """What brings the runtime to a machine, in a line."""

    @property
    def on_card(self) -> bool:
        """Whether an NVIDIA GPU infers: its energy is measured then, and not the CPU's."""

    @property
    def dialect(self) -> Dialect: ...

    def speaks(self, options: Any) -> Dialect:
        """Return its dialect, as these options and this machine have it."""

    @property
    def options(self) -> type:
        """A frozen dataclass: what a recipe may hold under this target's name."""

    def available(self, options: Any = None) -> Availability:
        """Return whether it can work here, with these options if there are any, and never raise."""

    def remarks(self, options: Any) -> tuple[str, ...]:
        """Return what a person should know of INT8 with these options, a sentence each."""

    def full(self, options: Any) -> Any:
        """Return the options of the FP32 network."""

    def half(self, options: Any) -> Any | None:
        """Return the options of the half-precision variant on this machine, or None where there is none."""

    def half_in_file(self, options: Any) -> bool:
        """Return whether the file itself must be in half precision: no option can ask for it."""

    def compile(self, onnx: Path, options: Any, out: Path, cache: Path | None = None) -> Compiled:
        """Write what the target runs into `out`, and return notes about it.

        `cache` is a folder for what makes the next time faster: it may be empty, and may be lost.
        """

    def load(self, compiled: Path) -> Session: ...
