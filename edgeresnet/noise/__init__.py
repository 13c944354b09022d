"""Which layers of an INT8 network lose accuracy, and by how much. Reads files of any quantizer.

strip (the file without Q/DQ) → pair (the FP32 network in its units) → scan (all layers, estimated; observe: what they
read) → confirm (the worst ones, run) → causes (why). diagnose does it all.
"""
