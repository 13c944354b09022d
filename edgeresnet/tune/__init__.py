"""Searches that measure as they go: how many times as fast a pruned network is, which layers of an INT8 one stay float.

forecast (what the verdict will be, without labels) → control (which layers stay float) · journal (what was measured is
stored at once, so that an interrupted search measures nothing twice).
"""
