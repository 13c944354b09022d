"""Cut the line to a device at random moments, and compare what comes back with an undisturbed measurement.

    python -m tests.hostile.lines --count 50

Two devices are served by this machine's sshd, each through a proxy of its own: 50 ms in each direction, and one
block of twenty comes 250 ms late, as a packet that is lost and sent again does. Each measurement has one cut, when
the seed has it; one cut of five is silent: nothing arrives any more, and nothing is closed. In the end each
measurement must have begun once, its result must be the same, and nothing may be left on the devices.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from edgeresnet.devices import measuring
from edgeresnet.devices.book import Device

from ..devices import bundle, sshd

_DELAY_S, _LATE_S, _LOST, _SILENT = 0.05, 0.25, 0.05, 0.2
_STEPS = """
with open(STARTS, "a") as file:
    file.write(str(output.parent.name) + "\\n")
for number in range(1, 6):
    time.sleep(0.3)
    print(f"timed: {number} of 5 processes", file=sys.stderr, flush=True)
output.write_text(json.dumps({"sum": sum(pathlib.Path(sys.argv[0]).with_name("data.bin").read_bytes())}))
sys.exit(0)
"""


@dataclass
class Proxy:
    """A slow line to a port, in a thread of its own."""

    port: int
    seed: int
    own_port: int = 0
    silent: bool = False
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def start(self) -> None:
        self.rng, ready = random.Random(self.seed), threading.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
            self.own_port = server.sockets[0].getsockname()[1]
            ready.set()

        self.loop.create_task(serve())
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        ready.wait()

    def cut(self, *, silent: bool) -> None:
        """Cut every connection: close it, or let nothing more through it."""
        self.loop.call_soon_threadsafe(self._silence if silent else self._close)

    def _silence(self) -> None:
        self.silent = True

    def _close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.silent = False  # a new connection goes through; the old ones were silent long enough to be given up
        self._close()
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers += [writer, to_writer]
        await asyncio.gather(self._pump(reader, to_writer), self._pump(to_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(1 << 16):
                await asyncio.sleep(_DELAY_S + (_LATE_S if self.rng.random() < _LOST else 0))
                while self.silent and writer in self.writers:
                    await asyncio.sleep(0.1)
                writer.write(block)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()


class _Watcher:
    def progress(self, done: int, total: int, word: str) -> None: ...
    def line(self, text: str) -> None: ...
    def remark(self, sentence: str) -> None: ...


def _measured(device: Device, made: Path, job: str) -> bytes:
    order = measuring.Order("device", device, "onnxruntime", made, job, lambda data, seen: data)
    return measuring.measure(order, _Watcher(), threading.Event())


def _device(folder: Path, number: int, count: int, seed: int) -> list[str]:
    """Return what is wrong with the measurements on one device."""
    folder.mkdir()
    server, rng, wrong = sshd.made(folder), random.Random(seed + number), []
    server.start()
    proxy = Proxy(server.port, seed + number)
    proxy.start()
    config = server.config.read_text().replace(f"Port {server.port}", f"Port {proxy.own_port}")
    known = folder / "known"
    known.write_text(known.read_text().replace(f":{server.port} ", f":{proxy.own_port} "))
    server.config.write_text(config)
    starts = folder / "starts"
    device = server.device(python=sys.executable)
    steps = f"STARTS = {str(starts)!r}\n{_STEPS}"
    wanted = _measured(device, bundle.made(folder / "bundle", steps), "aaaaaaaa")
    for each in range(count):
        job, began = f"{number:04x}-{each:08x}", time.monotonic()
        made = bundle.made(folder / f"bundle-{each}", steps, own=bytes([each % 256]) * 300_000)
        silent, after_s = rng.random() < _SILENT, rng.uniform(0.2, 5.0)
        timer = threading.Timer(after_s, proxy.cut, kwargs={"silent": silent})
        timer.start()
        found = _measured(device, made, job)
        timer.join()
        begun = starts.read_text().split().count(job)
        fine = found == wanted and begun == 1
        words = f"device {number}, cut {each + 1}: {'silent' if silent else 'closed'} after {after_s:.1f} s, "
        words += (
            f"{begun} start, {'the same' if found == wanted else 'another'} result, {time.monotonic() - began:.1f} s"
        )
        print(words, flush=True)
        wrong += [] if fine else [words]
    time.sleep(1)
    left = [str(path) for path in (folder / "edgeresnet" / "jobs").iterdir()]
    left += [path.name for path in Path("/proc").glob("[0-9]*") if _is_of(path, folder / "edgeresnet")]
    server.stop()
    return [*wrong, *(f"left on device {number}: {each}" for each in left)]


def _is_of(process: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return str(folder).encode() in (process / "cmdline").read_bytes()
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50, help="measurements with a cut line")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    counts = (given.count // 2, given.count - given.count // 2)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as pool:
        working = [pool.submit(_device, Path(name) / str(n), n, each, given.seed) for n, each in enumerate(counts)]
        wrong = [line for each in working for line in each.result()]
    print("\n".join(wrong))
    cut = sum("cut" in line for line in wrong)
    print(
        f"{given.count - cut} of {given.count} measurements are as an undisturbed one, {len(wrong) - cut} things left"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
