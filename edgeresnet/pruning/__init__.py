"""How channels are chosen and removed: what the stage `prune` is made of.

units (which channels belong together) → importance → choose (for a goal, in widths that compilers like) → cut. For a
speed-up `speed` measures pruned networks, and `search` chooses among them.
"""
