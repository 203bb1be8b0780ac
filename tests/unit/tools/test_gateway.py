"""tools/gateway.py: what `make gateway` runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2

from asr_client.testing import FakeServer

ROOT = Path(__file__).parents[3]


def test_it_prints_the_address_and_ends_with_its_signal(tmp_path: Path):
    with FakeServer() as server:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import signal, sys; from tools.gateway import run;"
                "signal.signal(signal.SIGTERM, signal.default_int_handler);"
                "sys.exit(run(sys.argv[1], sys.argv[2:]))",
                server.url,
                "--http-port=0",
            ],
            cwd=ROOT,
            env=os.environ | {"HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        found = re.search(r"listening on (\S+)", process.stderr.readline())
        assert found
        assert httpx2.get(f"{found[1]}/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "stopped" in rest
