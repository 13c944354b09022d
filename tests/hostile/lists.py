"""Row of lists, arrays and archives: what names images, or holds them, and was written to hurt its reader."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from . import binary, npz
from .binary import STRANGE
from .case import Case, Row
from .world import World

_DIGITS, _LONG = "9" * 5000, "n" * 100_000
Text = str | bytes


def _rows(kind: str = "csv", count: int = 20) -> list[tuple[str, str]]:
    return [(f"{at % 10}/{at // 10}.png", str(at % 10)) for at in range(count)]


def _csv(*rows: tuple[object, ...], head: str = "path,label\n") -> str:
    plain = "".join(f"{name},{label}\n" for name, label in _rows())
    return head + plain + "".join(",".join(map(str, row)) + "\n" for row in rows)


def _listed(*more: object) -> str:
    return json.dumps([*_rows(), *more])


def _texts() -> dict[str, Text]:
    """Return lists by file name and what is wrong with them: the name's last word is the ending."""
    return {
        "labels of 5000 digits .csv": "".join(f"{name},{_DIGITS}{label}\n" for name, label in _rows()),
        "a label of 5000 digits .csv": _csv(("1/0.png", _DIGITS)),
        "a label of 20 digits .csv": "".join(f"{name},{10**20}\n" for name, _ in _rows()),
        "a label of 19 digits .csv": "".join(f"{name},{2**63}\n" for name, _ in _rows()),
        "a negative label .csv": _csv(("x.png", "-1")),
        "a large label .csv": _csv(("1/../0/0.png", 10**12)),
        "a long label .csv": _csv(("x.png", _LONG)),
        "a long name .csv": _csv((_LONG, "1")),
        "long names .csv": _csv(*((f"{_LONG}{at}", "1") for at in range(20))),
        "long labels .csv": "".join(f"{name},{_LONG}{label}\n" for name, label in _rows()),
        "long columns .csv": f"path,path,{_LONG},label,label\n",
        "a long first line .csv": "a" * (1 << 20),
        "many columns .csv": "path" + ",x" * 100_000 + "\n",
        "a NUL .csv": _csv(("a\0.png", "1")),
        "an open quote .csv": _csv(('"a', "1")),
        "markup .csv": _csv(("<script>.png", "<b>")),
        "escapes .csv": _csv(("\x1b[31m\u202e.png", "\x1b[2J")),
        "one column .csv": "a\nb\n",
        "a head alone .csv": "path,label\n",
        "nothing .csv": "",
        "spaces .csv": " \n \n",
        "the same twice .csv": _csv(*((f"1/./{at % 2}.png", "1") for at in range(1000))),
        "outside .csv": _csv(("../../../../etc/passwd", "1"), ("/etc/passwd", "2")),
        "a folder .csv": _csv((".", "1"), ("/", "2"), ("..", "1")),
        "a device .csv": _csv(("/dev/zero", "1"), ("/dev/null", "1"), ("/dev/stdin", "1")),
        "of /proc .csv": _csv(("/proc/kmsg", "1"), ("/proc/kcore", "1"), ("/proc/self/mem", "1"), ("/proc/1", "2")),
        "not UTF-8 .csv": _csv().encode() + b"\xff\xfe,1\n",
        "UTF-16 .csv": _csv().encode("utf-16"),
        "a surrogate .csv": _csv().encode() + b"\xed\xa0\x80,1\n",
        "many rows .csv": _csv(*((f"{at}.png", at % 10) for at in range(100_000))),
        "unicode digits .csv": "".join(f"{name},\u0661\u0662\n" for name, _ in _rows()),
        "a label of 5000 digits .json": "[" + ",".join(f'["{name}", {_DIGITS}]' for name, _ in _rows()) + "]",
        "words of 5000 digits .json": json.dumps([(name, _DIGITS + label) for name, label in _rows()]),
        "a large label .json": _listed(["x.png", 2**63]),
        "a label of null .json": _listed(["x.png", None]),
        "a label of true .json": _listed(["x.png", True]),
        "a label of NaN .json": _listed(["x.png", float("nan")]),
        "a label of 1e308 .json": _listed(["x.png", 1e308]),
        "a long label .json": _listed(["x.png", _LONG]),
        "a long name .json": _listed([_LONG, 1]),
        "a long entry .json": _listed({_LONG: _LONG}),
        "a nested entry .json": _listed([["x"], [1]]),
        "an empty entry .json": _listed([]),
        "nothing .json": "",
        "an empty list .json": "[]",
        "a string .json": '"a"',
        "null .json": "null",
        "a number .json": _DIGITS,
        "100000 levels .json": "[" * 100_000,
        "closed levels .json": "[" * 100_000 + "]" * 100_000,
        "100 levels .json": _listed(["x", 1])[:-1] + "," + "[" * 100 + "]" * 100 + "]",
        "objects in objects .json": '{"a":' * 50_000 + "1" + "}" * 50_000,
        "a key twice .json": '{"a.png": 1, "a.png": 2}',
        "a long key twice .json": f'{{"{_LONG}": 1, "{_LONG}": 2}}',
        "50000 keys and one twice .json": "{" + ",".join(f'"{at}":1' for at in range(50_000)) + ',"49999":2}',
        "a NUL .json": _listed(["a\0", 1]),
        "a surrogate .json": '[["\\ud800", 1]]',
        "a surrogate label .json": '[["0/0.png", "\\ud800"], ["1/0.png", "\\udfff"]]',
        "not UTF-8 .json": b'[["\xff", 1]]',
        "UTF-16 .json": _listed().encode("utf-16"),
        "paths that are numbers .json": json.dumps([[1, 2]]),
        "two paths .json": json.dumps([{"path": "a", "file": "b", "label": 1}]),
        "rubbish .json": "{]" * 1000,
    }


def _names() -> dict[str, Text]:
    """Return files of class names, by ending and what is wrong with them."""
    plain = [f"class{at}" for at in range(10)]
    return {
        "too few .txt": "one\ntwo\n",
        "nothing .txt": "",
        "an empty line .txt": "a\n\nb\n",
        "long .txt": "\n".join(f"{_LONG}{at}" for at in range(10)),
        "5000 digits .txt": "\n".join(f"{_DIGITS}{at}" for at in range(10)),
        "ids of 5000 digits .txt": "\n".join(f"{_DIGITS}{at} name{at}" for at in range(10)),
        "the same id .txt": "\n".join(f"{_LONG}\tname{at}" for at in range(10)),
        "UTF-16 .txt": "\n".join(plain).encode("utf-16"),
        "markup .txt": "\n".join(f"<b>{name}" for name in plain),
        "many .txt": "\n".join(map(str, range(300_000))),
        "near ones .txt": "\n".join(f"{at:0>3000}" for at in range(300)),
        "5000 digits .json": f'{{"a": {_DIGITS}}}',
        "levels .json": "[" * 100_000,
        "closed levels .json": "[" * 5000 + "]" * 5000,
        "an object .json": "{}",
        "a list of lists .json": "[[]]",
        "numbers .json": "[1, 2]",
        "a key twice .json": '{"a": 0, "a": 1}',
        "long keys .json": json.dumps({f"{_LONG}{at}": 10 - at for at in range(10)}),
        "a surrogate .json": json.dumps(["\ud800", *plain[1:]]),
        "negative .json": json.dumps({name: -at for at, name in enumerate(plain)}),
        "true .json": json.dumps({name: True for name in plain}),
        "not UTF-8 .json": b"\xff\xfe\xff",
    }


def _tar(*members: tuple[str, Mapping[str, object]], kind: int = tarfile.GNU_FORMAT) -> bytes:
    """Return an archive of ten class folders, then these members: name, and what their header says."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=kind) as tar:
        for name, label in _rows():
            data = binary.picture(int(label))
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
        for name, says in members:
            about = tarfile.TarInfo(name)
            for key, value in says.items():
                setattr(about, key, value)
            tar.addfile(about)
    return held.getvalue()


def _with_size(field: bytes, at: int = 0) -> bytes:
    """Return an archive whose header number `at` has this size, and a checksum that fits."""
    data = bytearray(_tar())
    start = at * 1024
    data[start + 124 : start + 136] = field.ljust(12, b"\0")[:12]
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    return bytes(data)


def tars() -> dict[str, bytes]:
    link, hard = tarfile.SYMTYPE, tarfile.LNKTYPE
    pax = tarfile.PAX_FORMAT
    sparse = {"GNU.sparse.map": "0,1,x", "GNU.sparse.size": "x"}
    cycle = [(f"1/{at}.png", {"type": hard, "linkname": f"1/{(at + 1) % 500}.png"}) for at in range(10, 500)]
    return {
        "a size of 2^80": _with_size(b"\x80" + b"\0" + (1 << 79).to_bytes(10, "big")),
        "a size of 2^62": _with_size(b"\x80" + (1 << 62).to_bytes(11, "big")),
        "a size of 8 GB": _with_size(b"77777777777", 5),
        "a size of 8 GB at last": _with_size(b"77777777777", 19),
        "a negative size": _with_size(b"\xff" * 12, 3),
        "a size of letters": _with_size(b"zzzzzzzzzzz"),
        "a size of -1": _with_size(b"-0000000001"),
        "a link outside": _tar(("1/x.png", {"type": link, "linkname": "../../../etc/passwd"})),
        "an absolute link": _tar(("1/x.png", {"type": link, "linkname": "/etc/passwd"})),
        "a long link": _tar(("1/x.png", {"type": link, "linkname": _LONG})),
        "long links": _tar(*((f"1/{at}x.png", {"type": link, "linkname": _LONG}) for at in range(20))),
        "a link to itself": _tar(("1/x.png", {"type": link, "linkname": "x.png"})),
        "links in a circle": _tar(*cycle),
        "an absolute name": _tar(("/etc/1/x.png", {})),
        "a name above": _tar(("../../x.png", {}), ("../1/x.png", {})),
        "a long name": _tar((_LONG, {})),
        "a deep name": _tar(("d/" * 20_000 + "x.png", {})),
        "an empty name": _tar(("", {}), (".", {}), ("/", {})),
        "a device": _tar(("1/x.png", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5})),
        "a FIFO": _tar(("1/x.png", {"type": tarfile.FIFOTYPE})),
        "an empty class": _tar((_LONG, {"type": tarfile.DIRTYPE})),
        "an unknown type": _tar(("1/x.png", {"type": b"Z"})),
        "a pax size of letters": _tar(("1/x.png", {"pax_headers": {"size": "abc"}}), kind=pax),
        "a pax size of 5000 digits": _tar(("1/x.png", {"pax_headers": {"size": _DIGITS}}), kind=pax),
        "a negative pax size": _tar(("1/x.png", {"pax_headers": {"size": "-1"}}), kind=pax),
        "a pax sparse file": _tar(("1/x.png", {"pax_headers": sparse}), kind=pax),
        "a pax path": _tar(("1/x.png", {"pax_headers": {"path": "\0" * 100}}), kind=pax),
        "a tar in itself": _tar(("x.tar", {})),
        "no members": bytes(10240),
        "nothing": b"",
        "half a block": _tar()[:700],
        "without an end": _tar()[: 20 * 1024],
        "names that are not UTF-8": _tar().replace(b"1/0.png", b"\xff/\xfe.png"),
        "compressed": b"\x1f\x8b" + _tar(),
    }  # fmt: skip


def _at(name: str, data: Text, how: str) -> Callable[[Path], Sequence[str]]:
    """Write a file of this name next to ten class folders, and read it."""

    def write(folder: Path) -> Sequence[str]:
        binary.classes(folder)
        raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
        (folder / name).write_bytes(raw)
        return _read(folder, name, how)

    return write


def _read(folder: Path, name: str, how: str) -> Sequence[str]:
    if how == "inspect":
        return "inspect", name
    slot = "evaluation" if how == "check" else "calibration"
    return how, binary.recipe(folder, {slot: name}), "--store", "store"


def _named(name: str, data: Text) -> Callable[[Path], Sequence[str]]:
    def write(folder: Path) -> Sequence[str]:
        binary.classes(folder)
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
        return "check", binary.recipe(folder, {"training": ".", "evaluation": "digits", "names": name})

    return write


def _strange(place: str, make: Callable[[Path], None], how: str) -> Callable[[Path], Sequence[str]]:
    """Put something other than a file where a list, an array, an archive, names or an image are wanted."""

    def write(folder: Path) -> Sequence[str]:
        binary.classes(folder / "images")
        make(folder / place)
        if place == "names.txt":
            images = {"training": "images", "evaluation": "digits", "names": place}
            return "check", binary.recipe(folder, images), "--store", "store"
        return _read(folder, "images" if place.startswith("images/") else place, how)

    return write


_PLACES = ("list.csv", "list.json", "list.npz", "list.tar", "names.txt", "images/1/x.png", "images/x", "list")
_FOLDERS = (
    "/proc",
    "/sys",
    "/dev",
    "/proc/self/fd",
    "/",
    "/proc/self/root",
    "/nowhere/at/all",
    _LONG,
    "a\udcff",
    "~unknown9/x",
)


def _folders(path: str, how: str) -> Callable[[Path], Sequence[str]]:
    return lambda folder: _read(folder, path, how)


def _many(links: bool) -> Callable[[Path], Sequence[str]]:
    """Make a folder of very many files; or one whose links lead back into it, each in many ways."""

    def write(folder: Path) -> Sequence[str]:
        binary.classes(folder / "images")
        for at in range(12 if links else 20_000):
            place = folder / "images" / str(at % 10) / f"x{at}"
            place.symlink_to("../..") if links else os.link(folder / "images" / "0" / "0.png", place)
        return "inspect", "images"

    return write


def _fixed() -> Iterator[tuple[str, Callable[[Path], Sequence[str]]]]:
    hows = itertools.cycle(binary.READERS)
    for title, text in _texts().items():
        for how in ("inspect", "check"):
            yield f"{how}, {title}", _at(f"list.{title.rsplit('.', 1)[-1]}", text, how)
    for title, text in _names().items():
        yield f"names, {title}", _named(f"names.{title.rsplit('.', 1)[-1]}", text)
    for title, data in tars().items():
        yield f"tar, {title}", _at("list.tar", data, next(hows))
    for title, data in npz.files().items():
        yield f"npz, {title}", _at("list.npz", data, next(hows))
    for title, make in STRANGE.items():
        for place in _PLACES:
            yield f"{title} as {place}", _strange(place, make, next(hows))
    for path in _FOLDERS:
        yield f"a folder: {path[:30]!r}", _folders(path, next(hows))
    yield "20000 files", _many(links=False)
    yield "links in circles", _many(links=True)


def _cases(world: World, chance: random.Random) -> Iterator[Case]:
    for name, write in _fixed():
        yield Case(name, write)
    files = {"list.csv": _csv().encode(), "list.json": _listed().encode(), "list.tar": _tar(), **npz.plain()}
    hows = itertools.cycle(binary.READERS)
    for name, write in binary.endless(files, chance, lambda name, data: _at(name, data, next(hows))):
        yield Case(name, write)


ROWS = (Row("lists and arrays", _cases, ("edgeresnet.cli.inspect", "edgeresnet.cli.check", "edgeresnet.inspect")),)
