"""What a number can be: counts, times, moments. A type that is read from JSON refuses a number that cannot be.

Such a number was never measured: the document was damaged or edited. The types call this in `check_read`, which `codec`
calls for all that it decodes. Standard library only: devices use it as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

from .codec import CodecError

MANY = 1 << 40  # more than anything that is counted here
LONGEST_MS = 1e9  # eleven days
FIRST_MOMENT = 1_577_836_800.0  # 2020: no edgeresnet existed, and a computer whose clock says so has lost its time
_AHEAD_S = 3 * 86_400.0  # how far another computer's clock may be ahead of this one's


def check(owner: Any, low: float, high: float, *names: str) -> None:
    """Raise CodecError where one of these fields is not between the two. None stands for what is not known."""
    for name in names:
        value = getattr(owner, name)
        if value is not None and not low <= value <= high:
            raise _refused(owner, name, value, low, high)


def check_all(owner: Any, low: float, high: float, name: str, values: Sequence[float]) -> None:
    """Raise CodecError where one of the values that a field holds is not between the two."""
    if values and not low <= min(values) <= max(values) <= high:
        raise _refused(owner, name, next(value for value in values if not low <= value <= high), low, high)


def check_moment(owner: Any, name: str) -> None:
    """Raise CodecError where a moment is before 2020, or ahead by days."""
    value = getattr(owner, name)
    if value < FIRST_MOMENT:
        raise CodecError(_key(owner, name), "is before 2020: set the clock of the computer that measured")
    if value > time.time() + _AHEAD_S:
        raise CodecError(
            _key(owner, name), "is in the future: set the clock of the computer that measured, or of this one"
        )


def _refused(owner: Any, name: str, value: float, low: float, high: float) -> CodecError:
    if math.isinf(high) or high >= LONGEST_MS:
        wanted = f"at least {low:g}" if value < low else "a number that was measured"
    else:
        wanted = f"between {low:g} and {high:g}"
    return CodecError(_key(owner, name), f"is {value:g}, not {wanted}")


def _key(owner: Any, name: str) -> str:
    """Return what a field is called in JSON."""
    field = type(owner).__dataclass_fields__.get(name)
    return str(field.metadata.get("key", name)) if field else name
