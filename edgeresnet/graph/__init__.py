"""ONNX → ONNX. Each file is one rewriting with a contract; none knows recipes, images or targets."""
