"""KServe's client. Its packages do not go with ours, so that it is a program of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conformance.call import NAME, expected
from tests.conformance.environment import kserve_python
from tests.support import recordings

pytestmark = pytest.mark.server


def test_the_client(server_url: str) -> None:
    program = Path(__file__).with_name("kserve_client.py")
    command = [kserve_python(), program, server_url, recordings.FOLDER / NAME]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert json.loads(found.pop("RESULT"))["text"] == found["TEXT"]
    assert found == {"live": True, "ready": True, "model": True, "TEXT": expected().decode()}
