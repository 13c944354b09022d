"""One element of a page. Whatever is not an element already is text, and comes out as text: nothing else writes markup.

Knows no page. A name in a label, a path, a note may hold `<script>`, quotes or letters that turn the line around.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Any

from ...portable.frozen import dataclass

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9]*")
_VOID = {"meta", "link", "img", "br", "hr"}
_LOADS = ("src", "href", "data", "action", "poster", "srcset", "formaction", "xlink:href")
# Shown as what they are: invisible ones would hide, end or turn around what follows them.
_ODD = {code: f"\\u{code:04x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0), 0xFEFF)}
_ODD |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
_ODD |= {0x09: " ", 0x0A: "\n", 0x0D: " "}


@dataclass(frozen=True)
class Markup:
    """What may stand in a page as it is. Only `el` makes it, and the page of what this package ships."""

    html: str


Child = str | Markup | None | Iterable[Any]  # and so on, inside
Value = str | int | float | bool | None


def el(name: str, /, *children: Child, **attributes: Value) -> Markup:
    """Return an element: `el("p", "a < b", class_="note")`. None or False leaves an attribute out; `_` means `-`."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not an element")
    head = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    if name in _VOID:
        return Markup(head)
    return Markup(f"{head}{''.join(map(_inside, children))}</{name}>")


def name(text: str) -> Markup:
    """Return a name of any origin: whichever way its letters run, the text around it keeps its own."""
    return el("bdi", text)


def _inside(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child.html
    if isinstance(child, str):
        return _text(child)
    return "".join(map(_inside, child))


def _attribute(key: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    key = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if key in _LOADS and not text.startswith(("#", "data:image/")) and text != "data:,":
        raise ValueError(f"{key}={text!r} would load something from another place")
    if key.startswith("on") or key == "style":
        raise ValueError(f"{key} would be code: the page has one script and one style")
    return f' {key}="{_text(text)}"'


def _text(raw: str) -> str:
    return escape(raw.encode("utf-8", "backslashreplace").decode().translate(_ODD), quote=True)
