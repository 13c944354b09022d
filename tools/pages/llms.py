"""llms.txt: what the site is about and where to read what, for programs that read text. See llmstxt.org."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from .markdown import ROOT

SUMMARY = """
> edgeresnet takes a trained ResNet, images and a target. It prunes, quantizes to INT8, compiles for onnxruntime,
> OpenVINO or TensorRT, measures accuracy and latency on what was compiled, and ends in a verdict for CI.

A recipe in YAML says what is wanted, and `edgeresnet run recipe.yaml` does it. Each promise ends KEPT, BROKEN,
UNDECIDED, DEFERRED or NOT_MEASURED. What was not measured is never a pass.
`edgeresnet COMMAND --help` describes each command.
"""


def text() -> str:
    """Return the file, made from the nav of mkdocs.yml and the first sentence of each page."""
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    base = config["site_url"]
    lines = [f"# {config['site_name']}", SUMMARY]
    single: list[str] = []
    for entry in config["nav"]:
        for title, below in entry.items():
            if isinstance(below, str):
                single += _line(base, title, below)
            else:
                lines += [f"## {title}\n", *_lines(base, below), ""]
    return "\n".join([*lines[:2], "## Pages\n", *single, "", *lines[2:]]).rstrip("\n") + "\n"


def _lines(base: str, entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for title, path in entry.items():
            yield from _line(base, title, path)


def _line(base: str, title: str, path: str) -> list[str]:
    page = ROOT / "docs" / path
    return [f"- [{title}]({base}{path}): {first_sentence(page.read_text(encoding='utf-8'))}"] if page.is_file() else []


def first_sentence(markdown: str) -> str:
    """Return the first sentence below the title, without links."""
    body = re.sub(r"<!--.*?-->|^---\n.*?\n---\n", "", markdown, flags=re.S)
    body = body.split("\n# ", 1)[-1] if "\n# " in body else body.removeprefix("# ")
    paragraphs = re.split(r"\n\s*\n", body)[1:]
    plain = next((each for each in paragraphs if re.match(r"\s*[A-Za-z`*\[0-9]", each)), "")
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(plain.split())).replace("*", "")
    return re.split(r"(?<=[.!?])\s", words, maxsplit=1)[0]
