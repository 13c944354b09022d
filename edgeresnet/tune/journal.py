"""What a search measured, stored at once. It belongs to one question: another question begins with none."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from ..portable import codec, documents, machine
from ..store import write_bytes

T = TypeVar("T")


@dataclass(frozen=True)
class Stored:
    """A journal as it is stored: each answer as JSON."""

    identity: machine.Identity
    question: str
    answers: tuple[tuple[str, str], ...] = ()


@dataclass
class Journal(Generic[T]):
    """Answers by name, of one type. What is there is not computed again."""

    path: Path
    kind: type[T]
    question: str  # what is searched, as text: answers to another one are ignored
    answers: dict[str, T] = field(default_factory=dict)
    continued: int = 0  # answers of before an interruption

    def __post_init__(self) -> None:
        stored = documents.stored_json(self.path, Stored)
        if stored and (stored.identity, stored.question) == (machine.identity(), self.question):
            with contextlib.suppress(ValueError):  # damaged, or of another version: they are made again
                self.answers = {name: codec.decode(self.kind, json.loads(text)) for name, text in stored.answers}
            self.continued = len(self.answers)

    def of(self, name: str, make: Callable[[], T]) -> T:
        """Return the answer of this name; make it, and store it, if it is not there."""
        if name not in self.answers:
            self.add({name: make()})
        return self.answers[name]

    def add(self, answers: Mapping[str, T]) -> None:
        """Store answers that were made together."""
        self.answers.update(answers)
        self._save()

    def _save(self) -> None:
        answers = tuple((name, json.dumps(codec.encode(answer))) for name, answer in self.answers.items())
        stored = Stored(machine.identity(), self.question, answers)
        write_bytes(self.path, json.dumps(codec.encode(stored)).encode())
