"""A gate: a run is compared with a baseline that a person reviewed. May this change be merged?

record (what is compared on one target) → baseline (what is recorded of a run, and how it is read again) → judged (a
run's targets compared with the baseline's) → one report, which includes the run's own promises. Measures nothing,
prints nothing, and needs neither the store nor a runtime.

**The rule.** Everything is a comparison with the baseline's own record: its answers image by image, and its times only
as ratios to others that were taken in turn with them. KEPT means: the 95 % interval lies within the margin. BROKEN
needs more than that, since a gate runs at every change and has many promises. Of 100 runs in which no accuracy lost
more than its margin and no time changed, at most one is red by chance, all promises taken together.

- An accuracy is BROKEN where no truth within the margin explains the answers.
- A time is BROKEN where it is slower than before beyond doubt, and by more than the margin as far as was measured.
  Times are too noisy to be sure of both, so a slow-down just inside its margin may be red. The interval counts the
  noise of both measurements, the baseline's and the run's, without the fifth of the processes at each end; and what
  moves from hour to hour, where neither measurement shows it.
- Four fifths of the chance of an error are divided among the accuracies, which need it most, one fifth among the times.
- Between KEPT and BROKEN lies UNDECIDED. It is red if the recipe or the baseline has `undecided: fail`.
- The recipe's own promises are judged as in any run.
- What is missing, is not a number, or cannot be compared is NOT_MEASURED, and never a pass.

`benchmarks/gate_power.py` shows how often this is red, and for what.
"""

from ..runs import Margins
from .baseline import FORMAT, Baseline, margins_of, of, parse_margins, read, remarks, text
from .judged import gate

__all__ = ["FORMAT", "Baseline", "Margins", "gate", "margins_of", "of", "parse_margins", "read", "remarks", "text"]
