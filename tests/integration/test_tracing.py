"""Triton continues the trace of the SDK."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from asr_backend.server.prepare import tritonserver
from asr_client import Client, RetryPolicy
from tools.local_server import free_ports

pytestmark = pytest.mark.server

CONFIG = """
name: "transcribe"
backend: "python"
max_batch_size: 16
input [
  { name: "AUDIO" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "OPTIONS" data_type: TYPE_STRING dims: [ 1 ] }
]
output [
  { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "RESULT" data_type: TYPE_STRING dims: [ 1 ] }
]
"""
RESULT = {
    "contract": 1,
    "text": "traced",
    "duration_s": 1.0,
    "confidence": 1.0,
    "model": {"id": "none", "revision": "1"},
    "timing_ms": {"decode": 0, "acoustic": 0, "ctc": 0, "total": 0},
}
MODEL = f"""
import json
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        values = {{"TEXT": "traced", "RESULT": json.dumps({RESULT!r})}}
        tensors = [
            pb_utils.Tensor(name, np.array([[value.encode()]], np.object_))
            for name, value in values.items()
        ]
        return [pb_utils.InferenceResponse(tensors) for _ in requests]
"""


class Collector(http.server.ThreadingHTTPServer):
    """Receives what an OTLP exporter sends over HTTP, in JSON."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.spans: list[dict[str, Any]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"


class _Taker(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for resource in document["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                self.server.spans += scope["spans"]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made
        made.shutdown()


@pytest.fixture
def url(collector: Collector, tmp_path: Path) -> Iterator[str]:
    """A tritonserver that traces only on request, with a model that takes no time."""
    version = tmp_path / "models" / "transcribe" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(MODEL)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    found = tritonserver.find("")
    (port,) = free_ports(1)
    tracing = ("mode=opentelemetry", "rate=0", "level=TIMESTAMPS", "count=-1")
    tracing += (f"opentelemetry,url={collector.url}", "opentelemetry,bsp_schedule_delay=50")
    command = [
        found.program,
        f"--model-repository={version.parents[1]}",
        f"--backend-directory={found.backend_directory(tmp_path)}",
        f"--backend-config=python,shm-region-prefix-name=traced-{os.getpid()}-",
        *("--grpc-address=127.0.0.1", f"--grpc-port={port}"),
        *("--allow-http=false", "--allow-metrics=false"),
        *(f"--trace-config={setting}" for setting in tracing),
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=tritonserver.environment(found, os.environ)
        )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_triton_s_spans_are_below_the_attempt(url: str, collector: Collector) -> None:
    context = trace.SpanContext(
        0x1234567890ABCDEF1234567890ABCDEF,
        0x1234567890ABCDEF,
        is_remote=False,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    collected = collector.spans
    with Client(url, timeout_s=120) as client, trace.use_span(trace.NonRecordingSpan(context)):
        # It says that it is unavailable until the model has been loaded.
        patient = RetryPolicy(max_attempts=1000, max_backoff_s=0.5, budgeted=False)
        assert client.transcribe(b"any", retry=patient).text == "traced"
        deadline = time.monotonic() + 60
        while not {"transcribe", "InferRequest"} <= {span["name"] for span in list(collected)}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert {span["traceId"] for span in collected} == {f"{context.trace_id:032x}"}
    assert f"{context.span_id:016x}" in {span.get("parentSpanId") for span in collected}
    assert "transcribe" in {span["name"] for span in collected}
