"""A sweep: one recipe with a space around it, searched for the best points by several objectives.

keys (SWEEP.yaml) → loading (a `Sweep`: every wrong key at once, and each point a valid recipe) → study (what was tried,
in a database; Optuna proposes there, and nowhere else) → loop (ask, run, tell) → front (which points none beats). A
`Runner` runs a trial: `pipeline/trials.py` does so in this process. `document` is what reports read.
"""
