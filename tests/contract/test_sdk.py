"""What the SDK's user can rely on, whichever server answers."""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
import pytest
from opentelemetry import trace

import asr_client
from asr_client import AsyncClient, Client, Transcript
from tests.support.recordings import FOLDER, pcm, samples, wav

NAME = "cards-001-ten-of-clubs.wav"
RECORDING = FOLDER / NAME
SECOND = np.zeros(16_000, np.int16)


def check(transcript: Transcript) -> None:
    """What the contract says of every transcript of one mixed recording."""
    assert 0 <= transcript.confidence <= 1
    assert transcript.channels == ()
    assert transcript.model.id
    assert transcript.model.revision
    assert transcript.model.precision in ("fp32", "bf16", "fp16", "int8")
    assert transcript.model.fingerprint
    timing = transcript.timing_ms
    assert min(timing.decode, timing.acoustic, timing.ctc) >= 0
    assert timing.total > 0
    for spans in (transcript.words, transcript.chars):
        assert all(0 <= span.start_s <= span.end_s <= transcript.duration_s for span in spans)
        assert all(0 <= span.confidence <= 1 and span.channel is None for span in spans)
        starts = [span.start_s for span in spans]
        assert starts == sorted(starts)
    if transcript.words:
        assert " ".join(word.text for word in transcript.words) == transcript.text
    if transcript.chars:
        assert "".join(char.text for char in transcript.chars) == transcript.text.replace(" ", "")


def test_a_file_in_every_form_is_the_same_recording(client: Client) -> None:
    data = RECORDING.read_bytes()
    with RECORDING.open("rb") as file:
        forms = [client.transcribe(audio) for audio in (RECORDING, str(RECORDING), data, file)]
    for transcript in forms:
        check(transcript)
        assert transcript.text == forms[0].text != ""
        assert transcript.words == forms[0].words
        assert transcript.duration_s == pytest.approx(pcm(NAME).size / 16_000, abs=0.001)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint16, np.float32, np.float64])
def test_samples_of_every_dtype_are_the_same_recording(client: Client, dtype: Any) -> None:
    whole = pcm(NAME).astype(np.int64)
    made = {
        np.int16: whole,
        np.int32: whole << 16,
        np.uint16: whole + 32768,
    }.get(dtype, whole / 32768)
    transcript = client.transcribe(np.asarray(made).astype(dtype), sample_rate=16_000)
    check(transcript)
    expected = client.transcribe(RECORDING)
    assert transcript.text == expected.text
    assert transcript.duration_s == expected.duration_s


def test_raw_bytes_are_samples_when_they_are_said_to_be(client: Client) -> None:
    raw = io.BytesIO(pcm(NAME).tobytes())
    transcript = client.transcribe(raw, encoding="pcm_s16le", sample_rate=16_000, channels=1)
    assert transcript.text == client.transcribe(RECORDING).text


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compressed_it_is_the_same_recording(
    client: Client, url: str, compression: Literal["gzip", "deflate"]
) -> None:
    with Client(url, timeout_s=60, compression=compression) as compressing:
        assert compressing.transcribe(RECORDING).text == client.transcribe(RECORDING).text


def test_a_trace_s_context_is_no_hindrance(client: Client) -> None:
    context = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        transcript = client.transcribe(RECORDING)
    assert transcript.text == client.transcribe(RECORDING).text


def test_two_channels(client: Client) -> None:
    stereo = np.stack([samples(NAME), samples(NAME)], axis=1)
    for channel in ("mix", 0, 1):
        transcript = client.transcribe(stereo, sample_rate=16_000, channel=channel)
        check(transcript)
        assert transcript.duration_s == pytest.approx(len(stereo) / 16_000, abs=0.001)
    with pytest.raises(asr_client.InvalidOptions):
        client.transcribe(stereo, sample_rate=16_000, channel=2)


def test_channels_kept_apart(client: Client) -> None:
    stereo = np.stack([samples(NAME), np.roll(samples(NAME), 1600)], axis=1)
    stereo[:1600, 1] = 0
    alone = [client.transcribe(stereo, sample_rate=16_000, channel=channel) for channel in (0, 1)]
    both = client.transcribe(stereo, sample_rate=16_000, channel="separate", timestamps="char")
    assert [(one.channel, one.text) for one in both.channels] == [
        (channel, transcript.text) for channel, transcript in enumerate(alone)
    ]
    assert both.text == "\n".join(transcript.text for transcript in alone)
    assert both.duration_s == alone[0].duration_s
    for spans in (both.words, both.chars):
        starts = [span.start_s for span in spans]
        assert starts == sorted(starts)
    for channel, transcript in enumerate(alone):
        words = [(w.text, w.start_s) for w in both.words if w.channel == channel]
        assert words == [(w.text, w.start_s) for w in transcript.words]
        chars = "".join(c.text for c in both.chars if c.channel == channel)
        assert chars == transcript.text.replace(" ", "")
    mono = client.transcribe(stereo[:, 0], sample_rate=16_000, channel="separate")
    assert [one.text for one in mono.channels] == [mono.text] == [alone[0].text]


def test_another_rate_keeps_the_duration(client: Client) -> None:
    transcript = client.transcribe(np.zeros(44_100, np.int16), sample_rate=44_100)
    check(transcript)
    assert transcript.duration_s == pytest.approx(1.0, abs=0.01)


def test_timestamps_are_what_was_asked_for(client: Client) -> None:
    none = client.transcribe(RECORDING, timestamps="none")
    word = client.transcribe(RECORDING, timestamps="word")
    char = client.transcribe(RECORDING, timestamps="char")
    for transcript in (none, word, char):
        check(transcript)
        assert transcript.text == none.text
    assert (none.words, none.chars, word.chars) == ((), (), ())
    assert word.words == char.words != ()
    assert char.chars != ()


def test_beam_search_follows_the_same_contract(client: Client) -> None:
    transcript = client.transcribe(
        RECORDING,
        timestamps="char",
        decoder="beam",
        beam_width=20,
        hotwords=["clubs", "ace"],
        hotword_weight=2.0,
    )
    check(transcript)
    assert transcript.text.lower() == "ten of clubs"


def test_the_async_client_hears_the_same(url: str, client: Client) -> None:
    import asyncio

    async def transcribe() -> list[Transcript]:
        async with AsyncClient(url, timeout_s=60) as aio:
            await aio.wait_until_ready(60)
            assert (await aio.status()).ready
            return await asyncio.gather(*[aio.transcribe(RECORDING) for _ in range(4)])

    expected = client.transcribe(RECORDING)
    for transcript in asyncio.run(transcribe()):
        check(transcript)
        assert transcript.text == expected.text


@pytest.mark.parametrize(
    ("audio", "options", "kind", "code"),
    [
        (b"", {}, asr_client.InvalidAudio, "EMPTY_AUDIO"),
        (SECOND[:0], {"sample_rate": 16_000}, asr_client.InvalidAudio, "EMPTY_AUDIO"),
        (wav(SECOND[:0]), {}, asr_client.InvalidAudio, "EMPTY_AUDIO"),
        (b"A text, not a recording.\n", {}, asr_client.InvalidAudio, "UNSUPPORTED_FORMAT"),
        (b"ffconcat version 1.0\nfile a.wav\n", {}, asr_client.InvalidAudio, "UNSUPPORTED_FORMAT"),
        (
            np.array([0, np.nan] * 800),
            {"sample_rate": 16_000},
            asr_client.InvalidAudio,
            "NON_FINITE_SAMPLES",
        ),
        (SECOND, {"sample_rate": 1}, asr_client.InvalidOptions, "BAD_OPTIONS"),
        (
            b"\0" * 7,
            {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1},
            asr_client.InvalidAudio,
            "CORRUPT_AUDIO",
        ),
        (RECORDING, {"channel": 7}, asr_client.InvalidOptions, "BAD_OPTIONS"),
        (RECORDING, {"channel": -1}, asr_client.InvalidOptions, "BAD_OPTIONS"),
        (RECORDING, {"channel": "left"}, asr_client.InvalidOptions, "BAD_OPTIONS"),
        (RECORDING, {"timestamps": "sentence"}, asr_client.InvalidOptions, "BAD_OPTIONS"),
        (RECORDING, {"decoder": "viterbi"}, asr_client.InvalidOptions, "BAD_OPTIONS"),
        (RECORDING, {"language": "tlh"}, asr_client.InvalidOptions, "UNKNOWN_LANGUAGE"),
        (RECORDING, {"hotwords": ["ace"]}, asr_client.InvalidOptions, "BAD_OPTIONS"),
        (RECORDING, {"decoder": "beam", "beam_width": 0}, asr_client.InvalidOptions, "BAD_OPTIONS"),
        (
            RECORDING,
            {"decoder": "beam", "hotwords": ["ace"] * 101},
            asr_client.InvalidOptions,
            "BAD_OPTIONS",
        ),
        (
            RECORDING,
            {"decoder": "beam", "hotwords": ["a" * 201]},
            asr_client.InvalidOptions,
            "BAD_OPTIONS",
        ),
    ],
)
def test_what_is_refused_is_refused_once_and_named(
    client: Client, audio: Any, options: dict[str, Any], kind: type[asr_client.AsrError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        client.transcribe(audio, **options)
    assert caught.value.code == code
    assert caught.value.status == "INVALID_ARGUMENT"
    assert caught.value.attempts == 1
    assert caught.value.server_message.partition(": ")[2] != ""


def test_status_names_both_models(client: Client) -> None:
    client.wait_until_ready(60)
    assert client.is_ready()
    status = client.status()
    assert (status.live, status.ready, status.name) == (True, True, "triton")
    assert [model.name for model in status.models] == ["transcribe", "wav2vec2"]
    assert all(model.versions == ("1",) for model in status.models)


def test_info_is_what_transcripts_name(client: Client) -> None:
    info = client.info()
    model = client.transcribe(RECORDING).model
    assert (model.id, model.revision) == (info.model_id, info.model_revision)
    assert (model.precision, model.fingerprint) == (info.precision, info.fingerprint)
    assert info.decoders == ("greedy", "beam")
    assert info.languages == ()
    assert info.address in client.url


async def test_both_clients_get_the_same_info(url: str, client: Client) -> None:
    async with AsyncClient(url, timeout_s=60) as aio:
        assert await aio.info() == client.info()


def test_a_deadline_that_cannot_be_met_is_exceeded(client: Client) -> None:
    with pytest.raises(asr_client.DeadlineExceeded):
        client.transcribe(RECORDING, timeout_s=1e-5)
