"""What runs on a device: sent over SSH's input, run by the device's Python, installed nowhere.

machine (what is known of the device) · bundles (files, each once) · work (the measurement, which needs no line) · jobs
(their states) · serve (requests). `portable/machine_files.py` and `portable/sensor_files.py` are sent with it. The
standard library alone, and syntax that Python 3.6 reads, so that an old one is refused in words.
`docs/concepts/devices.md` has the protocol, the folder and the states.
"""
