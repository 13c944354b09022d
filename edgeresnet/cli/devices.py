"""edgeresnet devices: what the user's devices are, whether they can measure, and an entry for a new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _help, _options, _output

if TYPE_CHECKING:
    from ..devices.book import Device
    from ..devices.looking import Facts, Seen

_NOT_READY = 4  # as for what was not measured


@_help.command(
    "edgeresnet devices",
    "edgeresnet devices add orin nvidia@orin.local --target tensorrt",
)
@click.argument("words", metavar="[NAME]... | add NAME ADDRESS", nargs=-1, shell_complete=_complete.devices)
@_help.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default="devices.yaml here, else in your configuration",
    help="File of devices.",
)
@_help.option(
    "--target",
    "targets",
    multiple=True,
    type=_help.TARGET_NAMES,
    group=_help.TARGET,
    help="Target that the devices must be able to measure; add: that this one measures. Repeatable.",
)
@_help.option("--python", help="add: Python there that has numpy and the runtime.", show_default="python3")
@_help.option("--folder", help="add: folder there for bundles and results.", show_default="~/edgeresnet")
@_options.as_json
def devices(
    words: tuple[str, ...],
    path: Path | None,
    targets: tuple[str, ...],
    python: str | None,
    folder: str | None,
    as_json: bool,
) -> int:
    """Look at your devices, or add one.

    Connects to each device of devices.yaml, or to those that are named.
    Shows whether it can measure: Python, numpy, the runtime, and the disk.
    Shows its power mode, clocks, temperature and energy sensors, and who
    measures there. `add` looks first, then writes an entry, or replaces it.

    ssh does the talking, with your keys and ~/.ssh/config. Nothing is
    installed there. The exit code is 4 if a device cannot measure.
    """
    from ..devices import book
    from ..errors import EdgeresnetError

    if words[:1] == ("add",):
        name, address = _new(words[1:])
        given = _options.provided(ssh=address, target=targets or None, python=python, folder=folder)
        device = book.parse({name: given}, f"the device {name}")[name]
        return _add(path, name, device, as_json=as_json)
    if idle := [option for option, value in {"--python": python, "--folder": folder}.items() if value]:
        raise EdgeresnetError(", ".join(idle), "can be given with `add` only", hint="write it into devices.yaml")
    return _look(_known(path, words), targets, as_json=as_json)


def _new(words: tuple[str, ...]) -> tuple[str, str]:
    from ..errors import EdgeresnetError

    if len(words) != 2:
        hint = "write `edgeresnet devices add orin nvidia@orin.local`"
        raise EdgeresnetError("add", f"takes a name and an address, not {len(words)} words", hint=hint)
    return words[0], words[1]


def _known(path: Path | None, names: tuple[str, ...]) -> dict[str, Device]:
    from ..devices import book
    from ..errors import RecipeError

    found = path or book.find(Path())
    if found is None:
        hint = "`edgeresnet devices add NAME user@host` writes an entry"
        raise RecipeError(book.NAME, f"does not exist here, nor as {book.own()}", hint=hint)
    known = book.read(found)
    return book.named(names, known) if names else known


def _look(known: dict[str, Device], targets: tuple[str, ...], *, as_json: bool) -> int:
    """Look at all of them at once: each may take seconds."""
    from concurrent.futures import ThreadPoolExecutor

    from ..devices import looking

    with ThreadPoolExecutor(max_workers=max(len(known), 1)) as pool:
        looked = [pool.submit(looking.look, name, device, targets) for name, device in known.items()]
        found = [each.result() for each in looked]
    if as_json:
        _output.print_json({"devices": [{**vars(each), "ready": each.ready} for each in found]})
    else:
        _print(found)
    return 0 if all(each.ready for each in found) else _NOT_READY


def _add(path: Path | None, name: str, device: Device, *, as_json: bool) -> int:
    """Write an entry after a look: with the device's identity, so that another one is noticed."""
    from ..devices import book, looking

    seen = looking.look(name, device)
    if seen.facts:
        target = path or book.find(Path()) or book.own()
        book.add(target, name, device.model_copy(update={"id": seen.facts.identity}))
        _output.echo(f"wrote {name} into {target}", err=True)
    if as_json:
        _output.print_json({"devices": [{**vars(seen), "ready": seen.ready}]})
    else:
        _print([seen])
    return 0 if seen.ready else _NOT_READY


def _print(found: list[Seen]) -> None:
    from .. import text

    width = max((len(each.name) for each in found), default=0) + 2
    for seen in found:
        head, *more = _lines(seen)
        _output.echo(text.wrapped(f"{seen.name:{width}}{head}", width))
        for line in more:
            _output.echo(text.wrapped(f"{'':{width}}{line}", width))


def _lines(seen: Seen) -> Iterator[str]:
    about = (
        ", ".join(filter(None, [seen.facts.board or seen.facts.system, seen.facts.host])) if seen.facts else seen.ssh
    )
    yield f"{'ready' if seen.ready else 'not ready'}: {about}"
    yield from seen.problems
    if seen.hint:
        yield f"-> {seen.hint}"
    if seen.facts:
        yield _software(seen, seen.facts)
        yield _conditions(seen.facts)
    yield from seen.notes


def _software(seen: Seen, facts: Facts) -> str:
    libraries = {"Python": facts.python, "numpy": facts.versions.get("numpy", ""), **seen.measures}
    return ", ".join(f"{name} {version or 'missing'}" for name, version in libraries.items())


def _conditions(facts: Facts) -> str:
    known = [
        f"power mode {facts.power_mode}" if facts.power_mode else "",
        f"governor {facts.governor}" if facts.governor else "",
        f"{facts.cpu_mhz:.0f} MHz" if facts.cpu_mhz else "",
        f"{facts.temperature_c:.0f} °C" if facts.temperature_c else "",
        f"load {facts.load:.1f}",
        f"{facts.free_mb / 1e3:,.1f} GB free",
        f"energy: {', '.join(facts.sensors) or 'no sensor'}",
        f"logged in: {', '.join(facts.logins)}" if facts.logins else "",
    ]
    return ", ".join(filter(None, known))
