"""The front without Triton: audio whose levels spell letters, and a network that reads them."""

from __future__ import annotations

import asyncio
import errno
import gc
import io
import itertools
import json
import os
import tempfile
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from asr_backend.acoustic_calls import Cancelled, UpstreamError
from asr_backend.audio import AudioLimits
from asr_backend.decoding.beam import BeamSearch
from asr_backend.decoding.decoders import Decoders
from asr_backend.metrics import Metrics
from asr_backend.recognition import Recognizer
from asr_backend.transcribe import MAX_UNFINISHED, Transcribe, windows_in_flight
from tests.unit.backend.decoding.emissions import BASE_VOCABULARY, checkpoint, emissions, spell
from tests.unit.backend.doubles import PbUtils, Request, ResponseSender

STRIDE = 320
PCM = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}


def levels(text: str) -> bytes:
    """PCM in which each frame's level is the number of its symbol, a blank behind each letter."""
    symbols = [symbol for letter in text for symbol in (*spell(letter), "<pad>")]
    ids = [BASE_VOCABULARY.index(symbol) for symbol in symbols]
    return np.repeat(np.array([*ids, 0], "<i2") * 1000, STRIDE).tobytes()


class Reader:
    """A network that reads levels; each answer may be held back or fail."""

    def __init__(self) -> None:
        self.windows: list[int] = []
        self.in_flight = self.most_in_flight = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def log_probs(
        self, samples: np.ndarray, is_cancelled: Any, language: str | None
    ) -> np.ndarray:
        if is_cancelled():
            raise Cancelled
        if self.error:
            raise self.error
        self.windows.append(samples.size)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.in_flight -= 1
        count = (samples.size - 400) // STRIDE + 1
        ids = np.round(samples[np.arange(count) * STRIDE + STRIDE // 2] * 32.768).astype(int)
        return emissions([BASE_VOCABULARY[index] for index in ids])


class Front:
    """A front on the double of Triton."""

    def __init__(
        self,
        *,
        max_background: float = 1e6,
        max_audio_s: float = 600,
        max_audio_bytes: int = 10**8,
    ) -> None:
        limits = AudioLimits(max_audio_s=max_audio_s, max_audio_bytes=max_audio_bytes)
        self.pb_utils = PbUtils()
        self.reader = Reader()
        self.metrics = Metrics(self.pb_utils)
        self.model = Transcribe(
            recognizer=Recognizer(
                checkpoint=checkpoint(),
                acoustic=self.reader,
                limits=limits,
                max_window_s=2.0,
                overlap_s=0.4,
                windows_in_flight=2,
                decode_pool=ThreadPoolExecutor(2),
                decoders=Decoders(checkpoint()),
                search_pool=ThreadPoolExecutor(1, thread_name_prefix="search"),
            ),
            pb_utils=self.pb_utils,
            metrics=self.metrics,
            model_id="test",
            model_revision="0",
            limits=limits,
            max_background=max_background,
        )

    async def answer(self, *requests: Request) -> None:
        await self.model.execute(list(requests))
        await answered(*requests)


async def answered(*requests: Request) -> None:
    while any(request.response is None for request in requests):
        await asyncio.sleep(0.001)


@pytest.fixture
def front():
    front = Front()
    yield front
    front.model.finalize()


def request(audio: bytes, options: dict[str, Any] | None = None, **fields: Any) -> Request:
    raw = json.dumps(PCM if options is None else options).encode()
    return Request(
        AUDIO=np.array([[audio]], dtype=object), OPTIONS=np.array([[raw]], dtype=object), **fields
    )


def text_of(request: Request) -> str:
    return request.output("TEXT")[0, 0].decode()


async def test_a_short_clip_is_one_window_and_its_result_follows_the_contract(front: Front):
    asked = request(levels("HELLO WORLD"))
    await front.answer(asked)
    assert text_of(asked) == "HELLO WORLD"
    result = json.loads(asked.output("RESULT")[0, 0])
    assert result["text"] == "HELLO WORLD"
    assert [word["text"] for word in result["words"]] == ["HELLO", "WORLD"]
    assert result["words"][1]["start_s"] == pytest.approx(12 * STRIDE / 16_000)
    assert result["model"] == {"id": "test", "revision": "0"}
    assert set(result["timing_ms"]) == {"decode", "acoustic", "ctc", "total"}
    assert "chars" not in result
    assert len(front.reader.windows) == 1


async def test_a_long_recording_is_windows_in_flight_together_and_loses_no_letter(front: Front):
    words = " ".join("".join(p) for p in itertools.product("ABCD", repeat=4))
    asked = request(levels(words))
    await front.answer(asked)
    assert text_of(asked) == words
    assert len(front.reader.windows) > 20
    assert max(front.reader.windows) <= 2 * 16_000
    assert front.reader.most_in_flight <= 2


def side_by_side(*texts: str) -> bytes:
    """Interleaved channels of levels; a space for each letter that the longest has more."""
    longest = max(map(len, texts))
    channels = [np.frombuffer(levels(text.ljust(longest)), "<i2") for text in texts]
    return np.stack(channels, axis=1).tobytes()


async def test_channels_apart_are_each_what_they_are_alone(front: Front):
    texts = ("HELLO WORLD", "A", "", "OF MAY " * 60)
    options = PCM | {"channels": len(texts), "channel": "separate", "timestamps": "char"}
    asked = request(side_by_side(*texts), options)
    await front.answer(asked)
    result = json.loads(asked.output("RESULT")[0, 0])
    expected = [text.strip() for text in texts]
    assert [one["text"] for one in result["channels"]] == expected
    assert result["text"] == text_of(asked) == "\n".join(expected)
    assert {word["channel"] for word in result["words"]} == {0, 1, 3}
    starts = [char["start_s"] for char in result["chars"]]
    assert starts == sorted(starts)
    assert front.reader.most_in_flight <= 2


async def test_one_channel_that_fails_is_the_recording_s_failure(front: Front):
    front.reader.error = UpstreamError("no", "UNAVAILABLE")
    options = PCM | {"channels": 3, "channel": "separate"}
    asked = request(side_by_side("A" * 200, "B", "C"), options)
    await front.answer(asked)
    assert asked.failure() == ("no", "UNAVAILABLE")
    assert not [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]


async def test_beam_search_runs_in_a_front_too_and_beside_its_loop(front: Front, monkeypatch):
    threads = set()
    search = BeamSearch.search

    def watched(*args: Any, **options: Any) -> Any:
        threads.add(threading.current_thread().name.partition("_")[0])
        return search(*args, **options)

    monkeypatch.setattr(BeamSearch, "search", watched)
    words = "HELLO WORLD " * 40
    asked = request(levels(words), PCM | {"decoder": "beam", "beam_width": 5})
    await front.answer(asked)
    assert text_of(asked) == words.strip()
    assert threads == {"search"}
    unwritable = request(levels("A"), PCM | {"decoder": "beam", "hotwords": ["\u00e9"]})
    await front.answer(unwritable)
    message, status = unwritable.failure()
    assert message.startswith("BAD_OPTIONS: hotwords has")
    assert status == "INVALID_ARG"


async def test_long_recordings_share_the_bound_and_short_ones_pass_them(front: Front):
    long = [request(levels("ABCD " * 200)) for _ in range(3)]
    short = request(levels("OK"))
    front.reader.gate.clear()
    await front.model.execute(list(long))
    assert front.reader.in_flight == 2
    task = asyncio.create_task(front.model.execute([short]))
    while front.reader.in_flight < 3:
        await asyncio.sleep(0.001)
    front.reader.gate.set()
    await task
    assert text_of(short) == "OK"
    assert any(one.response is None for one in long)
    await answered(*long)
    assert {text_of(one) for one in long} == {("ABCD " * 200).strip()}


@pytest.mark.parametrize("limit", [{"max_audio_s": 30}, {"max_audio_bytes": 960_000}])
async def test_at_the_cap_execute_waits(limit: dict[str, int]):
    front = Front(max_background=1, **limit)
    front.reader.gate.clear()
    await front.model.execute([request(levels("ABCD " * 100))])  # 20 s, 640,640 bytes
    second = request(levels("ABCD " * 100))
    waiting = asyncio.create_task(front.model.execute([second]))
    await asyncio.sleep(1.0)
    assert not waiting.done()
    front.reader.gate.set()
    await waiting


async def test_short_clips_have_a_cap_too(front: Front):
    front.reader.gate.clear()
    clips = [request(levels("OK")) for _ in range(MAX_UNFINISHED)]
    await front.model.execute(clips[:-1])
    waiting = asyncio.create_task(front.model.execute(clips[-1:]))
    await asyncio.sleep(1.0)
    assert not waiting.done()
    front.reader.gate.set()
    await waiting
    await answered(*clips)


async def test_a_transcript_that_cannot_be_sent_is_an_error(front: Front, monkeypatch):
    send = ResponseSender.send

    def full(self: ResponseSender, response: Any, *, flags: int) -> None:
        if response.error is None:
            raise RuntimeError("no shared memory")
        send(self, response, flags=flags)

    monkeypatch.setattr(ResponseSender, "send", full)
    asked = request(levels("X"))
    await front.answer(asked)
    assert asked.failure()[1] == "INTERNAL"


async def test_a_bad_request_fails_alone(front: Front):
    good = request(levels("FINE"))
    bad = {
        "EMPTY_AUDIO": request(b""),
        "BAD_OPTIONS": request(levels("X"), {"speed": 2}),
        "CORRUPT_AUDIO": request(b"\0\0\0"),
        "UNSUPPORTED_FORMAT": request(b"words" * 100, {}),
        "BAD_SHAPE": Request(
            AUDIO=np.array([[b"a"], [b"b"]], dtype=object),
            OPTIONS=np.array([[b"{}"], [b"{}"]], dtype=object),
        ),
    }
    await front.answer(*bad.values(), good)
    assert text_of(good) == "FINE"
    for code, asked in bad.items():
        message, status = asked.failure()
        assert message.startswith(f"{code}: ")
        assert status == "INVALID_ARG"
        assert front.pb_utils.metric("asr_errors_total", code=code).value == 1


async def test_too_long_is_noticed_while_it_decodes():
    front = Front(max_audio_s=5)
    asked = request(levels("ABCD " * 100))
    await front.answer(asked)
    assert asked.failure()[0].startswith("AUDIO_TOO_LONG: ")


async def test_a_caller_that_has_gone_stops_the_work(front: Front):
    asked = request(levels("ABCD " * 200))
    front.reader.gate.clear()
    await front.model.execute([asked])
    asked.caller.cancelled = True
    front.reader.gate.set()
    await answered(asked)
    assert asked.failure()[1] == "CANCELLED"
    assert len(front.reader.windows) <= 4
    assert front.pb_utils.metric("asr_cancelled_total").value == 1


async def test_words_of_triton_s_are_passed_on(front: Front):
    front.reader.error = UpstreamError("Server not ready", "UNAVAILABLE")
    asked = request(levels("X"))
    await front.answer(asked)
    assert asked.failure() == ("Server not ready", "UNAVAILABLE")


async def test_a_defect_of_ours_is_an_id_for_the_caller_and_a_traceback_for_the_log(front: Front):
    front.reader.error = ZeroDivisionError("secret")
    asked = request(levels("X"))
    await front.answer(asked)
    message, status = asked.failure()
    assert message.startswith("INTERNAL_ERROR: id ")
    assert "secret" not in message
    assert status == "INTERNAL"
    (logged,) = front.pb_utils.Logger.errors
    assert message.split()[2].rstrip(";") in logged
    assert "ZeroDivisionError: secret" in logged


async def test_less_than_a_frame_is_silence_without_a_forward(front: Front):
    asked = request(np.ones(10, "<i2").tobytes())
    await front.answer(asked)
    assert text_of(asked) == ""
    assert front.reader.windows == []


LARGE = levels("ABCD " * 200)
"""40 s, 1.2 MiB: more than one window, and more than lies in memory."""


def spooled() -> tuple[int, int]:
    """Files without a name that this process has mapped, and descriptors that it has open."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return maps.count("(deleted)"), psutil.Process().num_fds()


@pytest.fixture
def without_collector():
    """Only what nothing refers to is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("end", ["answer", "failure", "refusal", "cancellation", "each channel"])
async def test_a_large_recording_lies_in_a_file_until_it_is_answered(front: Front, end: str):
    before = spooled()
    options = PCM | ({"channels": 2, "channel": "separate"} if end == "each channel" else {})
    if end == "refusal":
        options |= {"channel": 3}
    asked = request(LARGE, options)
    audio = weakref.ref(asked.inputs["AUDIO"])
    front.reader.gate.clear()
    batch = [asked]
    work = asyncio.create_task(front.model.execute(batch))
    caller = asked.caller
    del asked
    while not front.reader.windows and caller.response is None:
        await asyncio.sleep(0.001)
    assert batch == []
    assert audio() is None
    if end in ("failure", "each channel"):
        front.reader.error = UpstreamError("no", "UNAVAILABLE")
    else:
        assert end == "refusal" or spooled() == (before[0] + 1, before[1] + 1)
    caller.cancelled = end == "cancellation"
    front.reader.gate.set()
    await work
    while caller.response is None:
        await asyncio.sleep(0.001)
    assert (caller.response.error is None) == (end == "answer")
    # An error keeps its traceback, and a thread its last work for a moment.
    front.reader.error = None
    deadline = time.monotonic() + 5
    while spooled() != before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_small_recording_touches_no_file(front: Front, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    asked = request(levels("OK " * 100))
    await front.answer(asked)
    assert text_of(asked) == ("OK " * 100).strip()


@pytest.mark.parametrize("step", ["open", "write"])
async def test_a_full_disk_is_an_error_that_another_server_may_not_have(
    front: Front, monkeypatch, step: str
):
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_file() -> io.BytesIO:
        if step == "open":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return Full()

    monkeypatch.setattr(tempfile, "TemporaryFile", open_file)
    asked = request(LARGE)
    await front.answer(asked)
    message, status = asked.failure()
    assert message == (
        f"OUT_OF_MEMORY: the server cannot put {len(LARGE)} bytes of audio aside: "
        "No space left on device"
    )
    assert status == "UNAVAILABLE"


async def test_execute_does_not_wait_for_a_recording_that_turns_out_long(front: Front, monkeypatch):
    monkeypatch.setattr("asr_backend.transcribe.FOREGROUND_S", 3600)
    front.reader.gate.clear()
    asked = request(levels("ABCD " * 100))
    await front.model.execute([asked])
    assert asked.response is None
    front.reader.gate.set()
    await answered(asked)


@pytest.mark.parametrize(
    ("wanted", "fronts", "each"), [(2, 1, 2), (2, 2, 1), (2, 4, 1), (8, 2, 4), (6, 4, 2)]
)
def test_all_fronts_together_keep_every_instance_busy(wanted: int, fronts: int, each: int):
    assert windows_in_flight(wanted=wanted, fronts=fronts) == each
