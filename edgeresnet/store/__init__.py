"""The store: artifacts found by key and checked by digest, runs found by time.

artifact (what a folder holds) · files (written completely or not at all) · run_file (a run, sealed with its digest) ·
shared (where several machines push what they made).
An artifact is a folder with a manifest. It is written to another place and renamed last, so a run killed at any moment
leaves nothing half-made: a folder without a manifest is rubbish, a damaged one is a miss. Knows nothing of what stages
do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ..errors import ArtifactError, EdgeresnetError, machine_error
from ..notes import Notes
from ..portable import codec, documents, manifest
from ..portable.codec import CodecError
from ..portable.documents import Unreadable
from ..portable.frozen import dataclass
from ..portable.result import RunWarning
from ..runs import Run
from . import run_file
from .artifact import (
    FORMAT,
    UNSEALED_FORMAT,
    Artifact,
    Given,
    ManifestRecord,
    Origin,
    Parent,
    file_of,
    manifest_in,
    other_format,
    read_manifest,
)
from .files import write_bytes, write_text
from .shared import Shared

__all__ = [
    "FORMAT",
    "KEY_FORMAT",
    "MARK",
    "UNSEALED_FORMAT",
    "Artifact",
    "Given",
    "Making",
    "ManifestRecord",
    "Origin",
    "Parent",
    "Shared",
    "Store",
    "file_of",
    "manifest_in",
    "seconds_of",
    "write_bytes",
    "write_text",
]

KEY_FORMAT = 2  # in every key: another number means that no older artifact is used
MARK = ".edgeresnet-store"
_OURS = re.compile(
    r"[a-z]+/[0-9a-f]{24}|work/[a-z]+-[0-9a-f]{24}|cache/(pixels|hashes\.sqlite[-\w]*|[-\w.]+\.timing(\.\d+)?)|(runs|bench)/[-\w]+\.(json|md|html)"
)


_RUN_FILE = ".json"  # a name that ends so is a run's file, not its id


class Store:
    """A folder of ours alone: a mark in it says so. No other folder is ever used as a store, or cleaned."""

    def __init__(self, root: Path, shared: Shared | None = None):
        self.root, self.shared = root, shared

    @staticmethod
    def open(root: Path, shared: str | None = None) -> Store:
        """Return the store in `root`. A new or empty folder becomes one, any other folder is refused.

        `shared` is where it takes what it lacks from, and copies what is made in it to.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            _refuse_other(root, "name a new or empty folder")
            with contextlib.suppress(FileExistsError), open(root / MARK, "x") as file:
                file.write("This folder belongs to edgeresnet: `edgeresnet clean` empties it.\n")
        except OSError as problem:
            raise machine_error(problem) or _unopened(root, problem) from problem
        return Store(root, Shared.open(shared) if shared else None)

    @staticmethod
    def to_read(root: Path, *names: str | None) -> Store:
        """Return the store in `root` for reading these runs (None: the newest). Nothing is made or marked.

        A store that does not exist yet holds no run. No store is needed where each run is named by its file.
        """
        if names and all(name and name.endswith(_RUN_FILE) for name in names):
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
        """Whether a store exists here, and may be read."""
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
        """Return the intact artifact of this key, or None and why the folder there is not used (empty: no folder)."""
        found = self._find_here(stage, key)
        if self.shared is None:
            return found
        if found[0] is not None:
            self.shared.offer(found[0].path, stage, key)
            return found
        is_here, problem = self.shared.fetch(stage, key, self.root / "work", self.path_of(stage, key))
        return self._find_here(stage, key) if is_here else (None, problem or found[1])

    def _find_here(self, stage: str, key: str) -> tuple[Artifact | None, str]:
        folder = self.path_of(stage, key)
        if not folder.is_dir():
            return None, ""
        try:
            written = manifest.read(folder)
        except Unreadable as problem:
            return None, f"{folder} is damaged: its {manifest.NAME} {problem}"
        problems = _problems(folder, written, key)
        if problems:
            return None, f"{folder} {problems}"
        try:
            return Artifact(folder, read_manifest(written)), ""
        except CodecError as problem:
            return None, f"{folder} has an invalid manifest: {problem}"

    @contextlib.contextmanager
    def making(self, stage: str, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[Making]:
        """Hold the one place where an artifact of this key is made. A second run waits here, then finds it made."""
        with _locked_file(self.root / "locks" / f"{stage}-{key[:24]}.lock") as handle:
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
                with _in_place_of(work):
                    (work / "out").mkdir(parents=True)
                    (work / "scratch").mkdir(exist_ok=True)
                yield making
            except BaseException:
                # What a stage put into scratch (a training's last epoch) stays for the next run.
                shutil.rmtree(work / "out", ignore_errors=True)
                with contextlib.suppress(OSError):
                    (work / "scratch").rmdir()
                    work.rmdir()
                raise
            shutil.rmtree(work, ignore_errors=True)

    def tidy(self, stage: str, key: str) -> None:
        """Remove what a run killed just after its last rename left of an artifact's making."""
        work = self.root / "work" / f"{stage}-{key[:24]}"
        if work.is_dir():
            with contextlib.suppress(OSError), open(self.root / "locks" / f"{work.name}.lock", "a") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(work, ignore_errors=True)

    def artifacts(self) -> Iterator[Artifact]:
        """Yield every artifact whose manifest can be read. Their files are not checked."""
        for path in sorted(self.root.glob(f"*/*/{manifest.NAME}")):
            record = manifest_in(path.parent)
            if record is not None:
                yield Artifact(path.parent, record)

    def by_prefix(self, prefix: str) -> Artifact:
        """Return the one artifact whose digest or key begins so."""
        found = [each for each in self.artifacts() if each.digest.startswith(prefix) or each.key.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        many = ", ".join(f"{each.stage} {each.digest[:12]}" for each in found[:5])
        raise ArtifactError(
            repr(prefix),
            f"matches {len(found)} artifacts: {many}" if found else "does not match any artifact",
            hint="give more digits" if found else "`edgeresnet show` lists those of the newest run",
        )

    def save_run(self, run: Run) -> Path:
        """Write a run with its own digest: a run is evidence, and an edited one is not."""
        path = self.root / "runs" / f"{run.id}.json"
        write_bytes(path, run_file.sealed(run))
        return path

    def runs(self) -> list[Path]:
        """Return the files of all runs, oldest first."""
        return sorted((self.root / "runs").glob("*.json"))

    def load_run(self, name: str | None = None) -> Run:
        """Return a run by the beginning of its id or by the path of its file; the newest where none is named."""
        return run_file.read(Path(name) if name and name.endswith(_RUN_FILE) else self._find_run(name))

    def artifact_of(self, run: Run, digest: str) -> Artifact:
        """Return what a run made under this digest, if it is still here and intact: never a later one of its key."""
        step = next(step for step in run.steps if step.digest == digest)
        artifact, _ = self.find(step.stage, step.key or "")
        if artifact is None or artifact.digest != digest:
            raise ArtifactError(
                f"the {step.stage} artifact of run {run.id}",
                f"is missing or damaged in {self.root}",
                hint="run its recipe again",
            )
        return artifact

    def _find_run(self, name: str | None) -> Path:
        found = self.runs()
        if name is None and found:
            return found[-1]
        if name is None:
            raise ArtifactError(
                f"the store {self.root}",
                "holds no run yet",
                hint="`edgeresnet init` writes a recipe, `edgeresnet run` runs it",
            )
        fits = [path for path in found if path.stem.startswith(name)]
        if len(fits) != 1:
            newest = ", ".join(path.stem for path in (fits or found)[-3:]) or "none"
            many = f"matches {len(fits)} runs" if fits else "does not match any run"
            raise ArtifactError(repr(name), f"{many} in {self.root}", hint=f"the newest are: {newest}")
        return fits[0]

    def clean(self, older_than_s: float, larger_than_mb: float | None = None) -> tuple[int, float]:
        """Remove artifacts, work, caches and runs older than this, then the oldest beyond a total size.

        Return how many entries, and how many megabytes. Hold `used(alone=True)` meanwhile.
        """
        now, removed, freed = time.time(), 0, 0.0
        entries = sorted(self._entries(), key=lambda entry: entry[1])
        total = sum(size for _, _, size in entries)
        for path, touched, size in entries:
            too_much = larger_than_mb is not None and total > larger_than_mb * 1e6
            if now - touched < older_than_s and not too_much:
                continue
            shutil.rmtree(path, ignore_errors=True) if _is_folder(path) else path.unlink(missing_ok=True)
            removed, freed, total = removed + 1, freed + size, total - size
        return removed, freed / 1e6

    @contextlib.contextmanager
    def used(self, *, alone: bool = False) -> Iterator[None]:
        """Share the store with other runs, or, to clean it, hold it alone."""
        with _locked_file(self.root / MARK) as handle:
            try:
                fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                who = "by a run" if alone else "by `edgeresnet clean`"
                raise ArtifactError(
                    f"the store {self.root}", f"is in use {who}", hint="try again when it has ended"
                ) from problem
            yield

    def _entries(self) -> Iterator[tuple[Path, float, int]]:
        """Yield what a store holds, by the names that it gives: other files are not its own to remove."""
        for path in self.root.glob("*/*"):
            if not _OURS.fullmatch(path.relative_to(self.root).as_posix()):
                continue
            files = [p for p in path.rglob("*") if p.is_file()] if _is_folder(path) else [path]
            stats = [file.lstat() for file in files]
            touched = max((stat.st_mtime for stat in stats), default=path.lstat().st_mtime)
            yield path, touched, sum(stat.st_size for stat in stats)


@dataclass(frozen=True)
class Making:
    """An artifact that is being made: `out` is what it will hold, `scratch` survives an interruption."""

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

    def commit(
        self, notes: Notes, origin: Origin, *, seconds: float = 0.0, warnings: Sequence[RunWarning] = ()
    ) -> Artifact:
        """Write the manifest and put the folder in its place, in one rename."""
        about = {"notes": codec.encode(notes), "seconds": seconds, "warnings": codec.encode(list(warnings))}
        written = manifest.write(self.out, format=FORMAT, key=self.key, stage=self.stage, **asdict(origin), **about)
        final = self.store.path_of(self.stage, self.key)
        with _in_place_of(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
        with _in_place_of(final):
            if os.path.lexists(final):  # damaged, or made again by `--again`
                shutil.rmtree(self.work / "old", ignore_errors=True)
                final.rename(self.work / "old")
            self.out.rename(final)
        if self.store.shared is not None:
            self.store.shared.push(final, self.stage, self.key)
        return Artifact(final, read_manifest(written))


def _is_folder(path: Path) -> bool:
    """Return whether this is a folder itself, and not a link to one: what a link leads to is not the store's."""
    return path.is_dir() and not path.is_symlink()


@contextlib.contextmanager
def _in_place_of(path: Path) -> Iterator[None]:
    """Name what lies where a folder of the store should be."""
    try:
        yield
    except OSError as problem:
        if machine_error(problem) or isinstance(problem, PermissionError):
            raise
        raise ArtifactError(
            f"the store's folder {path}", f"cannot be used: {documents.reason(problem)}", hint="remove what lies there"
        ) from problem


@contextlib.contextmanager
def _locked_file(path: Path) -> Iterator[int]:
    """Open a file for a lock, and make it where there is none. A pipe in its place would make a run wait."""
    with _in_place_of(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _in_place_of(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        if form := documents.form_of(os.fstat(handle).st_mode):
            raise ArtifactError(f"the store's file {path}", f"is {form}", hint="remove it")
        yield handle
    finally:
        os.close(handle)


def _problems(folder: Path, written: Mapping[str, object], key: str) -> str:
    """Return why a folder is not an intact artifact of this key; empty where it is."""
    other = other_format(written)
    if other:
        return other
    problems = manifest.problems(folder, written, sealed=written["format"] == FORMAT)
    if not problems and written.get("key") != key:
        problems = ["its manifest has another key"]
    return f"is damaged: {'; '.join(problems)}" if problems else ""


def _refuse_other(root: Path, hint: str) -> None:
    others = [entry for entry in root.iterdir() if entry.name not in {"lost+found", MARK}]
    if others and not (root / MARK).is_file():  # looked for last: another run may just have made it, and more
        raise ArtifactError(str(root), "holds other files and is not a store", hint=hint)


def _unopened(root: Path, problem: OSError) -> ArtifactError:
    return ArtifactError(
        f"the store {root}", f"cannot be opened: {problem.strerror}", hint="give another folder with --store"
    )


def seconds_of(age: str) -> float:
    """Return the seconds of an age: "90s", "15m", "12h" or "7d"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", age.strip())
    if not found:
        raise EdgeresnetError(repr(age), "is not an age", hint="write 90s, 15m, 12h or 7d")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]
