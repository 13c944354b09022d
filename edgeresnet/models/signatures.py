"""What a factory's signature wants, and what of it a recipe knows: classes, channels, no weights of its own.

Knows names of parameters as people write them. Calls nothing, and needs no torch.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ModelError, listed, shortened
from ..recipe import Argument

# As people spell them, without underscores. The first of each is also what `**kwargs` gets first.
_CLASSES = (
    *("num_classes", "classes", "n_classes", "num_class", "n_class", "nb_classes", "nb_class", "class_num"),
    *("nclasses", "nclass", "numclasses", "class_count", "number_of_classes", "num_cls", "n_cls", "cls_num"),
    *("num_labels", "n_labels", "out_classes", "output_classes", "num_output_classes", "no_classes", "c_num"),
)
_CHANNELS = (
    *("channels", "in_channels", "in_chans", "num_channels", "input_channels", "in_channel", "in_ch", "n_channels"),
    *("img_channels", "image_channels", "input_channel", "input_chans", "num_input_channels", "num_in_channels"),
    *("n_input_channels", "channels_in", "input_ch", "img_ch", "im_channels", "c_in"),
)
PRETRAINED = "pretrained"
_IN_KEYWORDS = 6  # spellings that are tried in `**kwargs`
_MOST_CHANNELS = 4  # of an image: a larger number as the default of `in_channels` is a width
_OBJECTS = re.compile(r"block|cfg|config|module|norm|activation|^(layers|stages|args|opts?|act|widths|depths)$")
_SHOWN = 100  # characters of a signature


@dataclass(frozen=True)
class Known:
    """What a recipe knows of the network that a factory builds."""

    classes: int
    channels: int
    arguments: Mapping[str, Argument]  # what the user gives by name


@dataclass(frozen=True)
class Call:
    """How a factory is called."""

    positional: tuple[Any, ...]
    keywords: dict[str, Any]
    open: tuple[tuple[int, tuple[str, ...]], ...] = ()  # for `**kwargs`: a value, and the names that it may have

    def given(self) -> dict[str, Any]:
        """Return all keywords, the open ones by their first names."""
        return {**{names[0]: value for value, names in self.open if names}, **self.keywords}

    def without(self, name: str) -> Call | None:
        """Return the call with another name for what was refused; None where it was not an open one."""
        if not any(names[:1] == (name,) for _, names in self.open):
            return None
        left = ((value, names[1:] if names[:1] == (name,) else names) for value, names in self.open)
        return replace(self, open=tuple((value, names) for value, names in left if names))


def call_of(arch: str, make: Any, known: Known) -> Call:
    """Return how a factory is called; raise ModelError where an argument is missing, or is not one of its own."""
    parameters = parameters_of(make)
    extra = passes_on(make)
    own = {name: each for name, each in parameters.items() if each.kind not in _VARIABLE}
    if not extra and (unknown := [name for name in known.arguments if name not in own]):
        raise not_taken(arch, make, unknown[0])
    values = {name: value for name, each in own.items() for value in _values(each, known)}
    missing = [each for name, each in own.items() if each.default is each.empty and name not in values]
    if missing:
        raise needs(arch, make, [each.name for each in missing])
    first = [each for each in own.values() if each.kind is each.POSITIONAL_ONLY]
    while first and first[-1].name not in values:  # those in front of a given one need their defaults
        first.pop()
    positional = tuple(values.pop(each.name, each.default) for each in first)
    given = {name: value for name, value in known.arguments.items() if name not in own}
    return Call(positional, {**values, **given}, tuple(_open(own, known)) if extra else ())


def parameters_of(make: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function or class; none where Python does not know them."""
    try:
        return inspect.signature(make).parameters
    except (TypeError, ValueError):
        return {}


def passes_on(make: Any) -> bool:
    """Return whether a factory takes any keyword, which others that it calls may want."""
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters_of(make).values())


def not_taken(arch: str, make: Any, name: str) -> ModelError:
    """Return an error for an argument that a factory does not have."""
    own = [each.name for each in parameters_of(make).values() if each.kind not in _VARIABLE]
    near = difflib.get_close_matches(name[:80], own, 1)
    word = shortened(name, 40)
    hint = f"did you mean `--arch-arg {near[0]}=…`?" if near else f"remove `--arch-arg {word}=…`"
    return ModelError(f"the factory {arch}", f"does not take {word}: its signature is {shown(make)}", hint=hint)


def shown(make: Any) -> str:
    """Return a factory's name and parameters on one line, without annotations."""
    name = getattr(make, "__name__", type(make).__name__)
    bare = [each.replace(annotation=each.empty) for each in parameters_of(make).values()]
    return shortened(f"{name}{inspect.Signature(bare)}", _SHOWN)


_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _values(parameter: inspect.Parameter, known: Known) -> Iterator[Any]:
    """Yield the one value that is known for a parameter, if there is one."""
    name, default = parameter.name, parameter.default
    required = default is parameter.empty
    number = required or default is None or type(default) is int
    word = _plain(name)
    if name in known.arguments:
        yield known.arguments[name]
    elif word in _PLAIN_CLASSES and number:
        yield known.classes
    elif word in _PLAIN_CHANNELS and number and (type(default) is not int or default <= _MOST_CHANNELS):
        yield known.channels
    elif word == PRETRAINED and (required or default):  # the recipe names the weights
        yield False if required or isinstance(default, bool) else None
    elif word == "weights" and (required or default):
        yield None


def _open(own: Mapping[str, inspect.Parameter], known: Known) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield what `**kwargs` may want: it is given under the usual names, one after the other."""
    words = {_plain(name) for name in (*own, *known.arguments)}
    if words.isdisjoint(_PLAIN_CLASSES):
        yield known.classes, _CLASSES[:_IN_KEYWORDS]
    if words.isdisjoint(_PLAIN_CHANNELS):
        yield known.channels, _CHANNELS[:_IN_KEYWORDS]
    if words.isdisjoint((PRETRAINED, "weights")):  # the recipe names the weights: none are to be fetched
        yield False, (PRETRAINED,)


def needs(arch: str, make: Any, missing: list[str]) -> ModelError:
    """Return an error for arguments that a factory wants and nothing gives, with the line to write."""
    problem = f"needs {listed(missing, 60)}: its signature is {shown(make)}"
    kinds = {name: _annotated(make, name) for name in missing}
    if any(_is_object(name, kind) for name, kind in kinds.items()):
        word = shortened(getattr(make, "__name__", "Net"), 40)
        hint = f"name a function that gives it, as in `def make(classes): return {word}(…, classes)`"
    else:
        examples = {shortened(name, 40): _example(name, kinds[name]) for name in missing[:3]}
        line = " ".join(f"--arch-arg {name}={value}" for name, value in examples.items())
        keys = ", ".join(f"{name}: {value}" for name, value in examples.items())
        hint = f"add `{line}`; in a recipe, `model.arch_args: {{{keys}}}`"
    return ModelError(f"the factory {arch}", problem, hint=hint)


def _is_object(name: str, kind: str) -> bool:
    """Return whether a parameter surely is neither a number nor a text."""
    return kind not in _PLAIN_KINDS if kind else _OBJECTS.search(name.lower()) is not None


def _example(name: str, kind: str) -> str:
    """Return a value that a person may write for a parameter."""
    if "depth" in name.lower() or name.lower() in ("num_layers", "n_layers"):
        return "20"
    return {"int": "1", "float": "0.5", "bool": "true"}.get(kind, "VALUE")


def _annotated(make: Any, name: str) -> str:
    """Return the type's name in a parameter's annotation; empty where there is none."""
    parameter = parameters_of(make).get(name)
    if parameter is None or parameter.annotation is parameter.empty:
        return ""
    kind = parameter.annotation
    return str(kind if isinstance(kind, str) else getattr(kind, "__name__", kind)).removesuffix(" | None")


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


_PLAIN_KINDS = ("int", "float", "bool", "str")
_PLAIN_CLASSES = frozenset(map(_plain, _CLASSES))
_PLAIN_CHANNELS = frozenset(map(_plain, _CHANNELS))
