"""How INT8 is chosen and written: what the stages `calibrate` and `quantize` share.

equalize → ranges → scales → placement → refine → qdq: channels are rescaled so that they need one scale, tensors are
observed, scales are chosen, Q/DQ get their places, biases and weights are corrected, and a graph is written.
"""
