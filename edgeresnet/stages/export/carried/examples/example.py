"""Calls what deploy.py built, in Python: `python3 examples/example.py photograph.jpg`, from anywhere.

Reads the image with Pillow or OpenCV, whichever is here, and prints the three best answers; of a detector, ten boxes.
"""

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True  # the bundle stays as it came
sys.path.insert(0, str(HERE))

from edgeresnet.portable import decoding, inference  # noqa: E402
from edgeresnet.stages.export.contents import BUILT, Bundle  # noqa: E402


def main(photograph: Path) -> None:
    bundle = Bundle.open(HERE)
    built = HERE / BUILT / bundle.about.ships
    if not built.is_dir():
        sys.exit("error: nothing is built yet: python3 deploy.py")
    target = importlib.import_module("edgeresnet.targets." + bundle.about.target).TARGET
    read = (decoding.decoded(library, [photograph], bundle.preprocessing) for library in decoding.LIBRARIES)
    pixels = next((image for image in read if image is not None), None)
    if pixels is None:
        sys.exit("error: neither Pillow nor OpenCV is here to read it")
    with target.load(built) as session:
        taken = pixels if session.signature.pixels else bundle.preprocessing.normalize(pixels)
        logits = inference.infer(session, taken)[0]
    if logits.ndim > 1:  # of each class: its part of all pixels, or its best box
        outputs = bundle.outputs
        seen = outputs.of_task.seen(outputs.kept(logits[None]), outputs)
        logits = seen.classes
        if seen.boxes is not None:
            for (left, top, width, height), number, score in list(zip(*seen.boxes, strict=True))[:10]:
                place = f"{width:.1f} × {height:.1f} pixels, left {left:.1f}, top {top:.1f}"
                print(f"{bundle.about.classes[number]}: {score:.2f}, {place}")
            return
    for answer in logits.argsort()[::-1][:3]:
        print(f"{bundle.about.classes[answer]}: {logits[answer]:.2f}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 examples/example.py photograph.jpg")
    main(Path(sys.argv[1]))
