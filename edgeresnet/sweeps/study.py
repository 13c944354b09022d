"""What was tried in a sweep, in a database; and what to try next. Optuna is used here and nowhere else.

The database is an Optuna study: a SQLite file in the store, or any database that Optuna knows. Proposals come from a
copy in memory that holds finished trials only. Each has a seed of its own, so that a sweep which was killed and
continued proposes what an undisturbed one does. A trial that was running is tried again, with the same values.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import random
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EdgeresnetError, MachineError, first_line, machine_error
from ..portable import codec, manifest
from ..portable.codec import CodecError
from ..portable.frozen import dataclass
from ..store import Store
from .document import Outcome, Point
from .keys import Axis, Range
from .loading import Params, Sweep

if TYPE_CHECKING:
    import optuna

_MODELLED, _RANDOM = 8, 40  # attempts to propose a point that was not tried yet, before all of them are listed
_LISTED = 100_000  # points of a space that are listed at most
_INDEX, _OUTCOME = "index", "outcome"
_FOLDER = "sweeps"
INSTALL = "pip install 'edgeresnet[sweep]'"


@dataclass(frozen=True)
class Asked:
    """A trial that was proposed: its number in the sweep, and the value of each key."""

    number: int
    params: Params


def folder_of(store: Store, sweep: Sweep) -> Path:
    """Return the folder of the store that holds a sweep: its study, its page, and the recipes of its front."""
    return store.root / _FOLDER / sweep.digest[:24]


@contextlib.contextmanager
def opened(store: Store, sweep: Sweep) -> Iterator[Study]:
    """Open the study of a sweep, or begin one. One process at a time: two would try the same points."""
    folder = folder_of(store, sweep)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            hint = "wait until it has ended"
            raise EdgeresnetError(f"the sweep {sweep.title}", "is run by another process", hint=hint) from problem
        with contextlib.closing(Study(sweep, folder / "study.db")) as study:
            yield study


class Study:
    """The trials of a sweep, those of earlier calls included."""

    def __init__(self, sweep: Sweep, file: Path, *, modelled: bool = True) -> None:
        """Open the database. `modelled=False` proposes at random, to compare with."""
        self._sweep, self._file = sweep, file
        self._modelled = modelled
        self._optuna = _library()
        self._distributions = {key: _distribution(self._optuna, axis) for key, axis in sweep.space.items()}
        self._asked: dict[int, tuple[int, optuna.Trial]] = {}  # running: the row in the database, and in memory
        self._seen: set[str] = set()
        self._points: dict[int, Point] = {}
        self._waiting: dict[int, Params] = {}  # trials that were running when a call ended
        with self._refusing():
            self._open()

    def _open(self) -> None:
        directions = ["maximize" if goal.direction == "max" else "minimize" for goal in self._sweep.objectives]
        name = f"edgeresnet-{self._sweep.digest[:24]}"
        if self._sweep.storage:
            self._storage = self._optuna.storages.RDBStorage(self._sweep.storage)
        else:
            self._storage = self._optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": self._connected})
        stored = self._optuna.create_study(
            study_name=name, storage=self._storage, directions=directions, load_if_exists=True
        )
        self._id = self._storage.get_study_id_from_name(name)
        self._memory = self._optuna.create_study(directions=directions)
        for row in stored.get_trials(deepcopy=False):
            self._read(row)
        for point in sorted(self._points.values(), key=lambda point: point.number):
            self._waiting.pop(point.number, None)
            self._tell(self._fixed(point.values), point.outcome)

    def _connected(self) -> sqlite3.Connection:
        """Connect to the file. A kill loses nothing; a power cut may lose the last trials, which are run again."""
        connection = sqlite3.connect(self._file, timeout=20, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")  # without it, each of many writes waits for the disk
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def close(self) -> None:
        """Close the database."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    @property
    def points(self) -> list[Point]:
        """The points that were tried, in the order of their numbers."""
        return [self._points[number] for number in sorted(self._points)]

    @property
    def interrupted(self) -> int:
        """How many trials were running when an earlier call ended, and are tried again."""
        return len(self._waiting)

    def forget_failed(self) -> int:
        """Let every trial that failed be tried again; return how many there are."""
        failed = [point for point in self.points if point.outcome.state == "failed"]
        for point in failed:
            del self._points[point.number]
            self._waiting[point.number] = point.values
        return len(failed)

    def ask(self) -> Asked | None:
        """Begin a trial: one that was interrupted, or a new one. None where the space has no other point."""
        if self._waiting:
            number = min(self._waiting)
            params = self._waiting.pop(number)
            asked = self._fixed(params)
        else:
            number = len(self._points) + len(self._asked) + 1
            proposed = self._propose(number)
            if proposed is None:
                return None
            asked, params = proposed
        with self._refusing():
            running = self._optuna.trial.create_trial(
                state=self._optuna.trial.TrialState.RUNNING,
                params=asked.params,
                distributions=self._distributions,
                user_attrs={_INDEX: number},
            )
            row = self._storage.create_new_trial(self._id, template_trial=running)
        self._asked[number] = row, asked
        self._seen.add(_spelled(params))
        return Asked(number, params)

    def tell(self, asked: Asked, outcome: Outcome) -> None:
        """Store what became of a trial."""
        row, trial = self._asked.pop(asked.number)
        with self._refusing():
            # The outcome first: a trial that has one is finished, whatever its state is.
            self._storage.set_trial_user_attr(row, _OUTCOME, json.dumps(codec.encode(outcome)))
            self._set_state(row, outcome)
        self._points[asked.number] = Point(asked.number, asked.params, outcome)
        self._tell(trial, outcome)

    def _set_state(self, row: int, outcome: Outcome) -> None:
        states = self._optuna.trial.TrialState
        values = [value.value for value in outcome.values]
        state = states.FAIL if outcome.state == "failed" else states.COMPLETE
        self._storage.set_trial_state_values(row, state, values if state == states.COMPLETE else None)

    def _tell(self, trial: optuna.Trial, outcome: Outcome) -> None:
        if outcome.state == "failed":
            self._memory.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            return
        trial.set_constraint("promises", outcome.distance)
        self._memory.tell(trial, [value.value for value in outcome.values])

    def _read(self, row: optuna.trial.FrozenTrial) -> None:
        """Take a row of the database: a finished trial, or one that was interrupted and ends now as failed."""
        number, written = row.user_attrs.get(_INDEX), row.user_attrs.get(_OUTCOME)
        if not isinstance(number, int):  # of another program
            return
        params = self._params(row.params)
        self._seen.add(_spelled(params))
        if isinstance(written, str):
            outcome = codec.decode(Outcome, json.loads(written))
            self._points[number] = Point(number, params, outcome)
            if not row.state.is_finished():
                self._set_state(row._trial_id, outcome)
            return
        self._waiting[number] = params
        if not row.state.is_finished():
            self._storage.set_trial_state_values(row._trial_id, self._optuna.trial.TrialState.FAIL)

    def _propose(self, number: int) -> tuple[optuna.Trial, Params] | None:
        """Propose a point that was not tried yet."""
        size = self._sweep.size
        if size is not None and len(self._seen) >= size:
            return None
        for attempt in range(0 if self._modelled else _MODELLED, _MODELLED + _RANDOM):
            self._memory.sampler = self._sampler(self._seed(number, attempt), modelled=attempt < _MODELLED)
            asked = self._memory.ask(self._distributions)
            params = self._params(asked.params)
            self._memory.tell(asked, state=self._optuna.trial.TrialState.FAIL)
            if _spelled(params) not in self._seen:
                return self._fixed(params), params  # rounded: as it is known after an interruption
        return self._listed(number)

    def _listed(self, number: int) -> tuple[optuna.Trial, Params] | None:
        """Return one of the few points that are left."""
        left = [each for each in itertools.islice(self._sweep.every(), _LISTED) if _spelled(each) not in self._seen]
        if not left:
            return None
        params = random.Random(self._seed(number, 0)).choice(left)
        return self._fixed(params), params

    def _sampler(self, seed: int, *, modelled: bool) -> optuna.samplers.BaseSampler:
        """Return what proposes: `benchmarks/scale.py` compares it with NSGA-II and with chance."""
        if modelled:
            return self._optuna.samplers.TPESampler(seed=seed, multivariate=True)
        return self._optuna.samplers.RandomSampler(seed=seed)

    def _seed(self, number: int, attempt: int) -> int:
        return int(manifest.digest_of([self._sweep.seed, number, attempt])[:8], 16)

    def _fixed(self, params: Params) -> optuna.Trial:
        """Begin a trial of known values in memory."""
        coded = {key: _coded(self._sweep.space[key], value) for key, value in params.items()}
        self._memory.sampler = self._sampler(0, modelled=False)
        self._memory.enqueue_trial(coded)
        return self._memory.ask(self._distributions)

    def _params(self, coded: Mapping[str, Any]) -> Params:
        return {key: _decoded(axis, coded[key]) for key, axis in self._sweep.space.items()}

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn what a database raises into one error of ours."""
        from sqlalchemy.exc import ArgumentError, DatabaseError, SQLAlchemyError

        try:
            yield
        except (CodecError, KeyError, json.JSONDecodeError, AssertionError) as problem:
            raise self._damaged(problem) from problem
        except ImportError as problem:
            hint = "install the driver that the URL names, for PostgreSQL: pip install 'psycopg[binary]'"
            raise EdgeresnetError(
                "the database of `storage`", f"cannot be used: {first_line(problem)}", hint=hint
            ) from problem
        except ArgumentError as problem:
            hint = "write it as in postgresql+psycopg://user@host/name"
            raise EdgeresnetError("`storage`", "is not the URL of a database that is known", hint=hint) from problem
        except (SQLAlchemyError, self._optuna.exceptions.OptunaError, RuntimeError) as problem:
            cause = problem if isinstance(problem, DatabaseError) else problem.__cause__ or problem
            words = first_line(getattr(cause, "orig", None) or cause)
            raise self._unusable(words) or self._damaged(problem) from problem

    def _unusable(self, words: str) -> EdgeresnetError | None:
        """Return the error for a database that is not damaged, but cannot be reached or written."""
        if "disk is full" in words or "disk I/O error" in words:
            full = machine_error(OSError(28, "no space", str(self._file)))
            assert isinstance(full, MachineError)
            return full
        if self._sweep.storage:
            hint = "check that it runs, and that you may write to it"
            return EdgeresnetError("the database of `storage`", f"cannot be used: {words}", hint=hint)
        if "readonly" in words or "unable to open" in words or "locked" in words:
            hint = "check that you may write to it, and that no other program uses it"
            return EdgeresnetError(str(self._file), f"cannot be used: {words}", hint=hint)
        return None

    def _damaged(self, problem: BaseException) -> EdgeresnetError:
        where = "the study in `storage`" if self._sweep.storage else str(self._file)
        hint = "remove it and run the sweep again: what trials made stays in the store, and is not made again"
        return EdgeresnetError(where, f"is damaged: {first_line(problem)}", hint=hint)


def _library() -> Any:
    try:
        import optuna
    except ImportError as problem:
        raise EdgeresnetError("optuna", "is not installed, and a sweep needs it", hint=INSTALL) from problem
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _distribution(optuna: Any, axis: Axis) -> Any:
    kinds = optuna.distributions
    if not isinstance(axis, Range):
        return kinds.CategoricalDistribution([_coded(axis, each) for each in axis])
    if axis.is_integer:
        return kinds.IntDistribution(axis.low, axis.high, log=axis.log, step=axis.step or 1)
    return kinds.FloatDistribution(axis.low, axis.high, log=axis.log, step=axis.step)


def _coded(axis: Axis, value: object) -> Any:
    """Return a value as the database has it: a listed one as JSON, for a list or a mapping may be one."""
    return value if isinstance(axis, Range) else json.dumps(value, sort_keys=True)


def _decoded(axis: Axis, value: Any) -> object:
    return axis.rounded(value) if isinstance(axis, Range) else json.loads(value)


def _spelled(params: Params) -> str:
    return json.dumps(dict(params), sort_keys=True)
