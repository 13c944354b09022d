"""Networks timed while a deed works: traced, written as they would ship, compiled, and asked in turn.

The conductor hands it to the deed, so that no deed imports another. What is written here is timed and thrown away: the
INT8 form has every Q/DQ where the real one has it, between scales that are made up. Knows no goal.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import targets
from ..context import Context
from ..errors import TargetError
from ..portable import evaluation, manifest, measure
from ..portable.preprocessing import Preprocessing
from ..portable.session import Dialect, Signature
from ..portable.worker import Job
from ..stages.compile import compile_network
from ..store import Given

_SEED = 0


class Measuring:
    """`spec` is the step's own: its channels and size, and under `timed` each target with what would ship to it."""

    def __init__(self, spec: Mapping[str, Any], ctx: Context):
        self.spec, self.ctx = spec, ctx

    def __call__(
        self, networks: Mapping[str, Any], *, processes: int, seconds: float
    ) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """`networks` are torch's. One name is one network: what was compiled once is not compiled again."""
        return {target: self._on(target, networks, processes, seconds) for target in self.spec["timed"]}

    def _on(self, name: str, networks: Mapping[str, Any], processes: int, seconds: float) -> dict[str, dict[str, Any]]:
        target = targets.get(name)
        try:
            jobs = {title: self.job(name, title, network) for title, network in networks.items()}
            with evaluation.as_failure():
                return measure.latency(jobs, processes=processes, seconds=seconds)
        except TargetError as problem:
            raise TargetError(f"{target.title} {problem.message}", hint=problem.hint) from problem

    def job(self, name: str, title: str, network: Any) -> Job:
        """One network, compiled for one target; what `title` was compiled as before is not looked at again."""
        about = self.spec["timed"][name]
        folder = self.ctx.scratch / "compiled" / f"{name}-{title}"
        if manifest.read(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            source = self._written(about, network, folder.with_name(f"{folder.name}-work"))
            given = {"network": Given(manifest.sha256_of(source), source)}
            # What it warns of, it warns of again where the network is compiled to ship.
            notes = compile_network(given, about, folder, replace(self.ctx, scratch=source.parent, warnings=[]))
            shutil.rmtree(source.parent)
            manifest.write(folder, notes=notes)
        stored = manifest.read(folder)
        assert stored is not None
        return Job(targets.get(name), folder, _batch(Signature(**stored["notes"]["signature"])))

    def _written(self, about: Mapping[str, Any], network: Any, work: Path) -> Path:
        """As ONNX, in the dialect where INT8 would ship."""
        import onnx

        from ..graph import canonical
        from ..stages import quantize, trace

        work.mkdir(parents=True, exist_ok=True)
        model = trace.to_onnx(network, self.spec["channels"], self.spec["size"])
        if self.spec["batch"] != "dynamic":
            canonical.set_batch(model, self.spec["batch"])
        if "dialect" in about:
            pixels = Preprocessing.from_json(about["images"])
            model = quantize.stand_in(model, Dialect(**about["dialect"]), tuple(about["exclude"]), pixels)
        onnx.save(model, work / "network.onnx")
        return work / "network.onnx"


def _batch(about: Signature) -> np.ndarray:
    """Noise: how long an inference takes does not depend on what it sees."""
    rng, shape = np.random.default_rng(_SEED), about.shape(about.batch or about.least)
    if about.pixels:
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.standard_normal(shape, dtype=np.float32)
