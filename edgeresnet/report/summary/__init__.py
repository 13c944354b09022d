"""Every number and sentence of a run, computed once: reports print them, and compute nothing.

`of(run)` is the summary of a run. What other reports need as well (a bench, a comparison, what one stage did) is public
here, too: how numbers are written (`cells`), speed-ups, trainings, prunings.
"""

from __future__ import annotations

from .cells import (
    ACCURACY_COLUMNS,
    LATENCY_COLUMNS,
    Table,
    accuracy_cells,
    drop_cell,
    flips_cell,
    latency_cells,
    ms,
    percent,
    process_p50s,
    ratio_cell,
    short_number,
    signed,
    span,
    sqnr,
    table,
    top1_cell,
)
from .changed_images import ChangedImage, changed_images, changes_sentence
from .classes import CLASS_COLUMNS, ClassChange
from .conditions import machine_lines
from .learning import EPOCH_COLUMNS, best_epoch_sentence, epoch_cells, epoch_rows, recovery_sentence, training_sentence
from .pruning import (
    CUT_COLUMNS,
    REMAINING_COLUMNS,
    UNTIMED,
    Cut,
    CutSearch,
    Pruning,
    Remaining,
    cut_searches,
    pruned_sentence,
    remaining_of,
    remaining_table,
    slower_sentences,
)
from .quantizing import noisiest_layers, quantizing_sentences
from .remarks import reason
from .short import (
    advice_choices,
    chance_sentence,
    counts_by_verdict,
    ended_early,
    image_count,
    machine_name,
    noise_sentence,
    promise_choices,
    promises,
    state,
    target_choices,
    to_ship,
    version_of,
)
from .speedups import Speedup, speedup, speedups_of
from .summarize import Learning, Summary, of, title, title_parts
from .targets import Metric, TargetSummary
from .tradeoff import TradeoffPoint, frontier, tradeoff_points

__all__ = [
    "ACCURACY_COLUMNS",
    "CLASS_COLUMNS",
    "CUT_COLUMNS",
    "EPOCH_COLUMNS",
    "LATENCY_COLUMNS",
    "REMAINING_COLUMNS",
    "UNTIMED",
    "ChangedImage",
    "ClassChange",
    "Cut",
    "CutSearch",
    "Learning",
    "Metric",
    "Pruning",
    "Remaining",
    "Speedup",
    "Summary",
    "Table",
    "TargetSummary",
    "TradeoffPoint",
    "accuracy_cells",
    "advice_choices",
    "best_epoch_sentence",
    "chance_sentence",
    "changed_images",
    "changes_sentence",
    "counts_by_verdict",
    "cut_searches",
    "drop_cell",
    "ended_early",
    "epoch_cells",
    "epoch_rows",
    "flips_cell",
    "frontier",
    "image_count",
    "latency_cells",
    "machine_lines",
    "machine_name",
    "ms",
    "noise_sentence",
    "noisiest_layers",
    "of",
    "percent",
    "process_p50s",
    "promise_choices",
    "promises",
    "pruned_sentence",
    "quantizing_sentences",
    "ratio_cell",
    "reason",
    "recovery_sentence",
    "remaining_of",
    "remaining_table",
    "short_number",
    "signed",
    "slower_sentences",
    "span",
    "speedup",
    "speedups_of",
    "sqnr",
    "state",
    "table",
    "target_choices",
    "title",
    "title_parts",
    "to_ship",
    "top1_cell",
    "tradeoff_points",
    "training_sentence",
    "version_of",
]
