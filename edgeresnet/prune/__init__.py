"""Structured pruning: channels are cut out whole, and what is left is an ordinary, narrower network.

units (what stands or falls together) → importance → choose (for a goal, in widths that compilers like) → cut.
"""
