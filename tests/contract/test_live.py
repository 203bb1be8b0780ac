"""Live streams of the SDK on the fake and on the real server."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from asr_client import AsyncClient, Client, Interim, InvalidOptions, Segment, StreamEvent, paced
from asr_client.testing._model import STREAM_RULES
from tests.contract.schemas import STREAM_OPTIONS
from tests.support.live import talk

RATE_HZ = 16_000
HOP = RATE_HZ // 4


def pcm(seed: int) -> npt.NDArray[np.int16]:
    """Two recordings with pauses."""
    return (talk(seed) * 32767).round().astype(np.int16)


def chunks(samples: npt.NDArray[np.int16]) -> list[npt.NDArray[np.int16]]:
    return [samples[start : start + HOP] for start in range(0, len(samples), HOP)]


def finals(events: list[StreamEvent]) -> list[Segment]:
    return [event for event in events if isinstance(event, Segment)]


def check(client: Client, samples: npt.NDArray[np.int16], segment: Segment) -> None:
    """A final is what `transcribe` answers for its frames; times are the stream's."""
    own = samples[segment.first_frame : segment.first_frame + segment.frames]
    alone = client.transcribe(own, sample_rate=RATE_HZ)
    assert (segment.text, segment.confidence) == (alone.text, alone.confidence)
    assert [word.text for word in segment.words] == [word.text for word in alone.words]
    for live, word in zip(segment.words, alone.words, strict=True):
        start_s = segment.first_frame / RATE_HZ
        assert live.start_s == pytest.approx(start_s + word.start_s, abs=2e-3)
        assert live.end_s == pytest.approx(start_s + word.end_s, abs=2e-3)
        assert live.confidence == word.confidence


def test_the_sdk_and_the_fake_know_every_key_of_the_schema() -> None:
    keys = set(STREAM_OPTIONS["properties"])
    assert set(STREAM_RULES) == keys
    assert keys - {"state", "end"} <= set(inspect.signature(Client.stream).parameters)


@pytest.mark.parametrize("seed", [1, 2])
def test_finals_are_what_transcribe_answers(client: Client, seed: int) -> None:
    samples = pcm(seed)
    with client.stream(sample_rate=RATE_HZ) as live:
        segments = finals(list(live.run(chunks(samples))))
        assert live.pending == b""
    assert segments
    assert [segment.index for segment in segments] == list(range(len(segments)))
    for segment in segments:
        check(client, samples, segment)


async def test_the_async_client_gives_the_same(url: str, client: Client) -> None:
    samples = pcm(3)
    with client.stream(sample_rate=RATE_HZ) as live:
        expected = finals(list(live.run(chunks(samples))))
    async with AsyncClient(url) as other, other.stream(sample_rate=RATE_HZ) as stream:
        events = [event async for event in stream.run(chunks(samples))]
    assert finals(events) == expected


def test_interims_come_while_it_is_spoken(client: Client) -> None:
    samples = pcm(4)
    with client.stream(sample_rate=RATE_HZ) as live:
        events = list(live.run(paced(samples, sample_rate=RATE_HZ, speed=2)))
    interims = [event for event in events if isinstance(event, Interim)]
    assert any(interim.text for interim in interims)
    for interim in interims:
        assert interim.text.startswith(interim.stable_text)
        assert " ".join(word.text for word in interim.words) == interim.text


@pytest.mark.parametrize(
    "options",
    [
        {"interim": False, "timestamps": "none"},
        {"timestamps": "char", "endpoint_silence_s": 0.3, "max_segment_s": 4.0},
    ],
)
def test_options_of_a_stream(client: Client, options: dict[str, Any]) -> None:
    assert options.keys() <= STREAM_OPTIONS["properties"].keys()
    samples = pcm(5)
    with client.stream(sample_rate=RATE_HZ, channel=0, **options) as live:
        events = list(live.run(chunks(samples)))
    assert finals(events)
    for segment in finals(events):
        assert bool(segment.words) == (options["timestamps"] != "none")
        assert bool(segment.chars) == (options["timestamps"] == "char")
        assert segment.frames <= options.get("max_segment_s", 15) * RATE_HZ * 1.1


@pytest.mark.parametrize("wrong", [{"endpoint_silence_s": 9.0}, {"max_segment_s": 1.0}])
def test_options_out_of_range_end_the_stream(client: Client, wrong: dict[str, Any]) -> None:
    with client.stream(sample_rate=RATE_HZ, **wrong) as live, pytest.raises(InvalidOptions):
        list(live.run(chunks(pcm(6))))
