"""How weights learn: what the stages `train` and `recover` share.

parts (what learns, and how fast) → batches, with their labels and moves → loop (epochs, the best one, saved state).
`process_group` is several processes under torchrun, `precision` is FP32 or BF16, `metadata` is what a weights file
holds next to its tensors.
"""
