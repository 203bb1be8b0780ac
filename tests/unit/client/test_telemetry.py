"""What the hook, OpenTelemetry and the log are told of calls."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asr_client import AsrError, AsyncClient, Attempt, Client, InvalidAudio, RetryPolicy
from asr_client.testing import FakeServer, Fault
from tests.support.client.driver import Driver

SILENCE = np.zeros(1600, np.int16)
METHOD = "inference.GRPCInferenceService/ModelInfer"


def say(client: Any, **options: Any) -> Any:
    return client.transcribe(SILENCE, sample_rate=16_000, **options)


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """A process has one provider, for good."""
    made = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    trace.set_tracer_provider(provider)
    return made


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def context(span: ReadableSpan) -> str:
    """A span's context as a header."""
    assert span.context is not None
    trace_id, span_id = span.context.trace_id, span.context.span_id
    return f"00-{trace_id:032x}-{span_id:016x}-{span.context.trace_flags:02x}"


# The hook.


def test_each_attempt_is_told(driver: Driver, server: FakeServer) -> None:
    told: list[Attempt] = []
    client = driver.open(server.url, on_attempt=told.append)
    server.fail(Fault.QUEUE_FULL, times=2)
    transcript = say(client)
    assert [attempt.status for attempt in told] == ["UNAVAILABLE", "UNAVAILABLE", "OK"]
    assert [attempt.number for attempt in told] == [1, 2, 3]
    assert {attempt.request_id for attempt in told} == {transcript.request_id}
    assert {attempt.address for attempt in told} == {server.url}
    assert [type(attempt.error).__name__ for attempt in told] == ["ServerBusy"] * 2 + ["NoneType"]
    assert [attempt.pause_s is None for attempt in told] == [False, False, True]
    assert all(0 < attempt.elapsed_s < 60 for attempt in told)


def test_the_last_attempt_has_the_error_of_the_call(driver: Driver, server: FakeServer) -> None:
    told: list[Attempt] = []
    client = driver.open(server.url, on_attempt=told.append)
    server.fail(Fault.CORRUPT_AUDIO)
    with pytest.raises(InvalidAudio) as raised:
        say(client)
    assert [(attempt.error, attempt.pause_s) for attempt in told] == [(raised.value, None)]


def test_an_attempt_that_ran_into_the_deadline_is_told(driver: Driver, server: FakeServer) -> None:
    told: list[Attempt] = []
    client = driver.open(server.url, on_attempt=told.append)
    server.delay_s = 60
    with pytest.raises(TimeoutError):
        say(client, timeout_s=0.2)
    assert [attempt.status for attempt in told] == ["DEADLINE_EXCEEDED"]


async def test_an_attempt_of_a_cancelled_task_is_told(server: FakeServer) -> None:
    told: list[Attempt] = []
    server.delay_s = 60
    async with AsyncClient(server.url, on_attempt=told.append) as client:
        task = asyncio.create_task(say(client))
        while not server.requests:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [(attempt.status, attempt.pause_s) for attempt in told] == [("CANCELLED", None)]


def test_questions_about_health_are_no_attempts(driver: Driver, server: FakeServer) -> None:
    told: list[Attempt] = []
    client = driver.open(server.url, on_attempt=told.append)
    assert client.is_ready()
    client.wait_until_ready()
    client.status()
    assert told == []


def test_looking_a_name_up_is_no_attempt(driver: Driver, server: FakeServer) -> None:
    told: list[Attempt] = []
    client = driver.open(f"dns:///{server.url}", on_attempt=told.append)
    say(client)
    assert [(attempt.number, attempt.address) for attempt in told] == [(1, server.url)]


def test_a_name_that_nobody_knows_is_one(driver: Driver) -> None:
    told: list[Attempt] = []
    client = driver.open("dns:///no-such-host.invalid:1", on_attempt=told.append)
    with pytest.raises(AsrError) as raised:
        say(client, retry=RetryPolicy(max_attempts=2, initial_backoff_s=0.001))
    assert [attempt.number for attempt in told] == [1, 2]
    assert told[-1].error is raised.value


def test_a_hook_that_fails_costs_no_transcript(
    driver: Driver, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    def count(attempt: Attempt) -> None:
        raise RuntimeError("no such counter")

    client = driver.open(server.url, on_attempt=count)
    assert say(client).text == "seven of clubs"
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("asr_client", "ERROR")
    assert "no such counter" in str(record.exc_text)


def test_what_is_no_hook_is_refused(driver: Driver) -> None:
    with pytest.raises(TypeError, match="on_attempt"):
        driver.open("localhost:1", on_attempt=3)


# OpenTelemetry.


def test_a_call_is_a_span_and_each_attempt_one_below_it(
    spans: InMemorySpanExporter, driver: Driver, server: FakeServer
) -> None:
    client = driver.open(server.url)
    server.fail(Fault.ENGINE_RESTARTING)
    request_id = say(client).request_id
    first, second, call = spans.get_finished_spans()
    assert call.name == "asr.transcribe"
    assert call.parent is None
    assert attributes(call) == {"asr.request_id": request_id, "asr.attempts": 2}
    host, port = server.url.split(":")
    sent_to = {"rpc.system.name": "grpc", "rpc.method": METHOD}
    sent_to |= {"server.address": host, "server.port": int(port)}
    assert attributes(first) == sent_to | {
        "asr.attempt": 1,
        "rpc.response.status_code": "UNAVAILABLE",
        "error.type": "UNAVAILABLE",
        "asr.code": "ENGINE_RESTARTING",
    }
    assert attributes(second) == sent_to | {"asr.attempt": 2, "rpc.response.status_code": "OK"}
    for attempt in (first, second):
        assert (attempt.name, attempt.kind) == (METHOD, trace.SpanKind.CLIENT)
        assert attempt.parent == call.context
    assert [span.status.is_ok for span in (first, second, call)] == [False, True, True]


def test_the_context_of_each_attempt_travels_with_it(
    spans: InMemorySpanExporter, driver: Driver, server: FakeServer
) -> None:
    client = driver.open(server.url)
    server.fail(Fault.QUEUE_FULL)
    say(client)
    first, second, _ = spans.get_finished_spans()
    sent = [request.metadata["traceparent"] for request in server.requests]
    assert sent == [context(first), context(second)]


def test_a_failed_call_is_a_span_with_its_error(
    spans: InMemorySpanExporter, driver: Driver, server: FakeServer
) -> None:
    client = driver.open(server.url)
    server.fail(Fault.CORRUPT_AUDIO)
    with pytest.raises(InvalidAudio):
        say(client)
    _, call = spans.get_finished_spans()
    assert not call.status.is_ok
    (event,) = call.events
    assert dict(event.attributes or {})["exception.type"].endswith("InvalidAudio")  # type: ignore[union-attr]


def test_spans_are_below_the_caller_s(
    spans: InMemorySpanExporter, driver: Driver, server: FakeServer
) -> None:
    client = driver.open(server.url)
    with trace.get_tracer("test").start_as_current_span("caller") as caller:
        say(client)
    _, call, _ = spans.get_finished_spans()
    assert call.parent == caller.get_span_context()


def test_spans_of_many_are_below_the_caller_s(
    spans: InMemorySpanExporter, server: FakeServer
) -> None:
    with (
        Client(server.url) as client,
        trace.get_tracer("test").start_as_current_span("caller") as caller,
    ):
        items = [b"fLaC 1", b"fLaC 2", b"fLaC 3"]
        assert all(outcome.transcript for outcome in client.transcribe_many(items, concurrency=2))
    calls = [span for span in spans.get_finished_spans() if span.name == "asr.transcribe"]
    assert [call.parent for call in calls] == [caller.get_span_context()] * 3


def test_no_span_is_left_open(spans: InMemorySpanExporter, server: FakeServer) -> None:
    server.delay_s = 60
    client = Client(server.url)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            say(client)
        except AsrError as error:
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(call,))
    thread.start()
    while not server.requests:
        thread.join(0.01)
    client.close()
    thread.join(30)
    assert len(errors) == 1
    assert [span.name for span in spans.get_finished_spans()] == [METHOD, "asr.transcribe"]


def test_without_opentelemetry_nothing_is_traced(server: FakeServer) -> None:
    code = f"""
import sys
sys.modules["opentelemetry"] = None
from asr_client import Client
with Client({server.url!r}) as client:
    print(client.transcribe(b"fLaC").text)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("seven of clubs\n", "")
    assert not any("trace" in key for key in server.requests[0].metadata)


def test_without_an_sdk_the_context_of_the_caller_travels(server: FakeServer) -> None:
    """The API alone makes no spans; older versions of it make invalid ones."""
    code = f"""
from opentelemetry import trace
from asr_client import Client
context = trace.SpanContext(0xA, 0xB, is_remote=False, trace_flags=trace.TraceFlags(1))
with Client({server.url!r}) as client, trace.use_span(trace.NonRecordingSpan(context)):
    print(client.transcribe(b"fLaC").text)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("seven of clubs\n", "")
    assert server.requests[0].metadata["traceparent"] == f"00-{0xA:032x}-{0xB:016x}-01"


def test_no_secret_is_told(
    spans: InMemorySpanExporter, driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Attempt] = []
    with FakeServer(token="hush-hush") as server, caplog.at_level(logging.DEBUG, "asr_client"):
        client = driver.open(server.url, token="hush-hush", on_attempt=told.append)
        server.fail(Fault.QUEUE_FULL)
        say(client)
        with pytest.raises(AsrError):
            say(driver.open(server.url, token="other", on_attempt=told.append))
        assert "hush-hush" not in str(server.requests)
    shown = [span.to_json() for span in spans.get_finished_spans()]
    shown += [str(vars(record)) for record in caplog.records]
    shown += map(repr, told)
    assert not any("hush-hush" in text or "other" in text for text in shown)


# The log.


def test_the_log_has_fields_and_constant_messages(
    driver: Driver, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = driver.open(server.url, retry=RetryPolicy(initial_backoff_s=0.001))
    server.fail(Fault.OUT_OF_MEMORY)
    with caplog.at_level(logging.DEBUG, "asr_client"):
        request_id = say(client).request_id
    again, ended = caplog.records
    assert (again.levelname, again.message) == ("INFO", "attempt failed, trying again")
    assert (ended.levelname, ended.message) == ("DEBUG", "attempt ended")
    fields = {key: value for key, value in vars(again).items() if key.startswith("asr_")}
    elapsed_s, pause_s = fields.pop("asr_elapsed_s"), fields.pop("asr_pause_s")
    assert 0 < elapsed_s < 60
    assert 0 <= pause_s < 0.001
    assert fields == {
        "asr_request_id": request_id,
        "asr_attempt": 1,
        "asr_address": server.url,
        "asr_status": "UNAVAILABLE",
        "asr_code": "OUT_OF_MEMORY",
        "asr_server_message": Fault.OUT_OF_MEMORY.message,
    }
    assert vars(ended)["asr_attempt"] == 2


def test_the_log_is_the_application_s_affair() -> None:
    logger = logging.getLogger("asr_client")
    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
    assert (logger.level, logger.propagate) == (logging.NOTSET, True)
