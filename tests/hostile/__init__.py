"""Damaged and malicious input, as many cases as one likes: `python -m tests.hostile` runs all rows and prints a table.

attempt (one command in a process of its own, under a time limit) · case (a damaged input and the commands that read it)
· documents, recipes, lists, checkpoints, graphs, pictures, stores (the rows) · binary, npz, tensors, protobuf (bytes
that the rows are made of) · world (what there is to damage).
Cases follow from a seed alone: the same seed gives the same cases, also to another version of edgeresnet.
"""
