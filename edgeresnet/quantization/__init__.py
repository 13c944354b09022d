"""How INT8 is chosen and written: what the stages `calibrate` and `quantize` share.

equalize → ranges → scales → placement → refine → qdq: rescale channels so that one scale suits them, observe tensors,
choose scales, place Q/DQ, correct biases and weights, and write a graph.
"""
