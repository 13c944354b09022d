"""The store: artifacts found by key and checked by digest, runs found by time.

An artifact is a folder with a manifest. It is written aside and renamed last, so a run killed at any moment leaves
nothing half-made: a folder without a manifest is rubbish, a damaged one is a miss. Knows nothing of what stages do.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ArtifactError, EdgeresnetError, machine_error
from .portable import manifest

FORMAT = 2
MARK = ".edgeresnet-store"
_OURS = re.compile(
    r"[a-z]+/[0-9a-f]{24}|work/[a-z]+-[0-9a-f]{24}|cache/(pixels|hashes\.sqlite[-\w]*|[-\w.]+\.timing(\.\d+)?)|(runs|bench)/[-\w]+\.(json|md|html)"
)


@dataclass(frozen=True)
class Artifact:
    """What a stage left behind."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return self.manifest["digest"]

    @property
    def key(self) -> str:
        return self.manifest["key"]

    @property
    def notes(self) -> Mapping[str, Any]:
        return self.manifest["notes"]

    @property
    def size_mb(self) -> float:
        return sum(file["size"] for file in self.manifest["files"]) / 1e6


@dataclass(frozen=True)
class Given:
    """What the user brought: a checkpoint or images. Its digest stands where an artifact's would."""

    digest: str
    value: Any


Parent = Artifact | Given


def file_of(parent: Parent, name: str) -> Path:
    """The file that was given, or the one of this name that an artifact holds."""
    return Path(parent.value) if isinstance(parent, Given) else parent.path / name


_RUN_FILE = ".json"  # what a run is named by ends so, if it is its file and not its id


class Store:
    """A folder of ours alone: it says so in a file, and nothing else is ever taken for one, or cleaned."""

    def __init__(self, root: Path):
        self.root = root

    @staticmethod
    def open(root: Path) -> Store:
        """The store in `root`; a new or empty folder becomes one, any other folder is refused."""
        try:
            root.mkdir(parents=True, exist_ok=True)
            _refuse_other(root, "name a new or empty folder")
            with contextlib.suppress(FileExistsError), open(root / MARK, "x") as file:
                file.write("This folder belongs to edgeresnet: `edgeresnet clean` empties it.\n")
        except OSError as problem:
            raise machine_error(problem) or _unopened(root, problem) from problem
        return Store(root)

    @staticmethod
    def to_read(root: Path, *runs: str | None) -> Store:
        """The same for who only reads `runs` (None: the newest): nothing is made or marked, a store that is not there
        yet holds no run, and where each is named by its file there need be none.
        """
        if runs and all(name and name.endswith(_RUN_FILE) for name in runs):
            return Store(root)
        try:
            _refuse_other(root, "give another folder with --store, or name runs by their files")
        except FileNotFoundError:
            pass
        except OSError as problem:
            raise _unopened(root, problem) from problem
        return Store(root)

    @property
    def is_marked(self) -> bool:
        """Whether a store is there at all, and may be looked into."""
        try:
            return (self.root / MARK).is_file()
        except PermissionError:
            return False

    @property
    def cache(self) -> Path:
        """Hashes and decoded images: may be deleted at any time, costs time only."""
        return self.root / "cache"

    def path_of(self, stage: str, key: str) -> Path:
        return self.root / stage / key[:24]

    def find(self, stage: str, key: str) -> tuple[Artifact | None, str]:
        """The whole artifact of this key, or None and why what lies there is not used (empty where nothing lies)."""
        folder = self.path_of(stage, key)
        if not folder.is_dir():
            return None, ""
        about = manifest.read(folder)
        if about is None:
            return None, f"{folder} has no readable manifest"
        if about.get("format") != FORMAT:
            return None, f"{folder} is of format {about.get('format')}, this program writes {FORMAT}"
        wrong = manifest.problems(folder, about)
        if not wrong and about.get("key") != key:
            wrong = ["its key is another"]
        return (None, f"{folder} is damaged: {'; '.join(wrong)}") if wrong else (Artifact(folder, about), "")

    @contextlib.contextmanager
    def making(self, stage: str, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[Making]:
        """The one place where an artifact of this key is made. A second run waits here, then finds it made."""
        lock = self.root / "locks" / f"{stage}-{key[:24]}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with open(lock, "a") as handle:
            # The kernel drops the lock when a process dies, however it dies.
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(handle, fcntl.LOCK_EX)
            work = self.root / "work" / f"{stage}-{key[:24]}"
            shutil.rmtree(work / "out", ignore_errors=True)
            making = Making(self, stage, key, work)
            try:
                (work / "out").mkdir(parents=True)
                (work / "scratch").mkdir(exist_ok=True)
                yield making
            except BaseException:
                # What a stage put into scratch (a training's last epoch) is kept for the next run.
                shutil.rmtree(work / "out", ignore_errors=True)
                with contextlib.suppress(OSError):
                    (work / "scratch").rmdir()
                    work.rmdir()
                raise
            shutil.rmtree(work, ignore_errors=True)

    def tidy(self, stage: str, key: str) -> None:
        """Removes what a run killed just after its last rename left of an artifact's making."""
        work = self.root / "work" / f"{stage}-{key[:24]}"
        if work.is_dir():
            with contextlib.suppress(OSError), open(self.root / "locks" / f"{work.name}.lock", "a") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(work, ignore_errors=True)

    def artifacts(self) -> Iterator[Artifact]:
        for path in sorted(self.root.glob(f"*/*/{manifest.NAME}")):
            about = manifest.read(path.parent)
            if about is not None and "key" in about:
                yield Artifact(path.parent, about)

    def by_prefix(self, prefix: str) -> Artifact:
        """The one artifact whose digest or key begins so."""
        found = [a for a in self.artifacts() if a.digest.startswith(prefix) or a.key.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        many = ", ".join(f"{a.manifest['stage']} {a.digest[:12]}" for a in found[:5])
        raise ArtifactError(
            f"{len(found)} artifacts begin with {prefix!r}: {many}" if found else f"no artifact begins with {prefix!r}",
            hint="give more digits" if found else "`edgeresnet show` lists those of the newest run",
        )

    def save_run(self, run: Mapping[str, Any]) -> Path:
        """With its own digest: a run is evidence, and evidence that was edited is none."""
        path = self.root / "runs" / f"{run['id']}.json"
        text = json.dumps(run, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        write_bytes(path, _sealed(text.encode("utf-8", "backslashreplace")))
        return path

    def runs(self) -> list[Path]:
        return sorted((self.root / "runs").glob("*.json"))

    def load_run(self, name: str | None = None) -> dict[str, Any]:
        """A run by the beginning of its id or by path to its file; the newest where none is named."""
        path = Path(name) if name and name.endswith(_RUN_FILE) else self._find_run(name)
        try:
            data = path.read_bytes().rstrip()
            run = json.loads(data)
        except FileNotFoundError as problem:
            raise ArtifactError(f"there is no run {path}", hint="`edgeresnet show` names the newest") from problem
        except (ValueError, OSError):
            run = None
        if not isinstance(run, dict) or "format" not in run:
            raise _damaged(path, "it is not a run's file")
        if run["format"] != FORMAT:
            raise ArtifactError(
                f"{path} is a run of format {run['format']}, this program reads {FORMAT}",
                hint="read it with the edgeresnet that wrote it, or run the recipe again",
            )
        digest = run.pop("digest", None)
        if digest is None:
            raise ArtifactError(f"{path} is a report of a run, not its file", hint="name runs/<id>.json of the store")
        if not (_is_sealed(data) or _was_sealed(run, digest)):
            raise _damaged(path, "it was changed after it was written")
        return run

    def artifact_of(self, run: Mapping[str, Any], digest: str) -> Artifact:
        """What a run made under this digest, if it is still here and whole: never a later one of the same key."""
        step = next(step for step in run["steps"] if step["digest"] == digest)
        artifact, _ = self.find(step["stage"], step["key"])
        if artifact is None or artifact.digest != digest:
            raise ArtifactError(
                f"the compiled network of run {run['id']} is no longer whole in {self.root}",
                hint="run its recipe again",
            )
        return artifact

    def _find_run(self, name: str | None) -> Path:
        runs = self.runs()
        if name is None and runs:
            return runs[-1]
        if name is None:
            raise ArtifactError(
                f"there is no run in {self.root} yet",
                hint="`edgeresnet init` writes a recipe, `edgeresnet run` runs it",
            )
        found = [path for path in runs if path.stem.startswith(name)]
        if len(found) != 1:
            newest = ", ".join(path.stem for path in (found or runs)[-3:]) or "none"
            many = f"{len(found)} runs begin with" if found else "there is no run"
            raise ArtifactError(f"{many} {name!r} in {self.root}", hint=f"the newest are: {newest}")
        return found[0]

    def clean(self, older_than_s: float, larger_than_mb: float | None = None) -> tuple[int, float]:
        """Removes artifacts, work, caches and runs older than so many seconds, then the oldest beyond a total size.

        Hold `used(alone=True)` meanwhile.
        """
        now, removed, freed = time.time(), 0, 0.0
        entries = sorted(self._entries(), key=lambda entry: entry[1])
        total = sum(size for _, _, size in entries)
        for path, touched, size in entries:
            too_much = larger_than_mb is not None and total > larger_than_mb * 1e6
            if now - touched < older_than_s and not too_much:
                continue
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            removed, freed, total = removed + 1, freed + size, total - size
        return removed, freed / 1e6

    @contextlib.contextmanager
    def used(self, *, alone: bool = False) -> Iterator[None]:
        """While a run reads and writes here, nobody cleans; who cleans is alone."""
        mark = self.root / MARK
        mark.parent.mkdir(parents=True, exist_ok=True)
        with open(mark, "a") as handle:
            try:
                fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                who = "a run is using" if alone else "somebody is cleaning"
                raise ArtifactError(f"{who} the store {self.root}", hint="try again when that has ended") from problem
            yield

    def _entries(self) -> Iterator[tuple[Path, float, int]]:
        """What a store holds, by the names that it gives; whatever else lies there is not its own to remove."""
        for path in self.root.glob("*/*"):
            if not _OURS.fullmatch(path.relative_to(self.root).as_posix()):
                continue
            files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
            stats = [file.stat() for file in files]
            touched = max((stat.st_mtime for stat in stats), default=path.stat().st_mtime)
            yield path, touched, sum(stat.st_size for stat in stats)


@dataclass(frozen=True)
class Making:
    """An artifact in the making: `out` is what it will hold, `scratch` survives an interruption."""

    store: Store
    stage: str
    key: str
    work: Path

    @property
    def out(self) -> Path:
        return self.work / "out"

    @property
    def scratch(self) -> Path:
        return self.work / "scratch"

    def clear_scratch(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()

    def commit(self, **about: Any) -> Artifact:
        """Writes the manifest and puts the folder in its place, in one rename."""
        written = manifest.write(self.out, format=FORMAT, key=self.key, stage=self.stage, **about)
        final = self.store.path_of(self.stage, self.key)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():  # damaged, or made anew by `--again`
            shutil.rmtree(self.work / "old", ignore_errors=True)
            final.rename(self.work / "old")
        self.out.rename(final)
        return Artifact(final, written)


def _refuse_other(root: Path, hint: str) -> None:
    others = [entry for entry in root.iterdir() if entry.name not in {"lost+found", MARK}]
    if others and not (root / MARK).is_file():  # looked for last: another run may just have made it, and more
        raise ArtifactError(f"{root} holds other files and is no store", hint=hint)


def _unopened(root: Path, problem: OSError) -> ArtifactError:
    return ArtifactError(
        f"the store {root} cannot be opened: {problem.strerror}", hint="give another folder with --store"
    )


def _damaged(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{path} cannot be read: {why}", hint="remove it, or name another run by its id")


def _sealed(document: bytes) -> bytes:
    """A JSON object with the digest of its own bytes as its last key: to check it, nothing is spelled again."""
    return document[:-1] + b',"digest":"%s"}' % hashlib.sha256(document).hexdigest().encode()


def _is_sealed(data: bytes) -> bool:
    return data == _sealed(data[: -len(_sealed(b"}"))] + b"}")


def _was_sealed(run: Mapping[str, Any], digest: object) -> bool:
    """As runs were at first: the digest is of the values' canonical spelling."""
    try:
        return digest == manifest.digest_of(run)
    except ValueError:  # a number that is none: never written here
        return False


def write_text(path: Path, text: str) -> None:
    """A file's name that is no text in UTF-8 is written as its codes, which JSON reads back."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, data: bytes | bytearray | memoryview) -> None:
    """Whole or not at all: a full disk or a kill leaves the old file."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(data)
        aside.replace(path)
    except OSError as problem:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        problem.filename = problem.filename or str(path)
        raise machine_error(problem) or ArtifactError(
            f"{path} cannot be written: {problem.strerror}", hint="is the folder there, and yours to write?"
        ) from problem


def seconds_of(age: str) -> float:
    """ "90s", "15m", "12h", "7d" → seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", age.strip())
    if not found:
        raise EdgeresnetError(f"{age!r} is not an age", hint="write 90s, 15m, 12h or 7d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
