"""The cache of results: when it answers, what it never answers, and how it forgets."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import itertools
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from asr_client import (
    ChannelTranscript,
    Char,
    ModelInfo,
    Timing,
    Transcript,
    Word,
)
from asr_client.testing import FakeServer, Fault
from asr_gateway import served_model
from asr_gateway.cache import encoding
from asr_gateway.metrics import CacheMetrics
from asr_gateway.store import database
from asr_gateway.store.cached_results import OVERHEAD_BYTES, TOUCH_S, CachedResults
from asr_gateway.uploads import MAX_MEMORY_BYTES
from tests.support.client.waiting import wait_until
from tests.support.gateway.running import RunningGateway, running, uploads

ROOM = 10_000_000
NUMBERS = itertools.count()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(text="seven of clubs") as fake:
        yield fake


@pytest.fixture
def gateway(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningGateway]:
    # On a busy machine the fake's answer may be late, and the cache is then passed by.
    monkeypatch.setattr(served_model, "INFO_TIMEOUT_S", 30.0)
    with running(server.url, cache_bytes=ROOM) as started:
        yield started


def audio(size: int = 0) -> bytes:
    """A recording that no test has sent before."""
    return b"OggS" + str(next(NUMBERS)).encode() + bytes(size)


def transcribe(
    gateway: RunningGateway, recording: bytes, headers: dict[str, str] | None = None, **fields: Any
) -> httpx2.Response:
    return gateway.http.post(
        "/v1/audio/transcriptions",
        files={"file": recording},
        data={"model": "whisper-1", **fields},
        headers=headers,
    )


def mark(answer: httpx2.Response) -> str | None:
    assert answer.status_code == 200, answer.text
    return answer.headers.get("x-asr-cache")


@pytest.mark.parametrize("size", [0, 2 * MAX_MEMORY_BYTES])
@pytest.mark.parametrize("format", ["json", "text", "srt", "vtt", "verbose_json"])
def test_an_answer_from_the_cache_is_the_same_but_for_its_mark(
    gateway: RunningGateway, server: FakeServer, format: str, size: int
):
    recording = audio(size)
    first, second = (transcribe(gateway, recording, response_format=format) for _ in range(2))
    assert (mark(first), mark(second)) == ("miss", "hit")
    assert first.content == second.content
    own = {"x-asr-cache", "x-request-id", "date"}
    headers = [{k: v for k, v in a.headers.items() if k not in own} for a in (first, second)]
    assert headers[0] == headers[1]
    assert [request.audio for request in uploads(server)] == [recording]


def test_without_the_flag_there_is_no_cache(server: FakeServer):
    with running(server.url) as gateway:
        recording = audio()
        assert [mark(transcribe(gateway, recording)) for _ in range(2)] == [None, None]
    assert len(uploads(server)) == 2


def test_no_store_goes_past_it(gateway: RunningGateway, server: FakeServer):
    recording, past = audio(), {"cache-control": "max-age=0, No-Store"}
    assert mark(transcribe(gateway, recording, past)) == "bypass"
    assert mark(transcribe(gateway, recording)) == "miss"
    assert mark(transcribe(gateway, recording, past)) == "bypass"
    assert mark(transcribe(gateway, recording, {"cache-control": "no-cache"})) == "hit"
    assert len(uploads(server)) == 3


def test_an_older_server_has_no_cached_answers(gateway: RunningGateway, server: FakeServer):
    del server.parameters["fingerprint"]
    recording = audio()
    assert [mark(transcribe(gateway, recording)) for _ in range(2)] == ["bypass", "bypass"]


def test_a_failure_is_not_kept(gateway: RunningGateway, server: FakeServer):
    recording = audio()
    server.fail(Fault.CORRUPT_AUDIO)
    assert transcribe(gateway, recording).status_code == 400
    assert mark(transcribe(gateway, recording)) == "miss"


def test_it_outlives_the_gateway(server: FakeServer, tmp_path: Path):
    recording, store = audio(), f"sqlite:///{tmp_path}/s.sqlite3"
    for expected in ("miss", "hit"):
        with running(server.url, cache_bytes=ROOM, store=store) as gateway:
            assert mark(transcribe(gateway, recording)) == expected


def test_an_answer_is_kept_under_its_own_fingerprint(
    gateway: RunningGateway, server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    """The server was exchanged between the question who it is and the recognition."""
    recording = audio()
    present = gateway.parts.served.fingerprint

    async def before() -> str | None:
        server.parameters["fingerprint"] = "old"
        found: str | None = await present()
        server.parameters["fingerprint"] = "new"
        return found

    monkeypatch.setattr(gateway.parts.served, "fingerprint", before)
    assert mark(transcribe(gateway, recording)) == "miss"
    monkeypatch.setattr(gateway.parts.served, "fingerprint", present)
    assert mark(transcribe(gateway, recording)) == "hit"
    server.parameters["fingerprint"] = "old"
    assert mark(transcribe(gateway, recording)) == "miss"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),  # the recording
        st.sampled_from(["weights 1", "weights 2", "other language model"]),  # the fingerprint
        st.booleans(),  # whether there is a language model
        st.fixed_dictionaries(
            {"response_format": st.sampled_from(["json", "text", "verbose_json"])},
            optional={
                "language": st.sampled_from(["en", "de"]),
                "keywords[]": st.sampled_from([["ten"], ["ten", "clubs"], ["clubs", "ten"]]),
            },
        ),
    ),
    max_size=12,
)


def asked(request: Any) -> tuple[bytes, bytes]:
    return request.audio, request.options


@pytest.fixture(scope="module")
def changing() -> Iterator[tuple[FakeServer, RunningGateway]]:
    with FakeServer() as fake, running(fake.url, cache_bytes=ROOM) as started:
        fake.parameters["languages"] = "eng,deu"
        yield fake, started


@settings(max_examples=40)
@given(STEPS)
def test_no_change_brings_an_old_answer(
    changing: tuple[FakeServer, RunningGateway], steps: list[Any]
):
    """Each recognition has a text of its own, so that an old answer shows itself."""
    server, gateway = changing
    # Lets the gateway notice a change of the language model within the second.
    gateway.parts.served._info = None
    computed: dict[Any, str] = {}
    example = audio()
    for name, fingerprint, has_model, fields in steps:
        server.parameters["fingerprint"] = fingerprint + str(has_model)
        server.parameters.pop("language_model", None)
        if has_model:
            server.parameters["language_model"] = "four.arpa"
        gateway.parts.served._asked_s = -1e9
        server.text = f"text {next(NUMBERS)}"
        before = len(server.requests)
        answer = transcribe(gateway, example + name.encode(), **fields)
        found = mark(answer)
        text = answer.text.strip() if fields["response_format"] == "text" else answer.json()["text"]
        past = {"cache-control": "no-store"}
        now = transcribe(gateway, example + name.encode(), past, **fields)
        assert mark(now) == "bypass"
        depends_on = (*asked(server.requests[-1]), server.parameters["fingerprint"])
        if found == "hit":
            assert len(server.requests) == before + 1
        else:
            assert found == "miss"
            assert depends_on not in computed
            assert asked(server.requests[-2]) == asked(server.requests[-1])
            computed[depends_on] = server.text
        assert text == computed[depends_on]


def in_parallel(work: list[Any]) -> list[Any]:
    results: list[Any] = [None] * len(work)

    def run(index: int) -> None:
        results[index] = work[index]()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def waiting(gateway: RunningGateway) -> int:
    flights = gateway.parts.recognizer._cache._flights
    return sum(flight.waiting for flight in flights.values())


@pytest.mark.parametrize("size", [0, 2 * MAX_MEMORY_BYTES])
def test_equal_requests_of_one_moment_are_one_recognition(
    gateway: RunningGateway, server: FakeServer, size: int
):
    recording = audio(size)
    server.hung = True
    opener = threading.Thread(
        target=lambda: (
            wait_until(lambda: waiting(gateway) == 8),
            setattr(server, "hung", False),
        )
    )
    opener.start()
    answers = in_parallel([lambda: transcribe(gateway, recording)] * 8)
    opener.join()
    assert sorted(filter(None, map(mark, answers))) == ["joined"] * 7 + ["miss"]
    assert len({answer.content for answer in answers}) == 1
    assert len(uploads(server)) == 1
    assert gateway.metric("asr_gateway_cache_answers_total", result="joined") == 7
    logged = gateway.http.get("/v1/recognitions").json()["data"]
    assert [entry["outcome"] for entry in logged] == ["succeeded"] * 8


@pytest.mark.parametrize("size", [0, 2 * MAX_MEMORY_BYTES])
def test_who_leaves_does_not_end_it_for_the_others(
    gateway: RunningGateway, server: FakeServer, size: int
):
    recording = audio(size)
    server.hung = True

    def leave() -> None:
        with pytest.raises(httpx2.TimeoutException):
            gateway.http.post(
                "/v1/audio/transcriptions",
                files={"file": recording},
                data={"model": "whisper-1"},
                timeout=httpx2.Timeout(20, read=1.0),
            )

    first = threading.Thread(target=leave)
    first.start()
    wait_until(lambda: waiting(gateway) == 1)

    def open_when_the_first_is_gone() -> None:
        wait_until(lambda: waiting(gateway) == 2)
        first.join()
        wait_until(lambda: waiting(gateway) == 1)
        server.hung = False

    answer, _ = in_parallel([lambda: transcribe(gateway, recording), open_when_the_first_is_gone])
    assert mark(answer) == "joined"
    assert answer.json()["text"] == "seven of clubs"
    [request] = uploads(server)
    assert request.audio == recording
    assert not request.ended_early.is_set()


def test_when_the_last_one_leaves_it_ends(gateway: RunningGateway, server: FakeServer):
    server.hung = True
    with pytest.raises(httpx2.TimeoutException):
        gateway.http.post(
            "/v1/audio/transcriptions",
            files={"file": audio()},
            data={"model": "whisper-1"},
            timeout=httpx2.Timeout(20, read=0.5),
        )
    wait_until(lambda: bool(uploads(server)) and uploads(server)[0].ended_early.is_set())
    assert gateway.parts.recognizer._cache._flights == {}
    server.hung = False


def test_equal_requests_fail_together(gateway: RunningGateway, server: FakeServer):
    server.fail(Fault.CORRUPT_AUDIO)
    server.hung = True
    recording = audio()
    opener = threading.Thread(
        target=lambda: (
            wait_until(lambda: waiting(gateway) == 3),
            setattr(server, "hung", False),
        )
    )
    opener.start()
    answers = in_parallel([lambda: transcribe(gateway, recording)] * 3)
    opener.join()
    assert [answer.json()["error"]["code"] for answer in answers] == ["corrupt_audio"] * 3


def test_another_key_gets_what_its_own_bytes_have(server: FakeServer, tmp_path: Path):
    keys = tmp_path / "keys.json"
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("alice", "bob")}
    entries = [f'{{"name": "{name}", "sha256": "{value}"}}' for name, value in hashes.items()]
    keys.write_text(f'{{"keys": [{", ".join(entries)}]}}')
    keys.chmod(0o600)
    recording = audio()
    with running(server.url, cache_bytes=ROOM, keys=str(keys)) as gateway:
        for name, expected in (("alice", "miss"), ("bob", "hit")):
            caller = {"authorization": f"Bearer {name}"}
            assert mark(transcribe(gateway, recording, caller)) == expected
            [entry] = gateway.http.get("/v1/recognitions", headers=caller).json()["data"]
            assert (entry["key"], entry["fingerprint"]) == (name, "fake")
            assert ("server_total" in entry["timing_ms"]) == (expected == "miss")


@pytest.mark.parametrize("by", ["audio_sha256", "key", "id"])
def test_who_deletes_a_recognition_deletes_what_the_cache_has_of_it(
    gateway: RunningGateway, by: str
):
    recording, other = audio(), audio()
    for each in (other, recording):
        transcribe(gateway, each)
    if by == "id":
        [newest] = gateway.http.get("/v1/recognitions", params={"limit": 1}).json()["data"]
        gateway.http.delete(f"/v1/recognitions/{newest['id']}")
    else:
        digest = hashlib.sha256(recording).hexdigest()
        value = {"audio_sha256": digest, "key": "anonymous"}[by]
        gateway.http.delete("/v1/recognitions", params={by: value})
    assert mark(transcribe(gateway, other)) == ("miss" if by == "key" else "hit")
    assert mark(transcribe(gateway, recording)) == "miss"


def test_a_kept_transcript_has_its_time(server: FakeServer, tmp_path: Path):
    store = tmp_path / "s.sqlite3"
    with running(
        server.url, cache_bytes=ROOM, keep_text_s=0.5, store=f"sqlite:///{store}"
    ) as gateway:
        recording = audio()
        transcribe(gateway, recording)
        wait_until(lambda: mark(transcribe(gateway, recording)) == "miss")
        assert gateway.metric("asr_gateway_cache_failures_total") == 0


def test_a_store_that_fails_is_only_a_miss(server: FakeServer, tmp_path: Path):
    path = tmp_path / "s.sqlite3"
    with running(server.url, cache_bytes=ROOM, store=f"sqlite:///{path}") as gateway:
        recording = audio()
        transcribe(gateway, recording)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE cached_results SET value = 'damaged'")
        connection.close()
        assert mark(transcribe(gateway, recording)) == "miss"
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TABLE cached_results")
        connection.close()
        assert mark(transcribe(gateway, recording)) == "miss"
        assert gateway.metric("asr_gateway_cache_failures_total") >= 2


TEXTS = st.text(max_size=5)
NUMBERS_OF_SECONDS = st.floats(0, 1e5)
SPAN = {
    **{"text": TEXTS, "start_s": NUMBERS_OF_SECONDS, "end_s": NUMBERS_OF_SECONDS},
    **{"confidence": st.floats(0, 1), "channel": st.none() | st.integers(0, 3)},
}
CHANNEL = {"channel": st.integers(0, 3), "text": TEXTS, "confidence": st.floats(0, 1)}


@given(
    st.builds(
        Transcript,
        text=TEXTS,
        duration_s=NUMBERS_OF_SECONDS,
        confidence=st.floats(0, 1),
        words=st.lists(st.builds(Word, **SPAN), max_size=3).map(tuple),
        chars=st.lists(st.builds(Char, **SPAN), max_size=3).map(tuple),
        channels=st.lists(
            st.builds(
                ChannelTranscript, channel=st.integers(0, 3), text=TEXTS, confidence=st.just(1)
            ),
            max_size=2,
        ).map(tuple),
        model=st.builds(
            ModelInfo, id=TEXTS, revision=TEXTS, precision=st.none() | TEXTS, fingerprint=TEXTS
        ),
        timing_ms=st.builds(
            Timing, **dict.fromkeys(("decode", "acoustic", "ctc", "total"), NUMBERS_OF_SECONDS)
        ),
        request_id=TEXTS,
    )
)
def test_a_kept_transcript_has_every_field(transcript: Transcript):
    assert encoding.decode(encoding.encode(transcript)) == transcript


def test_transcripts_of_another_form_are_other_results():
    Word2 = dataclasses.make_dataclass("Word2", [("text", str)], frozen=True)
    More = dataclasses.make_dataclass("More", [("words", tuple[Word2, ...]), ("n", int | None)])
    assert encoding._read(More, {"words": [{"text": "a"}], "n": 1}) == More((Word2("a"),), 1)
    assert encoding._form(More) != encoding._form(Word2)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1e9

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> CacheMetrics:
    return CacheMetrics(CollectorRegistry())


@pytest.fixture
def cached(tmp_path: Path, clock: Clock, metrics: CacheMetrics) -> Iterator[CachedResults]:
    """Room for ten values of 100 bytes."""
    engine = database.open_store(f"sqlite:///{tmp_path}/s.sqlite3")
    room = 10 * (100 + OVERHEAD_BYTES)
    yield CachedResults(engine, max_bytes=room, metrics=metrics, clock=clock)
    engine.dispose()


def kept(cached: CachedResults, names: Iterator[str] | list[str]) -> list[str]:
    async def look() -> list[str]:
        return [name for name in names if await cached.get(name, bytes) is not None]

    return asyncio.run(look())


def put(cached: CachedResults, *names: str, size: int = 100) -> None:
    async def keep() -> None:
        for name in names:
            await cached.put(name, audio_sha256=f"audio of {name}", value=bytes(size))

    asyncio.run(keep())


def test_the_least_recently_used_make_room(
    cached: CachedResults, clock: Clock, metrics: CacheMetrics
):
    names = [str(number) for number in range(10)]
    put(cached, *names)
    clock.now_s += TOUCH_S
    assert kept(cached, ["0", "2"]) == ["0", "2"]
    put(cached, "new", "newer")
    assert kept(cached, [*names, "new", "newer"]) == [*"02456789", "new", "newer"]
    assert metrics.evicted._value.get() == 2  # type: ignore[attr-defined]
    assert metrics.bytes._value.get() == 10 * (100 + OVERHEAD_BYTES)  # type: ignore[attr-defined]


def test_what_is_too_large_by_itself_is_not_kept(cached: CachedResults):
    put(cached, "small")
    put(cached, "large", size=10_000)
    assert kept(cached, ["small", "large"]) == ["small"]


def test_the_same_again_takes_no_more_room(cached: CachedResults):
    names = [str(number) for number in range(9)]
    put(cached, *names, *["same"] * 20)
    assert kept(cached, [*names, "same"]) == [*names, "same"]


def test_a_recording_is_forgotten_and_age_ends_all(cached: CachedResults, clock: Clock):
    put(cached, "a", "b")
    asyncio.run(cached.forget("audio of a"))
    assert kept(cached, ["a", "b"]) == ["b"]
    clock.now_s += 100
    put(cached, "c")
    asyncio.run(cached.expire(keep_s=50))
    assert kept(cached, ["b", "c"]) == ["c"]


def test_what_another_gateway_keeps_counts_too(tmp_path: Path, metrics: CacheMetrics):
    engine = database.open_store(f"sqlite:///{tmp_path}/s.sqlite3")
    room = 10 * (100 + OVERHEAD_BYTES)
    first, second = (CachedResults(engine, max_bytes=room, metrics=metrics) for _ in range(2))
    put(first, *"abcdefgh")
    put(second, *"ABCDEFGH")
    asyncio.run(first.expire(keep_s=1000))
    put(first, "i")
    assert len(kept(first, [*"abcdefghABCDEFGHi"])) == 10
    engine.dispose()


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3000)), max_size=20))
def test_the_quota_holds(tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[int, int]]):
    path = tmp_path_factory.mktemp("quota") / "s.sqlite3"
    engine = database.open_store(f"sqlite:///{path}")
    cached = CachedResults(engine, max_bytes=8000, metrics=CacheMetrics(CollectorRegistry()))
    for number, size in puts:
        put(cached, str(number), size=size)
        with engine.connect() as connection:
            total = connection.exec_driver_sql(
                "SELECT coalesce(sum(length(value)), 0) FROM cached_results"
            ).scalar_one()
        assert total <= 8000
        assert kept(cached, [str(number)]) == [str(number)]
    engine.dispose()
