"""The site: every page is in the nav, every link and anchor resolves, and what is made from code is fresh."""

from __future__ import annotations

import importlib
import re
import runpy
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITE: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
REPOSITORY = f"{SITE['repo_url']}/"
DOCUMENTS = [*ROOT.glob("*.md"), ROOT / "calibration_data" / "README.md", *DOCS.rglob("*.md")]
PICTURES = {DOCS / "report.png": ROOT / ".github" / "report.png"}  # tools/site/hook.py puts it there


def pages(entries: list[Any] = SITE["nav"]) -> Iterator[str]:
    for entry in entries:
        for below in entry.values():
            yield from [below] if isinstance(below, str) else pages(below)


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^( *)```.*?^\1```", "", text, flags=re.S | re.M))


def links(path: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)[^)]*\)", without_code(path.read_text(encoding="utf-8")))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as mkdocs and GitHub spell those that we write."""
    text = re.sub(r"^( *)```.*?^\1```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    found: set[str] = set(re.findall(r"\{[^}\n]*#([\w-]+)", text))
    for heading in re.findall(r"^#{1,6} (.+?)(?: *\{.*\})?$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        number = next(n for n in range(99) if (f"{slug}_{n}" if n else slug) not in found)
        found.add(f"{slug}_{number}" if number else slug)
    return found


def wrong(path: Path, link: str) -> str:
    """Return what is wrong with a link of a page; empty for nothing. Other hosts are not asked."""
    if link.startswith(REPOSITORY):
        inside = re.match(r"(?:blob|tree)/main/([^#]+)", link.removeprefix(REPOSITORY))
        return "" if not inside or (ROOT / inside[1]).exists() else "is not in the repository"
    if link.startswith(SITE["site_url"]):
        link, path = link.removeprefix(SITE["site_url"]), DOCS / "index.md"
        name, _, anchor = link.partition("#")
        link = f"{name.strip('/') or 'index'}.md" + (f"#{anchor}" if anchor else "")
    if re.match(r"[a-z]+:", link):
        return ""
    name, _, anchor = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    target = PICTURES.get(target, target)
    if not target.exists():
        return "does not exist"
    if DOCS in path.parents and target not in PICTURES.values() and DOCS not in target.parents:
        return "is not a part of the site: link it on GitHub"
    return f"has no heading #{anchor}" if anchor and anchor not in anchors(target) else ""


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_anchors_resolve(path: Path) -> None:
    problems = {link: problem for link in links(path) if (problem := wrong(path, link))}
    assert problems == {}


@pytest.mark.parametrize(
    "link", ["missing.md", "limits.md#missing", f"{REPOSITORY}blob/main/missing.py", "../README.md"]
)
def test_a_wrong_link_is_found(link: str) -> None:
    assert wrong(DOCS / "index.md", link)
    assert not wrong(DOCS / "index.md", "limits.md#pruning")


def test_each_page_is_in_the_nav_once_and_exists() -> None:
    there = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    assert sorted(pages()) == there


@pytest.mark.parametrize("page", [*pages()])
def test_a_page_has_one_title(page: str) -> None:
    text = re.sub(r"^( *)```.*?^\1```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.S | re.M)
    assert len(re.findall(r"^# ", text, re.M)) == 1


def test_a_page_loads_nothing_from_other_hosts() -> None:
    assert SITE["theme"]["font"] is False
    assert "analytics" not in SITE.get("extra", {})
    assert not [url for key in ("extra_css", "extra_javascript") for url in SITE.get(key, []) if "//" in url]
    source = (ROOT / SITE["theme"]["custom_dir"] / "partials" / "source.html").read_text(encoding="utf-8")
    assert "data-md-component" not in source, "the theme's script asks another host for counts"


def test_the_build_is_strict_about_links_and_anchors() -> None:
    assert SITE["validation"]["links"]["anchors"] == SITE["validation"]["links"]["not_found"] == "warn"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert makefile.count("mkdocs build --strict") == 2, "make docs, and make check"


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("reference")


def test_what_is_made_from_code_is_fresh(reference: ModuleType) -> None:
    assert reference.stale() == {}, "run `make docs`"


def test_a_stale_page_is_found(reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, make in reference.PAGES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(make(), encoding="utf-8")
    changed = tmp_path / "docs/reference/recipe.md"
    changed.write_text(changed.read_text(encoding="utf-8").replace("`max_drop_pp`", "`max_drop`"), encoding="utf-8")
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    (name,) = reference.stale()
    assert name == "docs/reference/recipe.md"


def test_the_reference_has_every_command_option_and_key(reference: ModuleType) -> None:
    import click

    from edgeresnet import cli, recipe

    text = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    for name in cli.COMMANDS:
        section = text.split(f"\n## {name}\n", 1)[1].split("\n## ")[0]
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
        missing = [spelled for each in options for spelled in each.opts if f"`{spelled}`" not in section]
        assert missing == [], name
    keys = (DOCS / "reference" / "recipe.md").read_text(encoding="utf-8")
    targets = (DOCS / "reference" / "targets.md").read_text(encoding="utf-8")
    schema = recipe.schema()
    for section in schema["$defs"].values():
        assert [key for key in section.get("properties", {}) if f"`{key}`" not in keys] == []
    for name, section in schema["properties"]["targets"]["properties"].items():
        assert f"\n## {name}\n" in targets
        assert [key for key in section["properties"] if f"| `{key}` |" not in targets] == []


def test_llms_txt_has_every_page(reference: ModuleType) -> None:
    text = (DOCS / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith(f"# {SITE['site_name']}\n\n> ")
    linked = re.findall(rf"^- \[.+?\]\({re.escape(SITE['site_url'])}(.+?)\): .+[.?!:]$", text, re.M)
    assert set(linked) == set(pages())


def test_the_picture_of_the_site_is_the_readmes() -> None:
    pytest.importorskip("mkdocs")
    hook = runpy.run_path(str(ROOT / "tools" / "site" / "hook.py"))
    assert hook["PICTURE"] == ROOT / ".github" / "report.png"
    assert hook["PICTURE"].is_file()
