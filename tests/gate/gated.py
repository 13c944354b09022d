"""A run compared with a baseline of the same run, and how tests read the report."""

from __future__ import annotations

from typing import Any

from edgeresnet import gate
from edgeresnet.portable.result import Verdict
from edgeresnet.runs import GateReport, Run

from . import runs

BASELINE = gate.of(runs.run(), gate.Margins(max_loss_pp=1.0, max_slowdown_pct=5.0))
NO_MARGINS = gate.Margins(None, None, None, None)


def baseline_of_openvino() -> gate.Baseline:
    return gate.of(runs.run(runs.result("openvino")), gate.Margins(max_slowdown_pct=5.0))


def judged(document: Run, baseline: gate.Baseline = BASELINE, **how: Any) -> GateReport:
    return gate.gate(document, baseline, **{"now": runs.NOW + 600, **how})


def words(found: GateReport) -> dict[str, str]:
    return {f"{one.target} {one.promise.name}": one.verdict for one in found.verdicts}


def of_openvino(found: GateReport, promise: str) -> Verdict:
    return next(one for one in found.verdicts if (one.target, one.promise.name) == ("openvino", promise))
