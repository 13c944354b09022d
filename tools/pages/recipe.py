"""Every key of a recipe, from its JSON Schema: key, value, default, what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from edgeresnet import recipe, targets
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.recipe import sections

from .markdown import ROOT, code, comments, fence, page, prose, sentence, table

Schema: TypeAlias = Mapping[str, Any]
SOURCE = "https://github.com/edgeresnet/edgeresnet/blob/main"
SHIPPED = {
    "cifar-prune-chain.yaml": "A real ResNet-20: train, prune, recover, INT8, OpenVINO here and TensorRT's bundle.",
    "prune-int8-openvino.yaml": "Your network with half its multiplications, recovered, in INT8, for an Intel machine.",
    "prune-int8-tensorrt.yaml": "Your network with a quarter pruned, in TensorRT's widths, as a bundle for a device.",
    "resnet50-intel.yaml": "A fine-tuned ResNet-50 in INT8 for OpenVINO, measured here.",
    "resnet50-jetson.yaml": "The same for a Jetson: TensorRT's INT8 and FP16 in a bundle.",
    "gate.yml": "Not a recipe: a workflow for GitHub Actions that measures, gates, and updates the baseline by hand.",
}
HEAD = ("key", "value", "default", "what it is")
EXAMPLE = "pipelines/resnet50-intel.yaml"
INTRO = f"""
A recipe is a YAML file that says what is wanted. [The recipe](../concepts/recipe.md) explains how one is read.
An unknown key is an error, and all errors of a recipe are listed together.
`edgeresnet schema` prints the same as JSON Schema, for your editor. Paths are relative to the current folder.

This recipe ships with edgeresnet, as `{EXAMPLE}`:
"""


def page_of_recipe() -> str:
    """Return the page of a recipe's keys."""
    schema = recipe.schema()
    parts = list(_sections(schema, schema["$defs"]))
    example = fence((ROOT / EXAMPLE).read_text(encoding="utf-8"), "yaml")
    return page("Recipe", INTRO, example, _top(schema), *parts, _shipped())


def _shipped() -> str:
    """Return the recipes that ship, each with what it shows: by default the first sentence of its comment."""
    rows = []
    for path in [*sorted((ROOT / "pipelines").glob("*.yaml")), ROOT / "pipelines" / "ci" / "gate.yml"]:
        text = re.match(r"(?:# .*\n)+", path.read_text(encoding="utf-8"))
        words = " ".join((text[0] if text else "").replace("# ", "").split())
        shown = SHIPPED.get(path.name) or re.split(r"(?<=\.) ", words)[0]
        name = path.relative_to(ROOT).as_posix()
        rows.append((f"[`{name}`]({SOURCE}/{name})", shown))
    return "## Recipes that ship\n\n" + table(("file", "what it shows"), rows)


def _top(schema: Schema) -> str:
    required = schema["required"]
    rows = []
    for name, node in schema["properties"].items():
        section = _reference(node)
        if name == "targets":
            rows.append((f"[`{name}`](targets.md)", "mapping", "", "Name of a target, with its options."))
        elif section:
            default = "required" if name in required else ""
            text = _first(node.get("description", "") or schema["$defs"][section].get("description", ""))
            rows.append((f"[`{name}`](#{name})", "section", default, text))
        else:
            rows.append(row(name, node, required, {}))
    return "## Top level\n\n" + table(HEAD, rows)


def _sections(schema: Schema, definitions: Mapping[str, Schema]) -> Iterator[str]:
    told: set[str] = set()
    for name, node in schema["properties"].items():
        section = _reference(node)
        if not section:
            continue
        yield _section(f"## {name}", section, definitions[section])
        for inner in _inner(definitions[section]):
            if inner not in told:
                told.add(inner)
                yield _section(f"### {inner.lower()}", inner, definitions[inner])


def _section(heading: str, name: str, node: Schema) -> str:
    kind = {"Preprocessing": Preprocessing}.get(name) or getattr(sections, name)
    text = "\n\n".join(sentence(each) for each in node.get("description", "").split("\n\n"))
    rows = rows_of(node, comments(kind))
    return f"{heading}\n\n{text}\n\n" + table(HEAD, rows)


def rows_of(node: Schema, said: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """Return the rows of an object's keys; `said` are the comments of its class, for keys without a description."""
    return [row(key, each, node.get("required", ()), said) for key, each in node["properties"].items()]


def row(key: str, node: Schema, required: Sequence[str], said: Mapping[str, str]) -> tuple[str, str, str, str]:
    """Return a key, its value, its default and what it is."""
    default = "required" if key in required else _default(node.get("default"))
    return code(key), value(node), default, sentence(node.get("description") or said.get(key, ""))


def value(node: Schema) -> str:
    """Return what a key may hold, in words."""
    branches = [each for each in node.get("anyOf", [node]) if each.get("type") != "null"]
    return " or ".join(dict.fromkeys(map(_value, branches)))


def _value(node: Schema) -> str:
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1].lower()
        return f"[{name}](#{name})"
    if "enum" in node or "const" in node:
        return ", ".join(code(each) for each in node.get("enum", [node.get("const")]))
    kind = node.get("type", "")
    if kind == "array":
        inner = node.get("items") or {}
        return f"list of {_plural(_value(inner))}" if inner else "list"
    if kind == "object":
        inner = node.get("additionalProperties")
        return f"mapping of name to {_value(inner)}" if isinstance(inner, dict) else "mapping"
    words = {"boolean": "`true`, `false`", "string": "text"}.get(kind, kind)
    return f"{words} {_limits(node)}".strip()


def _plural(words: str) -> str:
    return re.sub(r"^(number|list)\b", r"\1s", words)


def _limits(node: Schema) -> str:
    ends = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
    return " ".join(
        words.format(f"{node[key]:g}") for key, words in ends.items() if key in node and abs(node[key]) < 1e9
    )


def _default(found: object) -> str:
    if found is None or found in ([], {}):
        return ""
    if isinstance(found, Mapping):
        inner = ", ".join(f"{key}: {json.dumps(each)}" for key, each in found.items())
        return code(f"{{{inner}}}")
    return code(found if isinstance(found, str) else json.dumps(found))


def _reference(node: Schema) -> str:
    found = [each["$ref"] for each in [node, *node.get("anyOf", []), *node.get("allOf", [])] if "$ref" in each]
    return found[0].rsplit("/", 1)[-1] if found else ""


def _inner(node: Schema) -> list[str]:
    return [name for each in node["properties"].values() if (name := _reference(each))]


def _first(text: str) -> str:
    return prose(text).split(". ")[0].rstrip(".") + "." if text else ""


def _install(text: str) -> str:
    """Return how a target is installed, its command as code."""
    command = re.match(r"pip install [\w-]+", text)
    return code(command[0]) + prose(text[command.end() :]) if command else prose(text)


TARGETS_INTRO = """
A target is a compiler with its runtime. `edgeresnet targets` says which of them are on this machine.
A recipe names each target with its options: `targets: {openvino: {float_parts: f32}}`.
`{}` takes the defaults. [Dialects](../concepts/dialects.md) explains why INT8 differs from target to target.
"""


def page_of_targets() -> str:
    """Return the page of the targets and their options."""
    every = set(sections.EVERY)
    schemas = recipe.schema()["properties"]["targets"]["properties"]
    shared = sections.Delivery.model_json_schema()
    text = "These keys belong to all targets. They say where a target is measured and what ships to it.\n\n"
    parts = ["## Options of every target\n\n" + text + table(HEAD, rows_of(shared, comments(sections.Delivery)))]
    for name, target in targets.discover().items():
        node = schemas[name]
        own = {**node, "properties": {key: each for key, each in node["properties"].items() if key not in every}}
        notes = comments(type(target.dialect))
        rows = [(code(key), code(getattr(target.dialect, key)), sentence(note)) for key, note in notes.items()]
        parts.append(
            f"## {name}\n\n{target.title}. Installation: {_install(target.install)}.\n\n"
            + table(HEAD, rows_of(own, comments(target.options)))
            + "\nIts dialect, before options change it:\n\n"
            + table(("property", "value", "what it is"), rows)
        )
    return page("Targets", TARGETS_INTRO, *parts)
