"""What the reference makes of a command: usage, text, examples, groups, values, defaults."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import click
import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


class Grouped(click.Command):
    """A command whose help has two groups of options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [row for each in self.params if isinstance(each, click.Option) and (row := each.get_help_record(ctx))]
        with formatter.section("Images"):
            formatter.write_dl(rows[:2])
        with formatter.section("Other"):
            formatter.write_dl(rows[2:])


@click.command(cls=Grouped, epilog="\b\nExample:\nedgeresnet ship net.onnx --effort best")
@click.argument("what", type=click.Choice(["run", "gate"]))
@click.option("--effort", type=click.Choice(["fast", "best"]), default="fast", show_default=True, help="How much. Long")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="Images | files, as --effort")
@click.option("-o", "--output", required=True, type=click.Path(), envvar="OUT", show_envvar=True, help="a file")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="A <rate>.")
def ship(**_: object) -> None:
    """Ship WHAT.

    \b
    one   line
    two   lines
    """


def pages(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module(f"pages.{name}")


def test_a_command_becomes_a_section(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = pages("commands", monkeypatch)
    context = click.Context(ship, info_name="ship", parent=click.Context(click.Group(), info_name="edgeresnet"))
    found: str = commands._section("ship", ship, commands._recorded(ship, context))
    assert found.startswith("## ship\n\n```text\nedgeresnet ship [OPTIONS] ")
    assert "\n```\n\nShip WHAT.\n\n" in found
    assert "```text\none   line\ntwo   lines\n```" in found
    assert "Example:\n\n```sh\nedgeresnet ship net.onnx --effort best\n```" in found
    assert "| `WHAT` | `run`, `gate` |" in found
    images, others = found.split("**Images**\n\n")[1].split("**Other**\n\n")
    assert "| `--effort` | `fast`, `best` | `fast` | How much. Long. |" in images
    assert "| `--count` | integer from 1 to 100 | `5` | Images \\| files, as `--effort`. |" in images
    assert "| `-o`, `--output` | path | required | A file. Environment: `OUT`. |" in others
    assert "| `--rate` | number above 0 |  | A \\<rate>. |" in others
    assert "--help" not in found


def test_a_comment_describes_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeresnet.runs import Margins

    found = pages("markdown", monkeypatch).comments(Margins)
    assert found["max_growth_pct"] == "of what would ship, in bytes"


def test_a_table_leaves_out_its_empty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pages("markdown", monkeypatch).table
    assert table(("a", "b", "c"), [("1", "", "3"), ("4", "", "")]) == "| a | c |\n| --- | --- |\n| 1 | 3 |\n| 4 |  |\n"
    assert table(("a", "b"), []) == ""


def test_the_first_sentence_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pages("llms", monkeypatch).first_sentence
    page = "---\nhide: [toc]\n---\n\n# Title\n\n<!-- made -->\n\n![x](y.png)\n\nIt has\n[a link](b.md). More."
    assert first(page) == "It has a link."
