"""Searches that measure as they go: how many times as fast a pruned network is, which layers of an INT8 one stay float.

forecast (what the verdict will be, without labels) → control (which layers stay float), on the network of `layers` and
within the minutes of `int8`. `speedup` (how far a network is pruned) goes down a ladder. Both write in a journal: what
was measured is stored at once, so that an interrupted search measures nothing twice.
"""
