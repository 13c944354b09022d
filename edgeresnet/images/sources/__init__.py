"""Where images come from: class folders, a .tar of them, lists, arrays; and what their classes are called. Decodes
nothing.

A source has its classes, and for each image a label, a name for people, a content hash, and a way to open it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import ImagesError, machine_error
from ...portable.documents import form_of, reason, shown
from ...recipe import Source
from ...store import Store
from .. import place
from . import arrays, coco, coco_boxes, masked, pairing, voc, webdataset
from .arrays import Arrays, digits, npz
from .boxed import Boxed
from .cifar import cifar10
from .files import Folder, Listed
from .image_source import ImageSource as ImageSource
from .masked import Masked, Masks
from .naming import Named, Names, settled
from .scenes import SCENES, boxed_scenes, scenes
from .tars import COMPRESSED

__all__ = [
    "Arrays",
    "Boxed",
    "Folder",
    "ImageSource",
    "Listed",
    "Masked",
    "Names",
    "at",
    "boxes_at",
    "cifar10",
    "digits",
    "has_boxes",
    "is_named_so",
    "npz",
    "open_boxed",
    "open_masked",
    "open_source",
    "pairs_at",
]

DIGITS = "digits"
CIFAR10 = "cifar10"
_DRAWN = "segmentation"
IGNORE_INDEX = 255  # in the masks of most data sets
KINDS = (".csv", ".json", ".npz", ".tar")


def open_source(
    named: Source, slot: str, store: Store | None, *, names: str | None = None, classes: int | None = None
) -> ImageSource:
    """Open a source. `names` is a file with the classes' names, `classes` how many the network has; None: unset."""
    class_names = Names.read(Path(os.path.expanduser(names))) if names else None
    return settled(_opened(named, slot, store), class_names, classes, named.source)


def open_masked(
    named: Source,
    slot: str,
    store: Store | None,
    *,
    names: str | None = None,
    classes: int | None = None,
    ignored: int = IGNORE_INDEX,
) -> ImageSource:
    """Open a source of images with masks; calibration images have none. `ignored` is the number without a class."""
    if slot == "calibration":
        return _without_labels(named, store)
    if named.source == SCENES:
        return scenes(slot)
    path, given = Path(os.path.expanduser(named.source)), Names.read(Path(os.path.expanduser(names))) if names else None
    with _refused(path):
        return _masked(path, named.masks, slot, store, given, classes, ignored)


def open_boxed(
    named: Source, slot: str, store: Store | None, *, names: str | None = None, classes: int | None = None
) -> ImageSource:
    """Open a source of images with boxes; calibration images have none."""
    if slot == "calibration":
        return _without_labels(named, store)
    path, given = Path(os.path.expanduser(named.source)), Names.read(Path(os.path.expanduser(names))) if names else None
    ordered = given.names if given else None
    if named.source == SCENES:
        return boxed_scenes(slot, ordered, classes)
    with _refused(path):
        return boxes_at(path, named.boxes, store, ordered, classes)


def at(path: Path, slot: str, store: Store | None) -> ImageSource:
    """Open what holds images at a path; its name shows what it is. Calibration images need no labels."""
    with _refused(path):
        return _at(path, slot, store)


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Turn what the system says about a path into an error."""
    try:
        yield
    except PermissionError as problem:
        where, hint = problem.filename or path, "ask its owner for permission, or run as its owner"
        raise ImagesError(shown(where), "cannot be read without permission", hint=hint) from problem
    except OSError as problem:
        if machine_error(problem):
            raise
        where, hint = problem.filename or path, "repair or remove it"
        raise ImagesError(shown(where), reason(problem), hint=hint) from problem


def _at(path: Path, slot: str, store: Store | None) -> ImageSource:
    labelled, kind = slot != "calibration", path.suffix.lower()
    mode = place.mode_of(path)
    if place.is_folder(mode) or (mode is None and kind not in KINDS):
        return Folder(path, store, labelled=labelled)
    if mode is None and not webdataset.is_pattern(path):
        hint = "paths start at the folder where you started edgeresnet"
        raise ImagesError(f"the file {shown(path)}", "does not exist", hint=hint)
    if mode is not None and (form := form_of(mode)):
        raise ImagesError(shown(path), f"is {form}, not a folder or a file of images", hint="give class folders")
    if kind in (".csv", ".json"):
        return Listed(path, store, labelled=labelled)
    if kind == ".npz":
        return npz(path, slot)
    if kind == ".tar":
        return webdataset.opened(path, store, labelled=labelled)
    if path.name.lower().endswith(COMPRESSED):
        hint = "unpack it, or store a plain .tar"
        raise ImagesError(shown(path), "is compressed, but edgeresnet reads images in place", hint=hint)
    hint = f"give class folders, or one of {', '.join(KINDS)}"
    raise ImagesError(shown(path), "is a file of an unknown kind", hint=hint)


def is_named_so(path: Path) -> bool:
    """Return whether a file is a list, an archive or arrays, by its name."""
    return path.name.lower().endswith((*KINDS, *COMPRESSED))


def _opened(named: Source, slot: str, store: Store | None) -> ImageSource:
    if named.source == DIGITS:
        return digits(evaluation=slot == "evaluation")
    if named.source == CIFAR10:
        return cifar10(Path(os.path.expanduser(named.root or ".")), train=slot != "evaluation", download=named.download)
    return at(Path(os.path.expanduser(named.source)), slot, store)


def pairs_at(path: Path, mask_path: Path | None) -> Masked | None:
    """Open images with masks to look at them: of a folder, or of what has masks itself; None where there are none."""
    with _refused(path):
        if mask_path or _has_masks(path):
            source, masks, classes = _pairs(path, mask_path, None, None, None, IGNORE_INDEX)
            return Masked(source, masks, classes)
    return None


def boxes_at(
    path: Path,
    given: str | None,
    store: Store | None = None,
    names: Sequence[str] | None = None,
    classes: int | None = None,
) -> Boxed:
    """Open images with boxes: of COCO's .json, of a folder of Pascal VOC's .xml, or of what names both itself."""
    box_path = Path(os.path.expanduser(given)) if given else path
    if box_path.suffix.lower() == ".json":
        held = coco.load(box_path)
        if given or coco.is_coco(held):
            return coco_boxes.opened(box_path, held, path if given else path.parent, store, names, classes)
    if given and (mode := place.mode_of(box_path)) is not None and not place.is_folder(mode):
        hint = "give a .json of COCO, or a folder of Pascal VOC's .xml"
        raise ImagesError(shown(box_path), "is a file of an unknown kind of boxes", hint=hint)
    return voc.of_folders(path, box_path, store, names, classes) if given else voc.of_list(path, store, names, classes)


def has_boxes(path: Path) -> bool:
    """Return whether a file names images with their boxes."""
    kind = path.suffix.lower()
    if not os.path.isfile(path):
        return False
    if kind == ".json":
        return coco.has(coco.load(path), "bbox")
    return kind == ".csv" and pairing.is_list(path, voc.XML)


def _has_masks(path: Path) -> bool:
    kind = path.suffix.lower()
    if not os.path.isfile(path) and not webdataset.is_pattern(path):
        return False
    if kind == ".json":
        return coco.is_coco(held := coco.load(path)) and not (coco.has(held, "bbox") and not coco.has(held, _DRAWN))
    if kind == ".npz":
        return arrays.has_masks(path)
    return pairing.is_list(path, masked.MASK) if kind == ".csv" else kind == ".tar" and webdataset.has_masks(path)


def _masked(
    path: Path,
    mask_path: str | None,
    slot: str,
    store: Store | None,
    names: Names | None,
    classes: int | None,
    ignored: int,
) -> Masked:
    """Open images with masks, and settle what their numbers are called."""
    drawn_at = Path(os.path.expanduser(mask_path)) if mask_path else None
    source, masks, known = _pairs(path, drawn_at, slot, store, names, ignored)
    if not known and names is None and classes is None:
        hint = "set `model.classes`, with the background, or name the classes in `images.names`"
        raise ImagesError(f"the masks of {shown(path)}", "do not say how many classes there are", hint=hint)
    return Masked(source, masks, known or (names.in_order() if names else tuple(map(str, range(classes or 0)))))


def _pairs(
    path: Path, drawn_at: Path | None, slot: str | None, store: Store | None, names: Names | None, ignored: int
) -> tuple[ImageSource, Masks, tuple[str, ...]]:
    """Return images, their masks, and the classes where the file names them."""
    described = drawn_at or path
    if described.suffix.lower() == ".json":
        held = coco.load(described)
        if drawn_at or coco.is_coco(held):
            root = path if drawn_at else path.parent
            return coco.opened(described, held, root, store, names.in_order() if names else None)
    if drawn_at:
        return *masked.of_folders(path, drawn_at, store, ignored), ()
    if path.suffix.lower() in (".csv", ".json"):
        return *masked.of_list(path, store, ignored), ()
    if path.suffix.lower() == ".npz":
        return *arrays.masked(path, slot, ignored), ()
    return *webdataset.masked(path, store, ignored), ()


def _without_labels(named: Source, store: Store | None) -> ImageSource:
    """Open images alone: folders in a folder are not classes."""
    if named.source == SCENES:
        return Named(scenes("calibration").source, (), [0])
    path = Path(os.path.expanduser(named.source))
    with _refused(path):
        if place.is_folder(place.mode_of(path)):
            return pairing.pictures(path, store)
        if path.suffix.lower() == ".json" and coco.is_coco(held := coco.load(path)):
            return coco.pictures(path, held, path.parent, store)
    found = _opened(named, "calibration", store)
    return Named(found, (), [0] * max(1, len(found.classes)))
