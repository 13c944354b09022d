"""The pipeline, one file for each stage: recognise, train, prune, recover, trace, calibrate, quantize, compile, verify,
export.

A stage reads its inputs and its spec, and writes a folder. No stage imports another.
"""
