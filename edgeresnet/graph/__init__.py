"""ONNX → ONNX: each file rewrites or checks a graph; none knows recipes, images or targets."""
