"""YAML that a person wrote, read strictly: plain values, few levels, few aliases, each key once.

PyYAML's safe loader runs no code, but it recurses as deep as a text does, lets a few lines stand for billions of values
through aliases, and raises whatever `int` or `base64` raise. Here each of them is a YAMLError that names its line.
"""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, SequenceNode

DEEPEST, MOST = 64, 50_000  # levels; values, those that an alias repeats included
_HUGE = 1 << 64


def load(text: str) -> object:
    """Return the value of a YAML text; raise YAMLError, with a line, for what is not strict."""
    return yaml.load(text, _Strict)


class _Strict(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth, self._values = 0, 0
        self._sizes: dict[int, int] = {}  # values in each complete node

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        start = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:  # its node is not complete: this is inside it
                raise ConstructorError(None, None, "has an alias that refers to itself", start)
            self._values += self._sizes[id(node)]
        else:
            self._depth, before = self._depth + 1, self._values
            if self._depth > DEEPEST:
                raise ConstructorError(None, None, f"has more than {DEEPEST} levels", start)
            self._values += 1
            node = super().compose_node(parent, index)
            self._depth -= 1
            self._sizes[id(node)] = self._values - before
        if self._values > MOST:
            raise ConstructorError(None, None, f"has more than {MOST:,} values", start)
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            found = super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as problem:
            what = str(node.tag).rpartition(":")[2]
            raise ConstructorError(None, None, f"has a value that is not a valid {what}", node.start_mark) from problem
        if isinstance(found, int) and abs(found) >= _HUGE:
            raise ConstructorError(None, None, "has an integer of too many digits", node.start_mark)
        return found

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()  # of keys as they are written: a merge adds others later, which are meant to be there twice
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key.value, str) else None
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                raise ConstructorError(None, None, f"has the key {key.value[:40]!r} twice", key.start_mark)
            seen |= {name} - {None}
        return node


def lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of each key and item of a text that `load` accepts, by the keys that lead to it."""
    found: dict[tuple[str, ...], int] = {}
    todo: list[tuple[tuple[str, ...], Node | None]] = [((), yaml.compose(text, _Strict))]
    while todo:
        path, node = todo.pop()
        inner: list[tuple[str, Node, Node]] = []
        if isinstance(node, MappingNode):
            inner = [(str(key.value), key, value) for key, value in node.value]
        elif isinstance(node, SequenceNode):
            inner = [(str(number), each, each) for number, each in enumerate(node.value)]
        for name, begins, value in inner:
            place = (*path, name)
            found[place] = begins.start_mark.line + 1
            todo.append((place, value))
    return found
