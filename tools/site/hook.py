"""What mkdocs does for the site in addition: the README's picture, and each page as Markdown, for programs.

`llms.txt` links the Markdown of each page; `llms-full.txt` is all of them in the order of the nav.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation

PICTURE = Path(__file__).parents[2] / ".github" / "report.png"
_texts: dict[str, str] = {}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the picture, so that it has one place in the repository."""
    files.append(File.generated(config, PICTURE.name, abs_src_path=str(PICTURE)))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Remember the pages in the order of the nav."""
    _texts.clear()
    _texts.update({page.file.src_uri: page.file.content_string for page in nav.pages})
    return nav


def on_post_build(config: MkDocsConfig) -> None:
    """Write each page as Markdown next to its HTML, and all of them in one file."""
    site = Path(config.site_dir)
    for name, text in _texts.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
    (site / "llms-full.txt").write_text("\n\n".join(_texts.values()), encoding="utf-8")
