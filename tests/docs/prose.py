"""The sentences of a Markdown page. textstat splits "1.5 times" and `a.b` in two and counts tables: this does not."""

from __future__ import annotations

import re

_ABBREVIATIONS = r"(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!vs\.)"
_ITEM = re.compile(r"\s*(?:[-*+]|\d+\.)\s+")


def sentences(markdown: str) -> list[str]:
    """Return the sentences of a page, without code, tables, headings and HTML. A list's item is a sentence or more."""
    return [sentence for block in _blocks(_prose(markdown)) for sentence in _split(block)]


def words(sentence: str) -> int:
    """Count the words of a sentence. Inline code is one word."""
    return sum(any(letter.isalnum() for letter in word) for word in sentence.split())


def _prose(markdown: str) -> str:
    text = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.S)
    text = re.sub(r"^([ >]*)(```|~~~).*?^\1\2", "", text, flags=re.S | re.M)
    text = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)|</?[a-z][^>]*>", "", text, flags=re.S)
    text = re.sub(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", text)
    text = re.sub(r"(`+)[^`].*?\1", "code", text, flags=re.S)
    text = re.sub(r"\*\*|\*(?=\S)|(?<=\S)\*", "", text)
    text = re.sub(r"^\s*(?:!!!|\?\?\?\+?|===|\[[^\]]+\]:|\*\[).*$", "", text, flags=re.M)
    return re.sub(r"^\s*(?:#{1,6} |\|).*$|^\s*>\s?|^\s*[-=]{3,}\s*$|\{[:#.][^}]*\}", "", text, flags=re.M)


def _blocks(text: str) -> list[str]:
    """Return paragraphs and items of lists, each in one line."""
    blocks, current = [], ""
    for line in text.splitlines():
        if not line.strip() or _ITEM.match(line):
            blocks.append(current)
            current = ""
        item = _ITEM.match(line)
        current += " " + line[item.end() if item else 0 :].strip()
    return [block.strip() for block in [*blocks, current] if block.strip()]


def _split(block: str) -> list[str]:
    parts = re.split(rf"(?<=[.!?]){_ABBREVIATIONS}\s+|(?<=[.!?][)\"]){_ABBREVIATIONS}\s+", block)
    return [part for part in parts if words(part)]
