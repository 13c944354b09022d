"""What is sent to a device, run as it is there: a Python that has nothing of edgeresnet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeresnet.devices import looking, ssh
from edgeresnet.portable import sensor_files

pytestmark = pytest.mark.unit


def test_it_runs_alone_and_finds_the_sensors_that_energy_is_measured_with(tmp_path: Path) -> None:
    code = ssh.program()
    request = {"op": "look", "folder": str(tmp_path / "folder"), "libraries": ["numpy", "no-such-library"]}
    sent = b"%d\n" % len(code) + code + b"word\n" + json.dumps(request).encode() + b"\n"
    alone = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-c", ssh._FIRST]
    done = subprocess.run(command, input=sent, capture_output=True, cwd=tmp_path, env=alone, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    greeting, answer = done.stdout.strip().splitlines()
    assert greeting == b"edgeresnet-agent word"
    found = looking.facts_of("here", json.loads(answer))
    assert found.versions["no-such-library"] == ""
    assert found.sensors == tuple(sensor_files.kinds())
