"""Tables and frames on a terminal: rich lays them out; here is what its cells promise.

No digit is lost. A name that is too wide loses its middle, control characters show as codes, and a table that cannot
fit is wider than the terminal. rich is imported where it is used: a report in another format never needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .. import text
from . import summary

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.table import Table

_LEAST = 12  # columns of a word that was shortened


class _Cell:
    """A cell that rich may make narrower, down to what still means something: then it loses its middle."""

    def __init__(self, content: str, *, is_word: bool, cut_mark: str):
        self.content, self.is_word, self.cut_mark = text.on_one_line(content), is_word, cut_mark

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        width = text.width(self.content)
        return Measurement(min(width, _LEAST) if self.is_word else width, width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> list[str]:
        return [text.cut(self.content, options.max_width, self.cut_mark)]


def columns(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int = text.WIDTH,
    indent: int = 0,
    cut_mark: str = text.CUT,
) -> str:
    """Return a table, words to the left, numbers to the right, as narrow as the content."""
    from rich.measure import Measurement

    console = _console(width - indent)
    made = [_table(head, rows, gap, cut_mark) for gap in (2, 1)]
    sizes = [Measurement.get(console, console.options.update(width=1 << 16), each) for each in made]
    table, size = (made[0], sizes[0]) if sizes[0].maximum <= width - indent else (made[1], sizes[1])
    shown = _rendered(_console(max(width - indent, size.minimum)), table)
    return "\n".join(f"{' ' * indent}{line}" for line in shown)


def measured(head: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a table is in which nothing is shortened, with one column between its columns."""
    table = [[text.width(text.on_one_line(cell)) for cell in row] for row in (head, *rows)]
    return sum(max(row[index] for row in table) for index in range(len(head))) + len(head) - 1


def first_that_fits(choices: Iterable[summary.Table], width: int = text.WIDTH) -> summary.Table:
    """Return the first of several tables that needs no more columns than these; the last one where none does."""
    for each in choices:
        found = each
        if measured(*found) <= width:
            break
    return found


def framed(lines: Sequence[str], *, width: int = text.WIDTH, ascii_only: bool = False) -> list[str]:
    """Return lines in a frame, each on one line: what is too wide loses its middle."""
    from rich import box
    from rich.table import Table

    frame = Table(box=box.ASCII if ascii_only else box.ROUNDED, show_header=False)
    frame.add_column(no_wrap=True)
    for line in lines:
        frame.add_row(_Cell(line, is_word=True, cut_mark="~" if ascii_only else text.CUT))
    return _rendered(_console(width), frame)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], gap: int, cut_mark: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=False)
    words = [not any(_is_number(row[i]) for row in rows) for i in range(len(head))]
    for is_word in words:
        table.add_column(justify="left" if is_word else "right", no_wrap=not is_word)
    for row in (head, *rows):
        table.add_row(*(_Cell(cell, is_word=each, cut_mark=cut_mark) for cell, each in zip(row, words, strict=True)))
    return table


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell.startswith(("+", "-"))


def _console(width: int) -> Console:
    """Return a console that makes text alone, whatever the environment says of colours and size."""
    import io

    from rich.console import Console

    return Console(
        file=io.StringIO(),
        width=width,
        height=100,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,
        force_interactive=False,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        _environ={},
    )


def _rendered(console: Console, table: Table) -> list[str]:
    return ["".join(part.text for part in line).rstrip() for line in console.render_lines(table, pad=False)]
