"""A run held against a baseline that a person reviewed: may this change be merged?

baseline (what is kept of a run, and how it is read again) → judged (a run's targets against it) → one document, with
the run's own promises beside it. Measures nothing, prints nothing, and needs neither the store nor a runtime.

**The rule.** Everything is a comparison with the baseline's own record: its answers image by image, and its times only
as parts of others that were taken in turn with them. KEPT is what the 95 % interval shows to lie within the margin.
BROKEN asks for more than that, since a gate is asked at every change and has many promises: all together are red by
chance in at most one of 100 runs of which no accuracy lost more than its margin and no time changed. An accuracy is
BROKEN where no truth within the margin explains the answers; a time is where it is slower than before beyond doubt, and
by more than the margin as far as was measured: times are too noisy to be sure of both, so a slow-down just inside its
margin may be red. What is known of them counts the noise of both measurements, the baseline's and the run's, but for
the fifth of the processes at each end, and what moves from hour to hour where neither sees it. Four fifths of the
chance are divided among the accuracies, which need it most, one fifth among the times. Between KEPT and BROKEN lies
UNDECIDED, which is as red as the recipe says, or said in the baseline; the recipe's own promises are judged as in any
run. What is missing, is no number, or cannot be compared is NOT_MEASURED, and no pass. `benchmarks/gate_power.py` shows
how often this is red, and for what.
"""

from .baseline import FORMAT, Margins, margins_of, of, read, remarks, text
from .judged import gate

__all__ = ["FORMAT", "Margins", "gate", "margins_of", "of", "read", "remarks", "text"]
