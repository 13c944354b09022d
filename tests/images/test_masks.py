"""Images with masks: which mask is whose, that both are cut alike, and every mistake in one clear line."""

from __future__ import annotations

import csv
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeresnet import images, recipe
from edgeresnet.errors import ImagesError, RecipeError
from edgeresnet.images import Samples, choose, masks
from edgeresnet.images.survey import survey
from edgeresnet.portable.tasks.masks import IGNORED
from edgeresnet.store import Store

from ..conftest import tiny

pytestmark = pytest.mark.unit

GRAY = {"size": 8, "mean": [0.5], "std": [0.25], "interpolation": "nearest"}


def wanted(**changes: Any) -> dict[str, Any]:
    """Return a recipe of segmentation."""
    given: dict[str, Any] = {"task": "segmentation", "model__classes": 4, "preprocessing": dict(GRAY), "promises": None}
    given |= {"images__training": None, "train": None, "model__checkpoint": "net.pth"}
    return tiny(**{**given, **changes})


def opened(given: Any, store: Store | None = None, slot: str = "evaluation", **changes: Any) -> Samples:
    named = {f"images__{slot}": given, **changes}
    if slot != "evaluation":
        named.setdefault("images__evaluation", "digits-scenes")
    return images.open_samples(recipe.parse(wanted(**named)), slot, store)


def pair(root: Path, name: str, mask: np.ndarray, *, image: str = "png", bits: int = 8) -> None:
    """Write an image of a pattern, and its mask."""
    for folder in ("images", "masks"):
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, name))
    pixels = np.random.default_rng(seed).integers(0, 256, mask.shape, np.uint8)
    Image.fromarray(pixels).save(root / "images" / f"{name}.{image}")
    save(root / "masks" / f"{name}.png", mask, bits)


def save(path: Path, mask: np.ndarray, bits: int = 8) -> None:
    if bits == 1:
        Image.fromarray(mask.astype(bool)).save(path)
    elif bits == 16:
        Image.fromarray(mask.astype(np.uint16)).save(path)
    else:
        Image.fromarray(mask.astype(np.uint8)).save(path)


def set_of(root: Path, count: int = 6, **changes: Any) -> dict[str, str]:
    """Write a small set, and return its source."""
    for number in range(count):
        pair(root, f"deep/{number}", np.random.default_rng(number).integers(0, 4, (9, 11)), **changes)
    return {"from": str(root / "images"), "masks": str(root / "masks")}


def test_a_mask_has_the_path_of_its_image(tmp_path: Path) -> None:
    samples = opened(set_of(tmp_path, image="bmp"), model__classes=4)
    assert (len(samples), samples.has_masks, samples.classes) == (6, True, ("0", "1", "2", "3"))
    assert samples.labels.tolist() == [0] * 6
    assert samples.path(3) == str(tmp_path / "images/deep/3.bmp")
    drawn = np.asarray(Image.open(tmp_path / "masks/deep/3.png"))
    assert (samples.mask(3).dtype, samples.mask(3).shape) == (np.uint16, (8, 8))
    assert samples.source.mask(3).tolist() == drawn.tolist()  # type: ignore[attr-defined]
    packed = samples.masks([4, 3])
    assert [packed[0].tolist(), packed[1].tolist()] == [samples.mask(4).tolist(), samples.mask(3).tolist()]


def test_images_of_a_classifier_have_none(tmp_path: Path) -> None:
    samples = images.open_samples(recipe.parse(tiny()), "evaluation")
    assert not samples.has_masks
    assert samples.without_parts() is samples


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_grays_of_any_depth_are_numbers(tmp_path: Path, bits: int) -> None:
    mask = np.arange(64).reshape(8, 8) % (2 if bits == 1 else 4)
    pair(tmp_path, "a", mask, bits=bits)
    samples = opened({"from": str(tmp_path / "images"), "masks": str(tmp_path / "masks")})
    assert samples.mask(0).tolist() == mask.tolist()


def png(mask: np.ndarray, bits: int, palette: bool) -> bytes:
    """Write a PNG of 1, 2 or 4 bits per pixel by hand: Pillow writes no grays of 2 or 4."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = [np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :].ravel() for row in mask]
    raw = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", mask.shape[1], mask.shape[0], bits, 3 if palette else 0, 0, 0, 0)
    colours = chunk(b"PLTE", bytes(value % 251 for value in range(3 * 2**bits))) if palette else b""
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + colours + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_png_of_few_bits_keeps_its_numbers(bits: int, palette: bool) -> None:
    mask = np.arange(7 * 9).reshape(7, 9) % min(2**bits, 16)
    held = png(mask, bits, palette)
    assert masks.read(lambda: Image.open(io.BytesIO(held)), "a.png").tolist() == mask.tolist()


@pytest.mark.parametrize("kind", ["tiff", "bmp", "gif"])
def test_other_files_without_loss_are_masks_too(tmp_path: Path, kind: str) -> None:
    mask = np.arange(64).reshape(8, 8) % 4
    coloured = Image.fromarray(mask.astype(np.uint8)).convert("P")
    coloured.putpalette([200, 10, 30, 40, 200, 60, 70, 80, 200, 1, 2, 3])
    coloured.save(tmp_path / f"a.{kind}")
    assert masks.read(lambda: Image.open(tmp_path / f"a.{kind}"), "a").tolist() == mask.tolist()


def exif_of(number: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = number
    return found


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize(
    ("size", "crop", "resize"),
    [
        ((8, 8), "center", None),
        ((13, 21), "center", 11),
        ((31, 10), "squash", None),
        ((7, 5), "center", 9),
        ((9, 8), "center", None),
    ],
)
def test_a_mask_is_cut_exactly_as_its_image(
    tmp_path: Path, tag: int, size: tuple[int, int], crop: str, resize: int | None
) -> None:
    pattern = np.random.default_rng(sum(size)).integers(0, 200, (size[1], size[0]), np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.fromarray(pattern).save(tmp_path / "images" / "a.png", exif=exif_of(tag))
    save(tmp_path / "masks" / "a.png", pattern)
    for exif in (False, True):
        how = {**GRAY, "crop": crop, "resize": resize, "exif": exif}
        samples = opened(
            {"from": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}, preprocessing=how, model__classes=200
        )
        np.testing.assert_array_equal(samples.mask(0), samples.pixels([0])[0, ..., 0])


def test_padding_has_no_label(tmp_path: Path) -> None:
    pattern = np.random.default_rng(0).integers(0, 200, (10, 20), np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "a.png", pattern)
    source = {"from": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    samples = opened(source, preprocessing={**GRAY, "crop": "pad"}, model__classes=200)
    np.testing.assert_array_equal(samples.mask(0)[:4], samples.pixels([0])[0, :4, :, 0])
    assert (samples.mask(0)[4:] == IGNORED).all()


def test_an_edge_stays_where_it_is_in_a_smooth_resize(tmp_path: Path) -> None:
    pattern = np.zeros((101, 151), np.uint8)
    pattern[:, 60:] = 1
    pattern[40:, :] += 2
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.fromarray(pattern * 80).save(tmp_path / "images" / "a.png")
    save(tmp_path / "masks" / "a.png", pattern)
    how = {**GRAY, "size": 48, "resize": 56, "interpolation": "bilinear"}
    samples = opened({"from": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}, preprocessing=how)
    pixels, mask = samples.pixels([0])[0, ..., 0].astype(float), samples.mask(0)
    assert (np.abs(pixels - 80.0 * mask) > 81).sum() == 0
    assert (np.abs(pixels - 80.0 * mask) > 41).mean() < 0.01


def test_ignored_pixels_are_marked(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:2], mask[2:4] = 255, 3
    pair(tmp_path, "a", mask)
    source = {"from": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    assert np.unique(opened(source).mask(0)).tolist() == [0, 3, IGNORED]
    mask[:2] = 0
    save(tmp_path / "masks" / "a.png", mask)
    assert np.unique(opened(source, images__ignore_index=0).mask(0)).tolist() == [3, IGNORED]
    save(tmp_path / "masks" / "a.png", np.full((8, 8), 255))
    assert np.unique(opened(source).mask(0)).tolist() == [IGNORED]


def test_names_are_those_of_the_numbers(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("background\nroad\ncrack\nsign\n")
    source = set_of(tmp_path)
    samples = opened(source, images__names=str(names), model__classes=None)
    assert samples.classes == ("background", "road", "crack", "sign")
    names.write_text("7 road\n8 crack\n")
    with pytest.raises(ImagesError, match="gives a class the number 7, but masks count"):
        opened(source, images__names=str(names))
    with pytest.raises(ImagesError, match="do not say how many classes there are"):
        opened(source, model__classes=None)
    with pytest.raises(ImagesError, match=r"has 4 classes .* but the model has 5") as problem:
        images.check_classes(samples, 5, "the evaluation set")
    assert "background" in problem.value.hint


def listed(root: Path, rows: list[tuple[str, str]], head: tuple[str, str] = ("image", "mask")) -> str:
    with open(root / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return str(root / "list.csv")


def test_a_list_chooses_images_and_their_masks(tmp_path: Path) -> None:
    set_of(tmp_path)
    rows = [(f"images/deep/{number}.png", f"masks/deep/{5 - number}.png") for number in (1, 4)]
    samples = opened(listed(tmp_path, rows))
    drawn = [np.asarray(Image.open(tmp_path / mask)).tolist() for _, mask in rows]
    assert [samples.source.mask(index).tolist() for index in range(2)] == drawn  # type: ignore[attr-defined]
    with pytest.raises(ImagesError, match=r"1 of the files .* do not exist: masks/none.png"):
        opened(listed(tmp_path, [*rows, ("images/deep/2.png", "masks/none.png")]))
    with pytest.raises(ImagesError, match=r"gives some images no mask \(1 of 3\)") as problem:
        opened(listed(tmp_path, [*rows, ("images/deep/2.png", "")]))
    assert "image,mask" in problem.value.hint


def packed(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return str(path)


def test_shards_hold_masks_next_to_images(tmp_path: Path) -> None:
    set_of(tmp_path)
    held = {f"{number}.png": (tmp_path / f"images/deep/{number}.png").read_bytes() for number in range(6)}
    held |= {f"{number}.mask.png": (tmp_path / f"masks/deep/{number}.png").read_bytes() for number in range(6)}
    packed(tmp_path / "s-0.tar", dict(list(held.items())[:3] + list(held.items())[6:9]))
    packed(tmp_path / "s-1.tar", dict(list(held.items())[3:6] + list(held.items())[9:]))
    samples, folders = opened(str(tmp_path / "s-{0..1}.tar")), opened(set_of(tmp_path))
    assert [samples.mask(index).tolist() for index in range(6)] == [folders.mask(index).tolist() for index in range(6)]
    assert samples.identity == folders.identity
    assert len(opened(str(tmp_path / "s-0.tar"), slot="calibration")) == 3
    with pytest.raises(ImagesError, match=r"has samples without one image and one mask \(1\): odd.tar:0"):
        opened(packed(tmp_path / "odd.tar", {"0.png": held["0.png"], "1.png": held["1.png"], "1.mask.png": b""}))


def edit(change: Callable[[Path], object]) -> Callable[[Path], object]:
    return change


def colour(root: Path) -> None:
    Image.new("RGB", (11, 9)).save(root / "masks/deep/2.png")


def lossy(root: Path) -> None:
    (root / "masks/deep/2.png").unlink()
    Image.new("L", (11, 9)).save(root / "masks/deep/2.jpg")


def other_size(root: Path) -> None:
    save(root / "masks/deep/2.png", np.zeros((9, 12)))


def outside(root: Path) -> None:
    save(root / "masks/deep/2.png", np.full((9, 11), 7))


def damaged(root: Path) -> None:
    path = root / "masks/deep/2.png"
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("change", "words", "hint"),
    [
        (colour, r"masks/deep/2.png is a colour image, not a mask", "palette or in grays"),
        (lossy, r"masks/deep/2.jpg is a JPEG, which does not keep the numbers", "PNG"),
        (other_size, r"masks/deep/2.png has 12×9 pixels, but its image .*images/deep/2.png has 11×9", "its own size"),
        (outside, r"masks/deep/2.png has the number 7 in 99 pixels, but there are 4 classes", "ignore_index: 7"),
        (damaged, r"masks/deep/2.png cannot be decoded", "unreadable: skip"),
    ],
)
def test_a_wrong_mask_is_named(tmp_path: Path, change: Callable[[Path], object], words: str, hint: str) -> None:
    source = set_of(tmp_path)
    change(tmp_path)
    with pytest.raises(ImagesError, match=words) as problem:
        opened(source).masks(range(6))
    assert hint in problem.value.hint


@pytest.mark.parametrize("change", [colour, lossy, other_size, outside])
def test_a_wrong_mask_is_not_left_out_without_a_word(tmp_path: Path, change: Callable[[Path], object]) -> None:
    source = set_of(tmp_path)
    change(tmp_path)
    with pytest.raises(ImagesError, match="masks/deep/2"):
        list(opened(source, images__unreadable="skip").batches(4))


def test_an_unreadable_mask_takes_its_image_with_it(tmp_path: Path) -> None:
    source = set_of(tmp_path)
    damaged(tmp_path)
    (tmp_path / "images/deep/4.png").write_bytes(b"damaged")
    samples = opened(source, Store.open(tmp_path / "store"), images__unreadable="skip")
    for _ in range(2):  # the second time from the cache
        assert np.concatenate([batch.indices for batch in samples.batches(4)]).tolist() == [0, 1, 3, 5]
    assert samples.table().indices.tolist() == [0, 1, 3, 5]
    with pytest.raises(ImagesError, match=r"images/deep/4.png cannot be decoded"):
        opened(source).mask(4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "masks/deep/1.png").unlink(), r"has images without a mask \(1 of 6\): deep/1.png"),
        (lambda root: (root / "images/deep/1.png").unlink(), r"has masks without an image \(1 of 6\): deep/1.png"),
        (
            lambda root: Image.new("L", (11, 9)).save(root / "images/deep/1.jpg"),
            r"has images that differ in their endings alone \(1\): deep/1.jpg = deep/1.png",
        ),
        (
            lambda root: Image.new("L", (11, 9)).save(root / "masks/deep/1.gif"),
            r"has masks that differ in their endings alone \(1\): deep/1.gif = deep/1.png",
        ),
    ],
)
def test_what_has_no_partner_is_named(tmp_path: Path, change: Callable[[Path], object], words: str) -> None:
    source = set_of(tmp_path)
    change(tmp_path)
    with pytest.raises(ImagesError, match=words) as problem:
        opened(source)
    assert "image,mask" in problem.value.hint


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    source = set_of(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImagesError, match="empty has no masks"):
        opened({**source, "masks": str(tmp_path / "empty")})
    with pytest.raises(ImagesError, match=r"the folder of masks .*none does not exist"):
        opened({**source, "masks": str(tmp_path / "none")})
    with pytest.raises(ImagesError, match=r"the folder of images .*none does not exist"):
        opened({**source, "from": str(tmp_path / "none")})
    with pytest.raises(ImagesError, match="is the folder of the images and that of the masks"):
        opened({**source, "masks": source["from"]})


def test_masks_may_lie_in_a_folder_of_the_images(tmp_path: Path) -> None:
    set_of(tmp_path)
    (tmp_path / "masks").rename(tmp_path / "images" / "masks")
    samples = opened({"from": str(tmp_path / "images"), "masks": str(tmp_path / "images" / "masks")})
    assert len(samples) == 6


def test_a_photograph_drawn_as_it_is_shown_gets_a_hint(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("L", (12, 9)).save(tmp_path / "images" / "a.jpg", exif=exif_of(6))
    save(tmp_path / "masks" / "a.png", np.zeros((12, 9)))
    with pytest.raises(ImagesError, match="has 9×12 pixels, but its image") as problem:
        opened({"from": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}).mask(0)
    assert "EXIF turns this photograph" in problem.value.hint


def test_masks_are_part_of_what_a_set_is(tmp_path: Path) -> None:
    source = set_of(tmp_path)
    base = opened(source)
    assert opened(source).digest == base.digest
    assert base.subset([1, 0]).identity != base.subset([0, 1]).identity
    assert opened(source, images__ignore_index=3).identity != base.identity
    assert opened(source, preprocessing={**GRAY, "crop": "squash"}).identity == base.identity
    save(tmp_path / "masks/deep/2.png", np.zeros((9, 11)))
    assert opened(source).digest != base.digest
    assert opened(source).identity != base.identity
    assert opened(source).hash(2) == base.hash(2)


def test_a_part_travels_with_its_masks(tmp_path: Path) -> None:
    samples = opened(set_of(tmp_path, 40)).subset(np.arange(39, -1, -1))
    part: Samples = pickle.loads(pickle.dumps(samples.part(2, 5)))
    assert [part.mask(index).tolist() for index in range(3)] == [samples.mask(index).tolist() for index in range(2, 5)]
    assert part.identity == samples.subset([2, 3, 4]).identity
    assert len(pickle.dumps(part)) < len(pickle.dumps(samples)) / 2
    (tmp_path / "masks/deep/6.png").unlink()
    with pytest.raises(Exception, match=r"does not see 1 of its images' files: .*masks/deep/6.png"):
        part.arrived()


def test_a_choice_is_by_seed_alone(tmp_path: Path) -> None:
    samples = opened(set_of(tmp_path, 12))
    assert len(choose.balanced(samples, 5, 1)) == 5
    assert choose.balanced(samples, 5, 1).tolist() != choose.balanced(samples, 5, 2).tolist()
    rest, part = choose.split(samples, 0.25, 0)
    assert (len(rest), len(part), part.has_masks) == (9, 3, True)
    counted = opened({**set_of(tmp_path, 12), "count": 5})
    assert (len(counted), counted.has_masks) == (5, True)


def test_calibration_takes_images_alone(tmp_path: Path) -> None:
    source = set_of(tmp_path)
    for given in (source["from"], listed(tmp_path, [("images/deep/1.png", "masks/deep/1.png")])):
        samples = opened(given, slot="calibration")
        assert (samples.has_masks, samples.classes) == (False, ())
    training = opened({"from": "training", "count": 3}, slot="calibration", images__training=source)
    assert (len(training), training.has_masks, training.classes) == (3, False, ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images__evaluation": "images/val"}, "images.evaluation.masks is missing: name the folder of masks"),
        ({"images__evaluation": "digits"}, "images.evaluation.masks is missing"),
        ({"images__evaluation": {"from": "a.csv", "masks": "b"}}, "a.csv has its own masks"),
        ({"images__calibration": {"from": "a", "masks": "b"}}, "calibration needs images alone"),
        ({"task": None, "images__evaluation": {"from": "a", "masks": "b"}}, "masks needs `task: segmentation`"),
        ({"task": None, "images__evaluation": "digits-scenes"}, "digits-scenes needs `task: segmentation`"),
        (
            {"task": None, "images__evaluation": "digits", "images__ignore_index": 0},
            "images.ignore_index needs `task: segmentation`",
        ),
        ({"model__classes": 300}, "images.ignore_index is 255, one of the 300 classes"),
        ({"images__ignore_index": 65536}, "images.ignore_index"),
    ],
)
def test_a_recipe_says_what_does_not_fit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as problem:
        recipe.parse(wanted(**{"images__evaluation": "digits-scenes", **changes}))
    assert words in " ".join(problem.value.problems)


def test_a_recipe_without_masks_is_what_it_was() -> None:
    written = recipe.parse(tiny()).to_json()
    assert "task" not in written
    assert "ignore_index" not in written["images"]  # type: ignore[operator]
    assert "masks" not in written["images"]["evaluation"]  # type: ignore[index]
    segmentation = recipe.parse(wanted(images__evaluation="digits-scenes", images__ignore_index=0))
    assert recipe.parse(segmentation.to_json()) == segmentation


def test_arrays_may_have_masks(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "set.npz"
    pixels, drawn = rng.integers(0, 256, (6, 8, 8), np.uint8), rng.integers(0, 4, (6, 8, 8))
    drawn[0, 0] = 255
    np.savez(path, train_images=pixels[:4], train_masks=drawn[:4], test_images=pixels[4:], test_masks=drawn[4:])
    training, evaluation = opened(str(path), slot="training"), opened(str(path))
    assert (len(training), len(evaluation), evaluation.mask(1).tolist()) == (4, 2, drawn[5].tolist())
    assert np.unique(training.mask(0)).tolist() == [0, 1, 2, 3, IGNORED]
    part = pickle.loads(pickle.dumps(training.part(2, 4)))
    assert part.mask(1).tolist() == drawn[3].tolist()
    assert part.identity == training.subset(np.arange(2, 4)).identity
    np.savez(path, images=pixels, masks=drawn)
    assert opened(str(path)).identity != training.identity
    assert survey(path).masks
    with pytest.raises(ImagesError, match=r"set\.npz:masks\[0\] has the number 3"):
        opened(str(path), model__classes=3).mask(0)


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (np.zeros((5, 8, 8), int), r"set\.npz:masks is int64 5×8×8, but images has 6 images"),
        (np.zeros((6, 8, 8), np.float32), r"set\.npz:masks is float32 6×8×8, but images has 6 images"),
        (np.zeros((6, 8, 9), int), r"set\.npz:masks\[0\] has 9×8 pixels, but its image .* has 8×8"),
        (None, r"set\.npz holds images, but no evaluation images with masks under these names"),
    ],
)
def test_arrays_that_are_not_masks_are_refused(tmp_path: Path, masks: np.ndarray | None, words: str) -> None:
    path = tmp_path / "set.npz"
    given: dict[str, Any] = {} if masks is None else {"masks": masks}
    np.savez(path, images=np.zeros((6, 8, 8), np.uint8), **given)
    with pytest.raises(ImagesError, match=words):
        opened(str(path)).mask(0)
