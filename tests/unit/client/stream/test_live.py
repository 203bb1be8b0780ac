"""Live streams of both clients, on the fake server."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import numpy as np
import pytest

from asr_client import (
    AsyncClient,
    Attempt,
    Client,
    Interim,
    InvalidOptions,
    InvalidResponse,
    LiveTranscript,
    ModelNotFound,
    RetryPolicy,
    Segment,
    Skipped,
    StreamBehind,
    StreamLost,
    _telemetry,
    paced,
)
from asr_client._stream import core
from asr_client.testing import FakeServer, Fault
from tests.support.client.driver import Driver

RATE = 8000
PATIENT_S = 60.0


def speech(*parts: tuple[float, float]) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Tones of (seconds, level from 0 to 1)."""
    pieces = [np.full(round(seconds * RATE), level * 32767, np.int16) for seconds, level in parts]
    return np.concatenate(pieces)


TALK = speech((0.3, 0), (1.5, 0.5), (0.8, 0), (1.2, 0.3), (0.1, 0))


def chunks(samples: Any = TALK, size: int = 800) -> list[Any]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


class Live:
    """Live streams of either client behind ordinary calls."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def client(self, url: Any, **settings: Any) -> Any:
        return self.driver.open(url, **settings)

    def use(self, stream: Any, script: Callable[[Any], Any]) -> Any:
        """Open the stream and let the script use it, which may await what is awaitable."""
        if self.driver.kind is Client:
            with stream as live:
                return drained(script(live))

        async def run() -> Any:
            async with stream as live:
                return await script(live)

        return self.driver.loop.run_until_complete(asyncio.wait_for(run(), PATIENT_S))

    def events(self, stream: Any, audio: Iterable[Any]) -> list[Any]:
        async def script(live: Any) -> list[Any]:
            return await listed(live.run(audio))

        return list(self.use(stream, script))


def drained(work: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


async def listed(events: Any) -> list[Any]:
    """The events of either client."""
    if hasattr(events, "__aiter__"):
        return [event async for event in events]
    return list(events)


async def first(events: Any) -> Any:
    """The first event of either client, or None; the loop over the others is left."""
    if hasattr(events, "__aiter__"):
        event = await anext(events, None)
        await events.aclose()
    else:
        event = next(events, None)
        events.close()
    return event


async def got(value: Any) -> Any:
    """The value of a call of either client."""
    return await value if asyncio.iscoroutine(value) else value


@pytest.fixture
def live(driver: Driver) -> Live:
    return Live(driver)


def segments(events: list[Any]) -> list[Segment]:
    return [event for event in events if isinstance(event, Segment)]


def test_a_stream_gives_interims_and_finals(live: Live, server: FakeServer) -> None:
    server.text = "one two three\nfour five"
    stream = live.client(server.url).stream(sample_rate=RATE, timestamps="char")
    events = live.events(stream, paced(TALK, sample_rate=RATE, speed=4))
    assert [(s.index, s.text, s.reason) for s in segments(events)] == [
        (0, "one two three", "pause"),
        (1, "four five", "end"),
    ]
    assert any(isinstance(event, Interim) for event in events)
    first = segments(events)[0]
    assert (first.first_frame, first.start_s) == (0.3 * RATE, 0.3)
    assert [word.text for word in first.words] == ["one", "two", "three"]
    assert len(first.chars) == 11
    assert first.model.id == "fake"
    assert stream.transcript.text == "one two three four five"
    assert [word.text for word in stream.transcript.words][-1] == "five"
    assert stream.transcript.segments == tuple(segments(events))
    assert stream.pending == b""


def test_a_final_is_what_transcribe_answers_for_its_frames(live: Live, server: FakeServer) -> None:
    events = live.events(live.client(server.url).stream(sample_rate=RATE), chunks())
    (first, second) = segments(events)
    own = TALK[first.first_frame : first.first_frame + first.frames]
    server.answer(own, "another", sample_rate=RATE)
    events = live.events(live.client(server.url).stream(sample_rate=RATE), chunks())
    assert [s.text for s in segments(events)] == ["another", second.text]


@pytest.mark.parametrize("size", [1, 3, 160, 5001, 10**6])
def test_bytes_may_be_cut_anywhere(live: Live, server: FakeServer, size: int) -> None:
    pcm = TALK[: 2 * RATE].tobytes()
    parts = [pcm[start : start + size] for start in range(0, len(pcm), size)]
    stream = live.client(server.url).stream(sample_rate=RATE, interim=False)
    assert [s.frames for s in segments(live.events(stream, parts))] == [0.2 * RATE + 1.5 * RATE]


def test_floats_and_channels_follow_from_the_first_array(live: Live, server: FakeServer) -> None:
    stereo = np.stack([TALK, TALK], 1).astype(np.float32) / 32768
    stream = live.client(server.url).stream(sample_rate=RATE, channel=1)
    assert len(segments(live.events(stream, chunks(stereo)))) == 2
    options = json.loads(server.requests[0].options)
    assert options["encoding"] == "pcm_f32le"
    assert (options["channels"], options["channel"], options["sample_rate"]) == (2, 1, RATE)
    assert server.requests[0].model == "transcribe_stream"


def test_an_array_of_another_form_is_refused(live: Live, server: FakeServer) -> None:
    stream = live.client(server.url).stream(sample_rate=RATE)
    with pytest.raises(ValueError, match="the stream is pcm_s16le with 1"):
        live.events(stream, [TALK, TALK.astype(np.float32)])


def test_audio_that_ends_within_a_frame_is_an_error_after_its_finals(
    live: Live, server: FakeServer
) -> None:
    stream = live.client(server.url).stream(sample_rate=RATE)
    with pytest.raises(ValueError, match="1 bytes are left"):
        live.events(stream, [TALK.tobytes() + b"x"])
    assert len(stream.transcript.segments) == 2


def test_the_push_form(live: Live, server: FakeServer) -> None:
    async def script(stream: Any) -> LiveTranscript:
        stream.feed(TALK[:RATE])
        stream.flush()
        first = []
        while not segments(first):
            first += await listed(stream.events(timeout_s=0.05))
        assert segments(first)[0].reason == "end"
        stream.feed(TALK[RATE:].tobytes())
        transcript: LiveTranscript = await got(stream.finish())
        assert len(segments(await listed(stream.events()))) == 2
        with pytest.raises(RuntimeError, match="finished"):
            stream.feed(TALK)
        return transcript

    transcript = live.use(live.client(server.url).stream(sample_rate=RATE), script)
    assert [segment.reason for segment in transcript.segments] == ["end", "pause", "end"]
    assert sum(segment.frames for segment in transcript.segments) > 2.5 * RATE


def test_a_stream_without_audio_ends(live: Live, server: FakeServer) -> None:
    assert live.events(live.client(server.url).stream(sample_rate=RATE), []) == []
    assert server.requests == ()


@pytest.mark.parametrize("fault", [Fault.QUEUE_FULL, Fault.CONNECTION_LOST, Fault.QUEUE_TIMEOUT])
def test_a_look_that_fails_is_replaced_by_the_next(
    live: Live, server: FakeServer, fault: Fault
) -> None:
    server.fail(fault, times=2)
    attempts: list[Attempt] = []
    client = live.client(server.url, on_attempt=attempts.append)
    events = live.events(client.stream(sample_rate=RATE), paced(TALK, sample_rate=RATE, speed=4))
    assert len(segments(events)) == 2
    assert [attempt.status for attempt in attempts[:3]] == ["UNAVAILABLE", "UNAVAILABLE", "OK"]
    lengths = [len(request.audio) for request in server.requests[:3]]
    assert lengths == sorted(set(lengths))
    assert len({attempt.request_id for attempt in attempts}) == len(attempts)


def test_the_last_look_is_sent_again(live: Live, server: FakeServer) -> None:
    short = TALK[: int(0.6 * RATE)]

    async def script(stream: Any) -> Any:
        stream.feed(short[: RATE // 10])
        server.fail(Fault.CONNECTION_LOST, times=2)
        return await got(stream.finish())

    stream = live.client(server.url).stream(sample_rate=RATE)
    live.use(stream, script)
    assert [json.loads(request.options)["end"] for request in server.requests] == [True] * 3


def test_a_lost_end_goes_on_in_another_stream(live: Live, server: FakeServer) -> None:
    client = live.client(server.url, retry=RetryPolicy(max_attempts=1))
    stream = client.stream(sample_rate=RATE)

    async def script(stream: Any) -> None:
        stream.feed(TALK[: RATE // 2])
        while not await listed(stream.events(timeout_s=0.05)):
            pass
        server.fail(Fault.CONNECTION_LOST)
        with pytest.raises(StreamLost) as lost:
            await got(stream.finish())
        assert lost.value.address == server.url
        raise lost.value

    with pytest.raises(StreamLost) as lost:
        live.use(stream, script)
    assert lost.value.audio == stream.pending
    assert lost.value.state is not None
    again = client.stream(resume=lost.value)
    events = live.events(again, chunks(TALK[RATE // 2 :]))
    assert [(s.first_frame, s.reason) for s in segments(events)] == [
        (0.3 * RATE, "pause"),
        (2.6 * RATE, "end"),
    ]
    with pytest.raises(ValueError, match="the stream to resume has 8000"):
        client.stream(resume=lost.value, sample_rate=16_000)


def test_a_server_that_stops_amid_a_stream_costs_nothing(live: Live) -> None:
    with FakeServer("one\ntwo") as first, FakeServer("one\ntwo") as second:
        client = live.client([first.url, second.url])
        stream = client.stream(sample_rate=RATE)

        async def source() -> AsyncIterator[Any]:
            for number, chunk in enumerate(chunks()):
                if number == len(chunks()) // 2:
                    first.stop()
                yield chunk
                await asyncio.sleep(0.01)

        def blocking() -> Iterable[Any]:
            for number, chunk in enumerate(chunks()):
                if number == len(chunks()) // 2:
                    first.stop()
                yield chunk
                time.sleep(0.01)

        audio: Any = blocking() if live.driver.kind is Client else source()
        events = live.events(stream, audio)
        assert [(s.index, s.text) for s in segments(events)] == [(0, "one"), (1, "two")]
        assert second.requests


def test_a_server_that_hangs_amid_a_stream_costs_nothing(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "MIN_TIMEOUT_S", 0.3)
    with FakeServer("one\ntwo") as first, FakeServer("one\ntwo") as second:
        first.hung = True
        stream = live.client([first.url, second.url]).stream(sample_rate=RATE)
        events = live.events(stream, paced(TALK, sample_rate=RATE, speed=2))
        assert [(s.index, s.text) for s in segments(events)] == [(0, "one"), (1, "two")]
        first.hung = False


def test_audio_that_ends_processes_of_two_servers_is_skipped(live: Live) -> None:
    with FakeServer("one") as first, FakeServer("one") as second:
        stream = live.client([first.url, second.url]).stream(sample_rate=RATE)
        for each in (first, second):
            each.fail(Fault.ENGINE_RESTARTING)
        events = live.events(stream, paced(TALK, sample_rate=RATE, speed=2))
        (skipped,) = [event for event in events if isinstance(event, Skipped)]
        assert skipped.first_frame == 0
        assert skipped.error.code == "ENGINE_RESTARTING"
        assert segments(events)[-1].reason == "end"
        assert stream.transcript.skipped == (skipped,)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(Fault.BAD_OPTIONS, InvalidOptions), (Fault.NO_OUTPUTS, InvalidResponse)],
)
def test_an_error_that_would_come_again_ends_the_stream(
    live: Live, server: FakeServer, fault: Fault, kind: type[Exception]
) -> None:
    server.fail(fault)
    stream = live.client(server.url).stream(sample_rate=RATE)
    with pytest.raises(kind):
        live.events(stream, chunks())
    assert len(server.requests) == 1


def test_a_server_without_the_model(live: Live, server: FakeServer) -> None:
    server.streams = False
    with pytest.raises(ModelNotFound):
        live.events(live.client(server.url).stream(sample_rate=RATE), chunks())


def test_feeding_never_waits_and_is_bounded(live: Live, server: FakeServer) -> None:
    server.hung = True

    async def script(stream: Any) -> None:
        for _ in range(2):
            stream.feed(np.zeros(RATE, np.int16))
        with pytest.raises(StreamBehind) as behind:
            stream.feed(np.zeros(1, np.int16))
        assert "max_behind_s = 2" in behind.value.server_message

    live.use(live.client(server.url).stream(sample_rate=RATE, max_behind_s=2), script)
    server.hung = False


def test_run_waits_for_room(live: Live, server: FakeServer) -> None:
    server.delay_s = 0.01
    long = np.tile(TALK, 4)
    stream = live.client(server.url).stream(sample_rate=RATE, max_behind_s=1.5, interim=False)
    assert len(segments(live.events(stream, [long]))) == 5
    assert max(len(request.audio) for request in server.requests) < 2 * RATE * 20


def test_leaving_early_cancels_and_leaves_nothing(live: Live, server: FakeServer) -> None:
    threads = threading.active_count()
    server.hung = True

    async def script(stream: Any) -> None:
        stream.feed(TALK)
        while not server.requests:
            await listed(stream.events(timeout_s=0.01))

    live.use(live.client(server.url).stream(sample_rate=RATE), script)
    assert server.requests[0].ended_early.wait(PATIENT_S)
    names = [thread.name for thread in threading.enumerate()]
    assert "asr-stream" not in names, threads
    if live.driver.kind is AsyncClient:
        assert not [task for task in asyncio.all_tasks(live.driver.loop) if not task.done()]
    server.hung = False


def test_an_array_after_half_a_frame_is_refused(live: Live, server: FakeServer) -> None:
    stream = live.client(server.url).stream(sample_rate=RATE)
    with pytest.raises(ValueError, match="within a frame"):
        live.events(stream, [TALK.tobytes()[:-1], TALK])


def test_each_look_is_a_span_and_a_call(live: Live, server: FakeServer) -> None:
    names: list[str] = []
    client = live.client(server.url)

    class Tracing(_telemetry._Tracing):
        def call(self, request_id: str, name: str) -> Any:
            names.append(name)
            return super().call(request_id, name)

    trace = pytest.importorskip("opentelemetry.trace")
    propagate = pytest.importorskip("opentelemetry.propagate")
    client._client._watcher._tracing = Tracing(trace, propagate)
    live.events(client.stream(sample_rate=RATE), chunks())
    assert names == ["asr.look"] * len(server.requests)


async def test_a_loop_that_is_left_leaves_no_task(server: FakeServer) -> None:
    async def forever() -> AsyncIterator[bytes]:
        yield TALK.tobytes()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    async with AsyncClient(server.url) as client, client.stream(sample_rate=RATE) as stream:
        iterator = stream.run(forever())
        await iterator.__anext__()
    assert asyncio.all_tasks() == before
    assert len(stream.transcript.segments) >= 1


def test_an_error_of_the_source_leaves_the_loop(live: Live, server: FakeServer) -> None:
    def broken() -> Iterable[Any]:
        yield TALK[:RATE]
        raise OSError("the microphone was pulled out")

    with pytest.raises(OSError, match="pulled out"):
        live.events(live.client(server.url).stream(sample_rate=RATE), broken())


def test_closing_the_client_ends_the_stream(live: Live, server: FakeServer) -> None:
    client = live.client(server.url)

    async def script(stream: Any) -> None:
        closing = client._client.close()
        await got(closing)
        await listed(stream.events())

    with pytest.raises(RuntimeError, match="closed"):
        live.use(client.stream(sample_rate=RATE), script)


def test_a_source_that_fails_does_not_end_the_stream(live: Live, server: FakeServer) -> None:
    def broken() -> Iterable[Any]:
        yield TALK[:RATE]
        raise OSError("the microphone was pulled out")

    async def script(stream: Any) -> LiveTranscript:
        with pytest.raises(OSError, match="pulled out"):
            await listed(stream.run(broken()))
        whole: LiveTranscript = await got(stream.finish())
        return whole

    transcript = live.use(live.client(server.url).stream(sample_rate=RATE), script)
    assert [segment.reason for segment in transcript.segments] == ["end"]


def test_a_loop_over_events_that_is_left_drops_none(live: Live, server: FakeServer) -> None:
    async def script(stream: Any) -> list[Any]:
        stream.feed(TALK)
        await got(stream.finish())
        events: list[Any] = []
        while (event := await first(stream.events())) is not None:
            events.append(event)
        return events

    stream = live.client(server.url).stream(sample_rate=RATE, interim=False)
    assert tuple(live.use(stream, script)) == stream.transcript.segments


async def test_waiting_for_events_ends_while_silence_is_fed(server: FakeServer) -> None:
    async with AsyncClient(server.url) as client, client.stream(sample_rate=RATE) as stream:

        async def feed() -> None:
            while True:
                stream.feed(np.zeros(RATE // 50, np.int16))
                await asyncio.sleep(0.02)

        feeder = asyncio.create_task(feed())
        assert [event async for event in stream.events(timeout_s=0.3)] == []
        assert not feeder.done()
        feeder.cancel()


@pytest.mark.parametrize("empty", [b"", np.zeros(0), np.zeros((0, 2), np.int16)])
def test_an_empty_chunk_settles_nothing(live: Live, server: FakeServer, empty: Any) -> None:
    stream = live.client(server.url).stream(sample_rate=RATE)
    assert len(segments(live.events(stream, [empty, *chunks(TALK), empty]))) == 2


@pytest.mark.parametrize("kind", [">i2", "<i2", "u1", "<i4"])
def test_arrays_of_any_integers_are_the_same_audio(
    live: Live, server: FakeServer, kind: str
) -> None:
    samples: Any = TALK.astype(kind)
    if kind == "u1":
        samples = (TALK // 256 + 128).astype("u1")
    if kind == "<i4":
        samples = TALK.astype("<i4") << 16
    events = live.events(live.client(server.url).stream(sample_rate=RATE), chunks(samples))
    assert [(s.first_frame, s.reason) for s in segments(events)] == [
        (0.3 * RATE, "pause"),
        (2.6 * RATE, "end"),
    ]


def test_an_array_of_channels_by_samples_is_refused(live: Live, server: FakeServer) -> None:
    stream = live.client(server.url).stream(sample_rate=RATE)
    with pytest.raises(ValueError, match="the order is"):
        live.events(stream, [np.zeros((2, RATE), np.int16)])


def test_the_smallest_allowance_takes_any_chunks(live: Live, server: FakeServer) -> None:
    stream = live.client(server.url).stream(sample_rate=RATE, max_behind_s=1, give_up_s=5)
    sizes = [round(1.3 * RATE), round(0.3 * RATE), len(TALK)]
    parts, start = [], 0
    for size in sizes:
        parts.append(TALK[start : start + size])
        start += size
    assert len(segments(live.events(stream, parts))) == 2


def test_events_and_the_end_need_an_open_stream(live: Live, server: FakeServer) -> None:
    stream = live.client(server.url).stream(sample_rate=RATE)

    async def script(stream: Any) -> None:
        stream.feed(TALK[: RATE // 4])

    with pytest.raises(RuntimeError, match="not open"):
        live.driver.loop.run_until_complete(listed(stream.events()))
    live.use(stream, script)
    with pytest.raises(RuntimeError, match="closed"):
        live.driver.loop.run_until_complete(got(stream.finish()))


def test_an_error_that_is_raised_often_does_not_grow(live: Live, server: FakeServer) -> None:
    server.fail(Fault.BAD_OPTIONS)

    async def script(stream: Any) -> list[int]:
        stream.feed(TALK)
        depths = []
        for _ in range(3):
            with pytest.raises(InvalidOptions) as refused:
                await listed(stream.events())
            depths.append(len(list(traceback.walk_tb(refused.value.__traceback__))))
        return depths

    depths = live.use(live.client(server.url).stream(sample_rate=RATE), script)
    assert depths[1] == depths[2]


def test_a_lost_flush_within_a_frame_goes_on_there(live: Live, server: FakeServer) -> None:
    client = live.client(server.url, retry=RetryPolicy(max_attempts=1))
    whole, cut = TALK.tobytes(), RATE + 1

    async def script(stream: Any) -> None:
        server.fail(Fault.CONNECTION_LOST)
        stream.feed(whole[:cut])
        stream.flush()
        await listed(stream.events())

    with pytest.raises(StreamLost) as lost:
        live.use(client.stream(sample_rate=RATE), script)
    assert lost.value.audio == whole[:cut]
    events = live.events(client.stream(resume=lost.value), [whole[cut:]])
    assert [(s.first_frame, s.reason) for s in segments(events)] == [
        (0.3 * RATE, "pause"),
        (2.6 * RATE, "end"),
    ]


def test_a_forked_process_has_no_stream(server: FakeServer) -> None:
    script = """
import os, sys
import numpy as np
from asr_client import Client

client = Client(sys.argv[1])
with client.stream(sample_rate=8000) as stream:
    if os.fork() == 0:
        refused = 0
        for use in (
            lambda: stream.feed(np.zeros(80, np.int16)),
            stream.flush,
            stream.finish,
            lambda: list(stream.events()),
        ):
            try:
                use()
            except RuntimeError as error:
                refused += "forked" in str(error)
        stream.__exit__(None, None, None)
        os._exit(refused)
    _, status = os.wait()
    assert os.waitstatus_to_exitcode(status) == 4, status
    assert stream.finish().segments == ()
"""
    subprocess.run([sys.executable, "-c", script, server.url], check=True, timeout=PATIENT_S)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"sample_rate": 0},
        {"sample_rate": 8000, "channels": 0},
        {"sample_rate": 8000, "encoding": "container"},
        {"sample_rate": 8000, "max_behind_s": 0},
        {"sample_rate": 8000, "give_up_s": math.inf},
        {"sample_rate": 8000, "max_behind_s": 0.9},
        {"sample_rate": 8000, "channel": "separate"},
        {"sample_rate": 8000, "max_segment_s": math.nan},
    ],
)
def test_wrong_arguments(live: Live, server: FakeServer, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        live.client(server.url).stream(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": math.inf},
        {"sample_rate": 8000, "channels": 1.5},
        {"sample_rate": 8000, "hotwords": [object()]},
    ],
)
def test_arguments_of_another_type(live: Live, server: FakeServer, wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"\w"):
        live.client(server.url).stream(**wrong)


def test_numbers_of_numpy_are_numbers(live: Live, server: FakeServer) -> None:
    stream = live.client(server.url).stream(
        sample_rate=np.int64(RATE),
        max_segment_s=np.float32(8),
        decoder="beam",
        hotwords=np.array(["one"]),
    )
    assert len(segments(live.events(stream, chunks()))) == 2


def test_hotwords_are_a_list(live: Live, server: FakeServer) -> None:
    with pytest.raises(TypeError, match="hotwords"):
        live.client(server.url).stream(sample_rate=RATE, hotwords="one")


def test_a_chunk_is_audio(live: Live, server: FakeServer) -> None:
    with pytest.raises(TypeError, match="a chunk is bytes"):
        live.events(live.client(server.url).stream(sample_rate=RATE), ["text"])


def test_a_stream_is_used_inside_of_its_block(live: Live, server: FakeServer) -> None:
    stream = live.client(server.url).stream(sample_rate=RATE)
    with pytest.raises(RuntimeError, match="not open"):
        stream.feed(TALK)
    live.events(stream, chunks())
    with pytest.raises(RuntimeError, match="once"):
        live.events(stream, chunks())
