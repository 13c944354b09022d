"""Images with objects in boxes, any number of them in each, wherever images and boxes come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from ...errors import ImagesError
from ...portable.preprocessing import Preprocessing
from ...portable.tasks.average_precision import Labelled
from .. import boxes
from ..boxes import Drawn
from .image_source import ImageSource
from .naming import by_name
from .parts import InParts

BACKGROUND = "background"


class Boxed(InParts):
    """A source of images with their objects."""

    def __init__(self, source: ImageSource, drawn: Sequence[Drawn], classes: Sequence[str]):
        super().__init__(source, classes)
        self.drawn = drawn

    def files(self) -> Sequence[str]:
        return self.source.files()

    def part(self, indices: Sequence[int]) -> Boxed:
        return Boxed(self.source.part(indices), [self.drawn[index] for index in indices], self.classes)

    def label_content(self, index: int) -> bytes:
        """Return what objects are, apart from how many classes there are."""
        found = self.drawn[index].objects
        parts = (found.boxes.astype("<f8"), found.numbers.astype("<i8"), found.crowd.astype("u1"))
        return sha256(b"".join([len(found.boxes).to_bytes(8, "little"), *(part.tobytes() for part in parts)])).digest()

    def objects(self, index: int, preprocessing: Preprocessing) -> Labelled:
        """Return the objects of an image, prepared as it is."""
        with self.opened(index) as image:
            boxes.check_size(self.drawn[index], image, self.name(index))
            return boxes.fitted(self.drawn[index].objects, image, preprocessing)


def numbered(
    known: Mapping[int, str], names: Sequence[str] | None, classes: int | None, where: str
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the classes in the network's order, and the number of each category's id.

    `names` are the classes in this order, `classes` is how many logits the network has; None: not known.
    """
    ids = sorted(known)
    if names is not None:
        return tuple(names), by_name(where, known, names)
    if classes in (None, len(ids)):
        return tuple(known[each] for each in ids), {each: at for at, each in enumerate(ids)}
    if classes == ids[-1] + 1 and ids[0] >= 0:  # torchvision's networks, of which some answers are never used
        found = [known.get(each, f"unused {each}" if each else BACKGROUND) for each in range(classes)]
        return tuple(found), {each: each for each in ids}
    if classes == len(ids) + 1:
        return (BACKGROUND, *(known[each] for each in ids)), {each: at for at, each in enumerate(ids, 1)}
    problem = f"has {len(ids)} categories, with ids up to {ids[-1]}, but the network has {classes} classes"
    hint = "name the network's classes in their order in `images.names`, or correct `model.classes`"
    raise ImagesError(where, problem, hint=hint)


def check_any(drawn: Sequence[Drawn], where: str) -> None:
    """Refuse a set in which no image has an object."""
    if all(each.objects.crowd.all() for each in drawn):
        crowds = any(len(each.objects.boxes) for each in drawn)
        problem = "has crowds alone, and no object" if crowds else "has no box: no image has an object"
        raise ImagesError(where, problem, hint="give images with objects, and their boxes")
