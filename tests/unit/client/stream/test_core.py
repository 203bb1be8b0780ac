"""The core of a live stream against a small model of the server."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_client import (
    AsrError,
    AuthenticationError,
    DeadlineExceeded,
    EngineRestarting,
    Interim,
    InvalidOptions,
    ModelNotFound,
    Segment,
    ServerBusy,
    ServerFault,
    ServerUnavailable,
    Skipped,
    StreamBehind,
    StreamEvent,
    StreamLost,
)
from asr_client._stream.core import StreamCore
from asr_client._stream.form import Form, StreamSettings
from asr_client._stream.look import Look, look_options, look_result
from asr_client._wire import ContractError
from tests.support.client.stream_model import LONGEST, RATE_HZ, answer

FORM = Form(encoding="pcm_s16le", sample_rate=RATE_HZ, channels=1)
SETTINGS: dict[str, Any] = {
    "interim": True,
    "max_segment_s": LONGEST / RATE_HZ,
    "max_behind_s": 60.0,
    "give_up_s": 30.0,
}


def core(resume: StreamLost | None = None, **changed: Any) -> StreamCore:
    settings = StreamSettings(**{**SETTINGS, **changed})
    return StreamCore(settings, FORM, resume=resume, rng=lambda: 1.0)


def error(kind: type[AsrError] = ServerUnavailable, address: str = "a", **more: Any) -> AsrError:
    return kind(status="UNAVAILABLE", address=address, **more)


def result(look: Look, *, stops: bool = False) -> Any:
    document = answer(look.audio, look.state, end=look.end, interim=look.interim, stops=stops)
    return look_result(json.dumps(document).encode())


def finals(pcm: bytes) -> list[tuple[int, int, str]]:
    """Of one look at everything."""
    segments = answer(pcm, None, end=True, interim=False)["segments"]
    return [(each["first_frame"], each["frames"], each["text"]) for each in segments]


def told(events: list[StreamEvent]) -> list[tuple[int, int, str]]:
    return [(e.first_frame, e.frames, e.text) for e in events if isinstance(e, Segment)]


def pcm(*runs: tuple[int, int]) -> bytes:
    """Runs of (frames, value)."""
    return b"".join(value.to_bytes(2, "little") * frames for frames, value in runs)


class Drive:
    """Runs all looks that are due; time passes only where a look waits."""

    def __init__(self, stream: StreamCore, outcome: Callable[[Look], str]) -> None:
        self.stream = stream
        self.outcome = outcome
        self.now = 0.0
        self.events: list[StreamEvent] = []
        self.looks: list[Look] = []

    def go(self) -> None:
        while True:
            look = self.stream.next_look(self.now)
            if look is None:
                wait_s = self.stream.wait_s(self.now)
                if wait_s is None or self.stream.flushed:
                    return
                self.now += wait_s
                continue
            self.looks.append(look)
            self.take(look, "fine" if look.end else self.outcome(look))

    def take(self, look: Look, outcome: str) -> None:
        kinds = {"down": ServerUnavailable, "busy": ServerBusy, "late": DeadlineExceeded}
        if outcome in kinds:
            self.events += self.stream.failed(error(kinds[outcome]), self.now)
        else:
            found = result(look, stops=outcome == "stops")
            self.events += self.stream.answered(found, self.now)


RUNS = st.lists(
    st.tuples(st.integers(1, 2000), st.sampled_from([0, 0, 1, 2, 3])), min_size=1, max_size=12
)
OUTCOMES = st.lists(st.sampled_from(["fine", "stops", "down", "busy", "late"]), max_size=40)


@given(RUNS, st.lists(st.integers(1, 3000), min_size=1, max_size=20), OUTCOMES)
def test_any_cut_and_any_failures_give_the_same_finals(
    runs: list[tuple[int, int]], cuts: list[int], outcomes: list[str]
) -> None:
    whole, stream = pcm(*runs), core()
    left = iter(outcomes)
    drive = Drive(stream, lambda look: next(left, "fine"))
    position = 0
    while position < len(whole):
        for cut in cuts:
            stream.feed(whole[position : position + 2 * cut])
            position += 2 * cut
            drive.go()
            drive.now += cut / RATE_HZ
            assert len(stream.kept) <= 2 * RATE_HZ * 120
    stream.finish()
    drive.go()
    assert stream.finished
    assert stream.kept == b""
    assert told(drive.events) == finals(whole)
    indices = [event.index for event in drive.events if isinstance(event, Segment)]
    assert indices == list(range(len(indices)))
    assert all(len(look.audio) <= 2 * 60 * RATE_HZ for look in drive.looks)


@given(RUNS, st.integers(0, 10_000))
def test_a_lost_stream_goes_on_where_it_was(runs: list[tuple[int, int]], cut: int) -> None:
    whole, stream = pcm(*runs), core()
    drive = Drive(stream, lambda look: "fine")
    cut = 2 * min(cut, len(whole) // 2)
    stream.feed(whole[:cut])
    drive.go()
    stream.finish()
    second = core()
    look = stream.next_look(drive.now)
    if look is None:
        assert stream.finished
        return
    while not look.end:
        drive.take(look, "fine")
        look = stream.next_look(drive.now)
        assert look is not None
    with pytest.raises(StreamLost) as lost:
        stream.failed(error(), drive.now)
    second = core(resume=lost.value)
    again = Drive(second, lambda look: "fine")
    again.go()
    second.feed(whole[cut:])
    again.go()
    second.finish()
    again.go()
    assert told(drive.events + again.events) == finals(whole)


def test_a_flush_makes_everything_final_and_the_stream_goes_on() -> None:
    stream = core()
    drive = Drive(stream, lambda look: "fine")
    stream.feed(pcm((300, 1)))
    stream.flush()
    stream.feed(pcm((100, 2)))
    drive.go()
    assert [(first, frames) for first, frames, _ in told(drive.events)] == [(0, 300)]
    stream.finish()
    drive.go()
    assert [(first, frames) for first, frames, _ in told(drive.events)] == [(0, 300), (300, 100)]


def test_a_flush_at_silence_ends_without_a_look_of_its_own() -> None:
    stream = core()
    stream.feed(pcm((500, 0)))
    look = stream.next_look(0)
    assert look is not None
    stream.flush()
    stream.answered(result(look), 0)
    assert stream.flushed
    assert stream.next_look(0) is None


def test_a_look_is_due_after_a_hop_and_one_is_under_way() -> None:
    stream = core()
    stream.feed(pcm((399, 1)))
    assert stream.next_look(0) is None
    stream.feed(pcm((1, 1)))
    look = stream.next_look(0)
    assert look is not None
    assert (look.interim, look.end) == (True, False)
    stream.feed(pcm((2000, 1)))
    assert stream.next_look(0) is None
    (event,) = stream.answered(result(look), 0)
    assert isinstance(event, Interim)
    following = stream.next_look(0)
    assert following is not None
    assert len(following.audio) == 2 * 2400


def test_the_hop_grows_with_the_open_segment() -> None:
    stream = core(max_segment_s=50.0)
    stream.feed(pcm((10_000, 1)))
    look = stream.next_look(0)
    assert look is not None
    still_open = {"audio_processed_s": 10.0, "consumed_bytes": 0}
    document = {**answer(b"\1\1", None, end=False, interim=True), **still_open}
    stream.answered(look_result(json.dumps(document).encode()), 0)
    stream.feed(pcm((999, 1)))
    assert stream.next_look(0) is None
    stream.feed(pcm((1, 1)))
    assert stream.next_look(0) is not None


def test_a_stream_that_is_behind_sends_a_segment_and_five_seconds() -> None:
    stream = core()
    stream.feed(pcm((30_000, 1)))
    look = stream.next_look(0)
    assert look is not None
    assert (len(look.audio), look.interim, look.timeout_s) == (2 * 8000, False, 8.0)


def test_the_same_look_is_not_repeated_and_avoids_its_server() -> None:
    stream = core()
    stream.feed(pcm((400, 1)))
    assert stream.next_look(0) is not None
    assert stream.failed(error(address="b"), 0) == []
    assert stream.next_look(100) is None
    stream.feed(pcm((400, 1)))
    assert stream.next_look(0.1) is None
    assert stream.wait_s(0.1) == pytest.approx(0.3)
    look = stream.next_look(100)
    assert look is not None
    assert (len(look.audio), look.avoid) == (1600, ("b",))


def test_a_segment_that_ends_processes_of_two_servers_is_skipped() -> None:
    stream = core()
    events: list[StreamEvent] = []
    for address in ("a", "b"):
        stream.feed(pcm((400, 1)))
        assert stream.next_look(100) is not None
        events += stream.failed(error(EngineRestarting, address), 0, several=True)
    (event,) = events
    assert isinstance(event, Skipped)
    assert (event.first_frame, event.frames, event.start_s, event.end_s) == (0, 400, 0.0, 0.4)
    assert len(stream.kept) == 2 * 400
    drive = Drive(stream, lambda look: "fine")
    drive.now = 100
    stream.finish()
    drive.go()
    assert [(first, frames) for first, frames, _ in told(drive.events)] == [(400, 400)]
    assert [event.index for event in drive.events if isinstance(event, Segment)] == [0]


def test_the_only_server_gets_time_to_replace_its_process_and_three_looks() -> None:
    stream = core()
    for number, wait_s in ((1, 4.0), (2, 12.0)):
        stream.feed(pcm((400, 1)))
        assert stream.next_look(100 * number) is not None
        assert stream.failed(error(EngineRestarting), 100 * number) == []
        assert stream.wait_s(100 * number) == pytest.approx(wait_s)
    stream.feed(pcm((400, 1)))
    assert stream.next_look(500) is not None
    assert len(stream.failed(error(EngineRestarting), 500)) == 1


def test_a_defect_of_the_service_skips_too() -> None:
    stream = core()
    for address in ("a", "b"):
        stream.feed(pcm((400, 1)))
        assert stream.next_look(100) is not None
        skipped = stream.failed(error(ServerFault, address, code="INTERNAL_ERROR"), 0)
    assert len(skipped) == 1


def test_a_server_that_only_fails_ends_the_stream() -> None:
    stream = core()
    skipped: list[StreamEvent] = []
    for number in range(5):
        stream.feed(pcm((400, 1)))
        assert stream.next_look(100 * number) is not None
        fault = ServerFault(status="INTERNAL", address="a", server_message="RST_STREAM")
        skipped += stream.failed(fault, 100 * number)
    assert len(skipped) == 1
    stream.feed(pcm((400, 1)))
    assert stream.next_look(1000) is not None
    with pytest.raises(ServerFault):
        stream.failed(fault, 1000)


@pytest.mark.parametrize("kind", [InvalidOptions, AuthenticationError, ModelNotFound, ServerFault])
def test_an_error_that_would_come_again_ends_the_stream(kind: type[AsrError]) -> None:
    stream = core()
    stream.feed(pcm((400, 1)))
    assert stream.next_look(0) is not None
    with pytest.raises(kind):
        stream.failed(error(kind), 0)
    assert len(stream.kept) == 800


def test_one_of_several_servers_may_lack_the_model() -> None:
    stream = core()
    stream.feed(pcm((400, 1)))
    assert stream.next_look(0) is not None
    stream.failed(error(ModelNotFound), 0, several=True)
    stream.feed(pcm((400, 1)))
    assert stream.next_look(100) is not None
    with pytest.raises(ModelNotFound):
        stream.failed(error(ModelNotFound), 100, several=True)


def test_a_stream_may_not_be_further_behind_than_allowed() -> None:
    stream = core(max_behind_s=1.0)
    stream.feed(pcm((900, 1)))
    with pytest.raises(StreamBehind):
        stream.feed(pcm((200, 1)))
    assert len(stream.kept) == 1800
    look = stream.next_look(0)
    assert look is not None
    stream.answered(result(look), 0)
    stream.feed(pcm((200, 1)))


def test_finals_are_given_once() -> None:
    stream = core()
    stream.feed(pcm((400, 1), (300, 0)))
    look = stream.next_look(0)
    assert look is not None
    document = answer(look.audio, None, end=False, interim=True)
    document["segments"] *= 2
    events = stream.answered(look_result(json.dumps(document).encode()), 0)
    assert len(told(events)) == 1


@pytest.mark.parametrize("consumed", [-2, 1, 802])
def test_an_answer_that_consumes_what_was_not_sent_breaks_the_contract(consumed: int) -> None:
    stream = core()
    stream.feed(pcm((400, 1)))
    look = stream.next_look(0)
    assert look is not None
    document = {**answer(look.audio, None, end=False, interim=True), "consumed_bytes": consumed}
    with pytest.raises(ContractError):
        stream.answered(look_result(json.dumps(document).encode()), 0)


def test_an_answer_without_progress_is_no_busy_loop() -> None:
    stream = core()
    stream.feed(pcm((20_000, 1)))
    look = stream.next_look(0)
    assert look is not None
    still = {"audio_processed_s": 0.0, "consumed_bytes": 0, "segments": [], "state": "1:0:0:"}
    document = {**answer(look.audio, None, end=False, interim=False), **still}
    stream.answered(look_result(json.dumps(document).encode()), 0)
    assert stream.next_look(0) is None
    assert stream.wait_s(0) == pytest.approx(0.4)


def test_the_end_is_given_up_behind_more_than_a_segment_too() -> None:
    stream = core(give_up_s=30.0)
    stream.feed(pcm((20_000, 1)))
    stream.finish()
    times: list[float] = []

    def press() -> None:
        for _ in range(100):
            times.append(sum(times[-1:]) + (stream.wait_s(sum(times[-1:])) or 0.0))
            look = stream.next_look(times[-1])
            assert look is not None
            assert not look.end
            stream.failed(error(), times[-1])

    with pytest.raises(StreamLost) as lost:
        press()
    assert 30 <= times[-1] <= 40
    assert len(lost.value.audio) == 40_000


def test_an_answer_gives_the_end_its_time_again() -> None:
    stream = core(give_up_s=30.0)
    stream.feed(pcm((20_000, 1)))
    stream.finish()
    for now in (0.0, 29.0):
        assert stream.next_look(now) is not None
        stream.failed(error(), now)
    look = stream.next_look(60)
    assert look is not None
    stream.answered(result(look), 60)
    assert stream.next_look(61) is not None
    stream.failed(error(), 61)


def test_a_stream_of_many_days() -> None:
    first = 48_000 * 86_400 * 30
    state = f"1:{first}:500000:"
    lost = StreamLost(status="UNAVAILABLE", state=state, first_frame=first, sample_rate=RATE_HZ)
    stream = core(resume=lost)
    drive = Drive(stream, lambda look: "fine")
    stream.feed(pcm((500, 1)))
    stream.finish()
    drive.go()
    (final,) = [event for event in drive.events if isinstance(event, Segment)]
    assert (final.index, final.first_frame, final.frames) == (500_000, first, 500)


def test_flushes_at_one_place_are_one() -> None:
    stream = core()
    stream.feed(pcm((500, 1)))
    for _ in range(1000):
        stream.flush()
    assert len(stream._flushes) == 1


def test_a_short_allowance_does_not_stand_still_after_failures() -> None:
    stream = core(max_behind_s=1.0)
    stream.feed(pcm((1000, 1)))
    assert stream.next_look(0) is not None
    stream.failed(error(), 0)
    with pytest.raises(StreamBehind):
        stream.feed(pcm((1, 1)))
    look = stream.next_look(100)
    assert look is not None
    stream.answered(result(look), 100)
    stream.feed(pcm((1, 1)))


@pytest.mark.parametrize("state", ["1:0:0:", "1:1300:1:", "", "1:x:1:", "later"])
def test_a_state_of_another_place_breaks_the_contract(state: str) -> None:
    stream = core()
    stream.feed(pcm((400, 1), (300, 0)))
    look = stream.next_look(0)
    assert look is not None
    document = {**answer(look.audio, None, end=False, interim=True), "state": state}
    with pytest.raises(ContractError):
        stream.answered(look_result(json.dumps(document).encode()), 0)


def test_a_place_that_is_no_number_breaks_the_contract() -> None:
    document = {**answer(b"\1\1", None, end=False, interim=True), "audio_processed_s": math.nan}
    with pytest.raises(ContractError):
        look_result(json.dumps(document).encode())


def test_words_that_were_a_noise_are_taken_back_once() -> None:
    stream = core()
    stream.feed(pcm((400, 1)))
    look = stream.next_look(0)
    assert look is not None
    (shown,) = stream.answered(result(look), 0)
    assert isinstance(shown, Interim)
    for wanted in (["Interim"], []):
        stream.feed(pcm((400, 0)))
        look = stream.next_look(0)
        assert look is not None
        document = answer(look.audio, look.state, end=False, interim=True)
        found = {**document, "segments": [], "state": document["state"].replace(":1:", ":0:")}
        events = stream.answered(look_result(json.dumps(found).encode()), 0)
        assert [type(event).__name__ for event in events] == wanted
        assert not any(event.text for event in events if isinstance(event, Interim))


def test_options_of_a_look() -> None:
    stream = core()
    stream.feed(pcm((400, 1)))
    look = stream.next_look(0)
    assert look is not None
    written = json.loads(look_options(look, {"encoding": "pcm_s16le", "decoder": None}))
    assert written == {"encoding": "pcm_s16le", "end": False, "interim": True}
