"""Schemathesis makes requests of all kinds from the gateway's own description."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conformance import environment
from tests.support.gateway.running import RunningGateway

pytestmark = pytest.mark.conformance

MIN_CASES = 2000
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


# A minute on 2 idle cores, four where other work loads them.
@pytest.mark.timeout(480)
def test_no_request_makes_the_gateway_fail(gateway: RunningGateway, tmp_path: Path):
    command = [
        environment.schemathesis_python(),
        "-m",
        "schemathesis.cli",
        "run",
        f"{gateway.url}/openapi.json",
        f"--checks={','.join(CHECKS)}",
        "--max-examples=150",
        "--seed=1",
        "--no-color",
        "--warnings=off",
    ]
    hooks = Path(__file__).with_name("schemathesis_hooks.py")
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(hooks)},
        capture_output=True,
        text=True,
        timeout=450,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert cases, done.stdout
    assert int(cases[1]) >= MIN_CASES
    assert gateway.metric("asr_gateway_recognitions_total", outcome="succeeded") > 0
