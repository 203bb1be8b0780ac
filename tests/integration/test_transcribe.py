"""`transcribe` on the real server: right words, whatever else is in the batch."""

from __future__ import annotations

import asyncio
import io
import operator
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from asr_client import AsyncClient, Client, RetryPolicy, ServerBusy, Transcript
from tests.support import recordings
from tests.support.server import metrics_page, reference
from tools.local_server import LocalServer
from tools.word_errors import word_errors

pytestmark = pytest.mark.server


@pytest.mark.parametrize("name", sorted(recordings.texts()))
def test_a_recording_has_the_words_that_the_checkpoint_hears(client: Client, name: str):
    transcript = client.transcribe(recordings.FOLDER / name, timestamps="char")
    samples = recordings.samples(name)
    assert transcript.text == reference.text(samples)
    assert transcript.duration_s == pytest.approx(len(samples) / 16_000, abs=1e-3)
    assert " ".join(word.text for word in transcript.words) == transcript.text
    assert "".join(char.text for char in transcript.chars) == transcript.text.replace(" ", "")
    spans = [(word.start_s, word.end_s) for word in transcript.words]
    assert spans == sorted(spans)
    assert all(0 <= start < end <= transcript.duration_s for start, end in spans)
    assert all(0 <= word.confidence <= 1 for word in transcript.words)
    assert transcript.model.id == "demo"
    assert transcript.timing_ms.total > 0


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_an_array_of_any_dtype_is_the_file_it_came_from(client: Client, dtype: str):
    name = min(recordings.texts())
    pcm = recordings.pcm(name)
    samples = {
        "int16": pcm,
        "int32": pcm.astype(np.int32) << 16,
        "float32": recordings.samples(name),
        "float64": recordings.samples(name).astype(np.float64),
    }[dtype]
    transcribed = client.transcribe(samples, sample_rate=16_000)
    assert transcribed.text == client.transcribe(recordings.FOLDER / name).text


def test_one_channel_of_a_stereo_file(client: Client):
    first, second = (recordings.pcm(name) for name in sorted(recordings.texts())[:2])
    length = min(len(first), len(second))
    stereo = recordings.wav(np.stack([first[:length], second[:length]], axis=1))
    for channel, mono in enumerate((first, second)):
        alone = client.transcribe(recordings.wav(mono[:length]))
        assert client.transcribe(stereo, channel=channel).text == alone.text


MODELS = ("transcribe", "wav2vec2")


def inferences(page: str) -> list[float]:
    return [metrics_page.value(page, "nv_inference_count", model=model) for model in MODELS]


def page_at(server: LocalServer, counts: list[float]) -> str:
    """The metrics once Triton has counted so many for each model.

    It does when `execute` returns, which is behind the answers and behind the model's own metrics.
    """
    deadline = time.monotonic() + 30
    while any(map(operator.lt, inferences(page := server.metrics()), counts)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return page


def test_concurrent_clips_share_forwards_and_keep_their_own_words(client: Client, server):
    clips = [recordings.wav(clip) for clip in recordings.clips(32)]
    counted = inferences(server.metrics())
    alone = [client.transcribe(clip) for clip in clips]
    before = page_at(server, [count + len(clips) for count in counted])
    with ThreadPoolExecutor(len(clips)) as pool:
        together = list(pool.map(client.transcribe, clips))
    after = page_at(server, [count + 2 * len(clips) for count in counted])
    assert [t.text for t in together] == [t.text for t in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=2e-3)
        assert [w.start_s for w in one.words] == [w.start_s for w in other.words]

    def grown(name: str, **labels: str) -> float:
        return metrics_page.value(after, name, **labels) - metrics_page.value(
            before, name, **labels
        )

    for model in MODELS:
        assert grown("nv_inference_count", model=model) == len(clips)
    # Fronts take calls one by one; their windows are batched.
    assert grown("nv_inference_exec_count", model="transcribe") == len(clips)
    assert grown("nv_inference_exec_count", model="wav2vec2") < len(clips)
    assert grown("asr_forward_windows_sum") == len(clips)
    assert grown("asr_forward_windows_count") < len(clips)
    audio_s = sum(t.duration_s for t in together)
    assert grown("asr_audio_seconds_total") == pytest.approx(audio_s, abs=0.1)
    assert grown("asr_padded_seconds_total") >= grown("asr_audio_seconds_total")


def test_one_front_fills_forwards_with_more_than_six_windows(narrow_server: LocalServer):
    clip = recordings.wav(recordings.pcm(min(recordings.texts())))

    def wide_forwards() -> float:
        page = narrow_server.metrics()
        all_ = metrics_page.value(page, "asr_forward_windows_count")
        return all_ - metrics_page.value(page, "asr_forward_windows_bucket", le="6")

    with Client(narrow_server.url, timeout_s=120) as client, ThreadPoolExecutor(32) as pool:
        # On a busy machine the calls of one round may come in one by one.
        for _ in range(10):
            texts = {transcript.text for transcript in pool.map(client.transcribe, [clip] * 64)}
            assert len(texts) == 1
            if wide_forwards():
                return
    raise AssertionError("no forward had more than six windows")


async def test_more_than_may_wait_is_refused_at_once_and_the_rest_is_answered(
    narrow_server: LocalServer,
):
    audio = np.tile(recordings.pcm("cards-004-five-five.wav"), 4)[: 5 * recordings.RATE_HZ]
    clip, busy = recordings.wav(audio), RetryPolicy(max_attempts=1)
    async with AsyncClient(narrow_server.url, timeout_s=120, retry=busy) as client:
        alone = await client.transcribe(clip)
        outcomes = await asyncio.gather(
            *(client.transcribe(clip) for _ in range(150)), return_exceptions=True
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, ServerBusy)]
        transcribed = [outcome for outcome in outcomes if isinstance(outcome, Transcript)]
        assert len(refused) + len(transcribed) == len(outcomes)
        assert all("Exceeds maximum queue size" in error.server_message for error in refused)
        assert refused
        assert {transcript.text for transcript in transcribed} == {alone.text}
        assert (await client.transcribe(clip)).text == alone.text


def noisy_clips() -> list[bytes]:
    """The recordings in the order of their texts, in noise that makes the checkpoint unsure."""
    random = np.random.default_rng(0)
    clips = []
    for pcm in map(recordings.pcm, recordings.texts()):
        noise = random.normal(0, 0.3 * pcm.std(), len(pcm))
        clips.append(recordings.wav((pcm + noise).clip(-32768, 32767).astype(np.int16)))
    return clips


def test_a_language_model_of_the_true_words_hears_more_of_them(
    client: Client, narrow_server: LocalServer
):
    def errors(caller: Client, decoder: Any) -> int:
        transcribed = [caller.transcribe(clip, decoder=decoder).text for clip in noisy_clips()]
        pairs = zip(recordings.texts().values(), transcribed, strict=True)
        return sum(word_errors(true.upper(), text) for true, text in pairs)

    with Client(narrow_server.url, timeout_s=120) as informed:
        assert errors(informed, "greedy") == errors(client, "greedy")
        assert errors(informed, "beam") < errors(client, "greedy")


def test_beam_search_in_any_batch_and_hot_words_that_flip_its_result(client: Client):
    clips = noisy_clips()
    hotwords = [text.split() for text in recordings.texts().values()]
    plain = [client.transcribe(clip, decoder="beam") for clip in clips]
    flipped = [
        client.transcribe(clip, decoder="beam", hotwords=words, hotword_weight=15)
        for clip, words in zip(clips, hotwords, strict=True)
    ]
    assert [t.text for t in plain] != [t.text for t in flipped]
    with ThreadPoolExecutor(18) as pool:
        greedy = pool.map(client.transcribe, clips)
        beams = pool.map(lambda clip: client.transcribe(clip, decoder="beam"), clips)
        boosted = pool.map(
            lambda clip, words: client.transcribe(
                clip, decoder="beam", hotwords=words, hotword_weight=15
            ),
            clips,
            hotwords,
        )
        assert [t.text for t in boosted] == [t.text for t in flipped]
        for together, alone, other in zip(beams, plain, greedy, strict=True):
            assert together.text == alone.text
            assert together.confidence == pytest.approx(alone.confidence, abs=2e-3)
            if other.text == alone.text:
                assert [w.start_s for w in other.words] == [w.start_s for w in alone.words]


def test_a_clip_shorter_than_a_frame_is_silence(client: Client):
    transcript = client.transcribe(np.ones(10, np.int16), sample_rate=16_000)
    assert (transcript.text, transcript.words) == ("", ())


def test_what_was_not_asked_for_is_absent(server: LocalServer, client: Client):
    transcript = client.transcribe(recordings.FOLDER / min(recordings.texts()), timestamps="none")
    assert transcript.words == ()
    assert transcript.chars == ()


def test_header_of_a_wave_file_is_not_heard(client: Client):
    """The container's samples are transcribed, not its bytes."""
    name = min(recordings.texts())
    file = io.BytesIO((recordings.FOLDER / name).read_bytes())
    with wave.open(file) as source:
        raw = source.readframes(source.getnframes())
    transcribed = client.transcribe(raw, encoding="pcm_s16le", sample_rate=16_000, channels=1)
    assert transcribed.text == client.transcribe(recordings.FOLDER / name).text
