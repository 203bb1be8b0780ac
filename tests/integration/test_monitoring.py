"""Every metric that the dashboards, the rules and the documentation name is on a real page."""

from __future__ import annotations

import random
import re
from pathlib import Path

import grpc
import openai
import pytest

from asr_client import Client, InvalidAudio
from tests.support import recordings
from tests.support.gateway.running import running
from tests.support.live import LiveStream, call, connect, encoded
from tests.support.monitoring import expressions, rules
from tests.support.server.dummy_server import wait_for
from tools.dashboard_panels import DASHBOARDS
from tools.local_server import LocalServer
from tools.promql import selectors

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
OF_GPUS = {"nv_gpu_utilization", "nv_gpu_memory_used_bytes", "nv_gpu_memory_total_bytes"}
WITH_TLS = {"asr_certificate_expiry_timestamp_seconds"}
"""tests/unit/server/supervise/test_health.py sees it, and the recordings of two cases do."""
OF_PROMETHEUS = {"up"}
PACKAGES = {"asr_backend", "asr_client", "asr_gateway"}


@pytest.fixture(scope="module")
def seen(server: LocalServer) -> set[str]:
    """The names on the three pages, after a good call and a bad one."""
    clip = recordings.wav(recordings.pcm("cards-004-five-five.wav"))
    with Client(server.url, timeout_s=120) as client, running(server.url) as gateway:
        client.transcribe(clip)
        with pytest.raises(InvalidAudio):
            client.transcribe(b"no audio" * 10)
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="unused") as caller:
            caller.audio.transcriptions.create(model="whisper-1", file=("clip.wav", clip))
        with connect(server.url) as channel:
            audio = encoded(recordings.samples("cards-003-seven-of-clubs.wav"), "pcm_s16le")
            options = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}
            LiveStream(channel, options).run([audio], random.Random(1))
            with pytest.raises(grpc.RpcError):
                call(channel, b"x", options)
        # The last metrics of a look, which are counted after its answer.
        for name in ("asr_stream_segments_total", "asr_stream_failures_total"):
            wait_for(lambda name=name: f"{name}{{" in server.metrics())
        pages = [
            server.metrics(),
            server.health_page("/metrics")[1],
            gateway.metrics.page().decode(),
        ]
    return {name for page in pages for name in names_on(page)}


def names_on(page: str) -> set[str]:
    """Names of samples, those of families without a sample yet among them."""
    found = set(re.findall(r"^(\w+)(?:\{[^}]*\})? \S+$", page, re.MULTILINE))
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", page, re.MULTILINE):
        parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found |= {name + part for part in parts}
    return found


def wanted(names: set[str]) -> set[str]:
    """Those of them that a server without a GPU and TLS must have."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return names - (recorded | OF_GPUS | WITH_TLS | OF_PROMETHEUS)


def test_the_dashboards_ask_for_what_there_is(seen: set[str]):
    asked = {
        selector.name
        for dashboard in DASHBOARDS
        for expression in expressions(dashboard)
        for selector in selectors(expression)
    }
    assert wanted(asked) - seen == set()


def test_the_rules_ask_for_what_there_is(seen: set[str]):
    asked = {selector.name for rule in rules() for selector in selectors(rule["expr"])}
    assert wanted(asked) - seen == set()


def test_the_documentation_names_what_there_is(seen: set[str]):
    """Names of histograms stand there without `_bucket`."""
    families = seen | {re.sub("_(bucket|sum|count)$", "", name) for name in seen}
    for page in ("metrics.md", "runbook.md", "gateway.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        named = set(re.findall(r"\b((?:asr|nv)_[a-z0-9_]+)\b", text))
        assert wanted(named) - families - PACKAGES == set(), page
