"""Builds the network of this bundle on this device, measures it, and writes result.json. `--help` lists the options.

Needs Python 3.10, numpy and the runtime that README.md names; nothing is installed or sent anywhere.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
if sys.version_info < (3, 10):  # checked before anything is read that an older one could not read
    sys.exit("error: deploy.py needs Python 3.10 or newer, this is %d.%d (try python3.10)" % sys.version_info[:2])
try:
    import numpy  # noqa: F401
except ImportError:
    sys.exit("error: deploy.py needs numpy (python3 -m pip install numpy)")

if __name__ == "__main__":  # the timed processes import this folder's modules themselves
    sys.dont_write_bytecode = True  # the bundle stays as it came
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.path.insert(0, HERE)
    from pathlib import Path

    from edgeresnet.stages.export import on_device

    sys.exit(on_device.main(Path(HERE)))
