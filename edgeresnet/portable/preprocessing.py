"""How pixels become a network's input: one frozen description, hashed, stored with every artifact.

The description and its arithmetic. Decoding and resizing files need an image library and stay in `images`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, field

import numpy as np

from . import codec, manifest
from .frozen import dataclass, described

LARGEST = 4096
CROPS = ("center", "squash", "pad")
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the network's input. The values must be those that it was trained with.

    The number of channels is the number of means: one for grayscale, three for colour.
    """

    size: int = field(metadata=described("Width and height of the network's input, in pixels."))
    mean: tuple[float, ...] = field(metadata=described("Mean of each channel, of pixels from 0 to 1."))
    std: tuple[float, ...] = field(metadata=described("Standard deviation of each channel, of pixels from 0 to 1."))
    resize: int | None = field(
        default=None,
        metadata=described("Shorter side of an image before the center crop, in pixels. Unset: the same as size."),
    )
    crop: str = field(
        default="center",
        metadata=described(
            "How an image becomes square: center crops it, squash scales both sides to size, pad scales the longer "
            "side to size and fills the rest, at the right or below, with the pixel nearest to the mean.",
            *CROPS,
        ),
    )
    interpolation: str = field(
        default="bilinear", metadata=described("Interpolation when an image is resized.", *INTERPOLATIONS)
    )
    order: str = field(
        default="rgb", metadata=described("Order of the colour channels that the network takes.", "rgb", "bgr")
    )
    bits: int = field(default=8, metadata=described("Bits per pixel: 8, or 16 for images of one channel."))
    exif: bool = field(
        default=False,
        metadata=described("Turn photographs as their EXIF data says. torchvision does not turn them."),
    )

    # Read by pydantic when a recipe holds this class; a plain dict, so that the device needs no pydantic.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def __post_init__(self) -> None:
        if not 1 <= self.size <= LARGEST:
            raise ValueError(f"size must be between 1 and {LARGEST}, not {self.size}")
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize ({self.resize}) must not be smaller than size ({self.size})")
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean has {len(self.mean)} values and std has {len(self.std)}: give both one value per channel"
            )
        if len(self.mean) not in (1, 3):
            raise ValueError(f"mean has {len(self.mean)} values: give one for grayscale or three for colour images")
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(self.std)) or min(self.std) <= 0:
            raise ValueError("mean must be finite and std finite and positive")
        _one_of("crop", self.crop, CROPS)
        _one_of("interpolation", self.interpolation, INTERPOLATIONS)
        _one_of("order", self.order, ("rgb", "bgr"))
        if self.bits not in (8, 16):
            raise ValueError(f"bits must be 8 or 16, not {self.bits}")
        if self.bits == 16 and self.channels != 1:
            raise ValueError("bits is 16 and mean has three values: images of 16 bits must have one channel")

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def brightest(self) -> int:
        """The pixel that becomes 1 before mean and std."""
        return 2**self.bits - 1

    @property
    def pixel(self) -> np.dtype:
        """What a decoded pixel is held in."""
        return np.dtype(f"u{self.bits // 8}")

    def fit(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the (width, height) to resize an image to, and the (left, top) of the square of `size` in that.

        A padded image is smaller than the square.
        """
        if self.crop == "squash":
            return (self.size, self.size), (0, 0)
        if self.crop == "pad":
            longer = max(width, height)
            width, height = (max(1, (2 * side * self.size + longer) // (2 * longer)) for side in (width, height))
            return (width, height), (0, 0)
        short = self.resize or self.size
        if min(width, height) != short:
            # torchvision's arithmetic: the longer side is cut down to a whole number, not rounded
            width, height = (
                (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
            )
        return (width, height), (round((width - self.size) / 2.0), round((height - self.size) / 2.0))

    @property
    def fill(self) -> tuple[int, ...]:
        """The pixel nearest to the mean, in RGB or grayscale: what a padded image has around it."""
        levels = tuple(round(min(max(value, 0.0), 1.0) * self.brightest) for value in self.mean)
        return levels[::-1] if self.order == "bgr" else levels

    @property
    def geometry(self) -> dict[str, object]:
        """What decoded pixels depend on; mean, std and order come after decoding, and only padding depends on them."""
        return {
            "size": self.size,
            "resize": self.resize or self.size,
            "crop": self.crop,
            "interpolation": self.interpolation,
            "channels": self.channels,
            **self._unusual,
            **({"fill": self.fill} if self.crop == "pad" else {}),
        }

    @property
    def _unusual(self) -> dict[str, object]:
        """Newer options that are not their defaults: digests and files without them stay what they were."""
        newer = {"bits": (self.bits, 8), "exif": (self.exif, False)}
        return {key: value for key, (value, default) in newer.items() if value != default}

    @property
    def digest(self) -> str:
        return manifest.digest_of(self.to_json())

    def to_json(self) -> dict[str, object]:
        """Return its JSON, which digests and keys are made of."""
        every = {**asdict(self), "resize": self.resize or self.size, "mean": list(self.mean), "std": list(self.std)}
        return {key: value for key, value in every.items() if key not in ("bits", "exif")} | self._unusual

    @staticmethod
    def from_json(value: Mapping[str, object]) -> Preprocessing:
        """Read its JSON strictly; raise codec.CodecError where that does not fit."""
        return codec.decode(Preprocessing, codec.encode(value))

    def scale_and_shift(self) -> tuple[np.ndarray, np.ndarray]:
        """Return float32, one of each per channel: a pixel times `scale` plus `shift` is what the network takes."""
        std = np.asarray(self.std, np.float64)
        scale = (1.0 / (self.brightest * std)).astype(np.float32)
        return scale, (-np.asarray(self.mean, np.float64) / std).astype(np.float32)

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Convert pixels NHWC, RGB or grayscale, to float32 NCHW: (pixel / 255 - mean) / std, in the network's order.

        Of 16 bits: pixel / 65535.
        """
        scale, shift = self.scale_and_shift()
        if self.order == "bgr":
            pixels = pixels[..., ::-1]
        planes = pixels.transpose(0, 3, 1, 2)
        out = np.empty(planes.shape, np.float32)
        out[...] = planes  # one plain conversion, then in place: a mixed-type multiply takes a third longer
        out *= scale[:, None, None]
        out += shift[:, None, None]
        return out


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}, not {value!r}")
