"""NNCF's accuracy control, as a job of `_peers.py`: runs in the interpreter that has the peers."""

from __future__ import annotations

from typing import Any

import numpy as np


def nncf_control(job: dict[str, Any]) -> None:
    """Quantize by NNCF with control of its accuracy: layers go back to float until top-1 drops by at most `drop`."""
    import nncf
    import onnx
    import onnxruntime
    from nncf.quantization.advanced_parameters import AdvancedAccuracyRestorerParameters as Advanced

    nncf.set_log_level(40)
    options = dict(job["options"])
    model = onnx.load(job["onnx"])
    name = model.graph.input[0].name
    chosen, labels = np.load(job["choosing"]), np.load(job["labels"])
    batches = [(chosen[start : start + 50], labels[start : start + 50]) for start in range(0, len(chosen), 50)]

    def top1(found: Any, data: Any) -> float:
        network = found if hasattr(found, "run") else None
        if network is None:
            run = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
            answers = ((run.run(None, {name: feed[name]})[0], given) for feed, given in data)
        else:
            answers = ((next(iter(network(feed).values())), given) for feed, given in data)
        counts = [(int((logits.argmax(1) == given).sum()), len(given)) for logits, given in answers]
        return sum(right for right, _ in counts) / sum(all_ for _, all_ in counts)

    quantized = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(list(np.load(job["images"])[:, None]), lambda images: {name: images}),
        nncf.Dataset([({name: images}, given) for images, given in batches], lambda pair: pair[0]),
        top1,
        max_drop=options.pop("drop"),
        target_device=nncf.TargetDevice.CPU,
        advanced_accuracy_restorer_parameters=Advanced(**options),
    )
    onnx.save(quantized, job["out"])
