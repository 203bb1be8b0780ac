from __future__ import annotations

import time
from contextlib import closing

import numpy as np
import pytest

from asr_backend.audio import containers
from asr_backend.errors import ErrorCode
from tests.support.backend.decoded import KINDS, SECONDS, refusal, sample_file, samples_of
from tests.support.backend.files import encode, s16, tone, wav


@pytest.mark.parametrize(("container", "codec", "rate_hz", "layout", "extra_s"), KINDS)
def test_every_kind_gives_the_tone(
    container: str, codec: str, rate_hz: int, layout: str, extra_s: float
) -> None:
    samples = samples_of(sample_file(container, codec, rate_hz, layout))
    assert abs(len(samples) / 16_000 - SECONDS) <= extra_s + 1 / 16_000
    middle = samples[4_000:20_000]
    # A lossy codec may scale and delay a little; an error of mixing or of time would show.
    assert np.argmax(np.abs(np.fft.rfft(middle))) == round(440 * len(middle) / 16_000)
    assert 0.28 < np.sqrt((middle**2).mean()) < 0.37
    # AAC without a container does not state its priming samples.
    if container not in {"adts", "amr", "asf"} and codec not in {"pcm_u8", "pcm_mulaw"}:
        wanted = tone(SECONDS, 16_000)[4_000:20_000]
        # Priming samples are trimmed: a shift of one sample would be an error of 0.09.
        assert np.abs(middle - wanted).max() < 0.03


def test_16_khz_16_bit_passes_bit_for_bit() -> None:
    stored = np.random.default_rng(0).integers(-32768, 32768, 50_001).astype("<i2")
    wanted = stored.astype(np.float32) / 32768
    assert np.array_equal(samples_of(wav(stored.tobytes())), wanted)
    pcm = {"encoding": "pcm_s16le", "sample_rate": 16_000, "channels": 1}
    assert np.array_equal(samples_of(stored.tobytes(), **pcm), wanted)
    assert np.array_equal(samples_of(memoryview(stored), **pcm), wanted)


@pytest.mark.parametrize("rate_hz", [1_000, 7_999, 8_000, 11_025, 22_050, 44_100, 48_000, 384_000])
@pytest.mark.parametrize("extra", [0, 1, 137])
def test_resampling_keeps_time(rate_hz: int, extra: int) -> None:
    count = rate_hz + extra
    stored = tone(2, rate_hz)[:count].astype("<f4")
    samples = samples_of(stored.tobytes(), encoding="pcm_f32le", sample_rate=rate_hz, channels=1)
    assert len(samples) == -(-count * 16_000 // rate_hz)
    wanted = tone(3, 16_000)[: len(samples)]
    tolerance = 0.05 if rate_hz == 1_000 else 0.001
    assert np.abs(samples - wanted)[500:-500].max() < tolerance


@pytest.mark.parametrize(("rate_hz", "count"), [(8_000, 5), (48_000, 10), (384_000, 1), (1_000, 1)])
def test_a_few_samples_keep_their_length(rate_hz: int, count: int) -> None:
    data = b"\1\0" * count
    assert len(samples_of(wav(data, rate_hz=rate_hz))) == -(-count * 16_000 // rate_hz)


def test_mix_is_the_mean_of_all_channels_and_an_index_takes_one() -> None:
    channels = np.array([0.1, 0.2, 0.3, 0.6, -0.4, -0.2])
    stored = np.outer(tone(0.1, 16_000, level=1), channels)
    data = wav(stored.astype("<f4").tobytes(), channels=6, bits=32, is_float=True)
    mix = samples_of(data)
    assert np.allclose(mix, stored.mean(axis=1), atol=1e-6)
    for index in range(6):
        assert np.allclose(samples_of(data, channel=index), stored[:, index], atol=1e-6)
    error = refusal(data, channel=6)
    assert error.code is ErrorCode.BAD_OPTIONS
    assert error.detail == "channel is 6, the audio has 6 channels: 0 to 5"
    raw = stored.astype("<f4").tobytes()
    pcm = {"encoding": "pcm_f32le", "sample_rate": 16_000, "channels": 6}
    assert np.allclose(samples_of(raw, **pcm), mix)
    assert np.allclose(samples_of(raw, **pcm, channel=3), stored[:, 3], atol=1e-6)


def test_a_planar_file_is_mixed_too() -> None:
    data = sample_file("mp3", "libmp3lame", 44_100, "stereo")
    assert np.allclose(samples_of(data), samples_of(data, channel=1), atol=1e-3)


def test_video_is_left_alone_and_a_film_without_sound_refused() -> None:
    samples = s16(tone(1, 16_000))
    film = encode(samples, container="mp4", codec="aac", rate_hz=16_000, video=True)
    assert len(samples_of(film)) >= 16_000
    silent = encode(samples[:0], container="matroska", codec="aac", rate_hz=16_000, video=True)
    assert refusal(silent).code in {ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.EMPTY_AUDIO}


@pytest.mark.parametrize(
    ("container", "codec", "says"),
    [
        ("mpegts", "mp2", "not an audio file of a known kind"),
        ("avi", "pcm_s16le", "not an audio file of a known kind"),
        ("matroska", "wavpack", "audio codec wavpack is not supported"),
    ],
)
def test_what_ffmpeg_knows_and_the_contract_does_not(container: str, codec: str, says: str) -> None:
    data = encode(s16(tone(1, 44_100)), container=container, codec=codec, rate_hz=44_100)
    error = refusal(data)
    assert error.code is ErrorCode.UNSUPPORTED_FORMAT
    assert error.detail.startswith(says)


def test_ogg_files_joined_end_to_end_are_heard_through() -> None:
    data = sample_file("ogg", "libopus", 48_000, "mono")
    assert len(samples_of(data + data)) == 2 * SECONDS * 16_000


def test_mp3_files_joined_end_to_end_are_heard_through() -> None:
    first = sample_file("mp3", "libmp3lame", 44_100, "stereo")
    second = encode(s16(tone(1, 22_050)), container="mp3", codec="libmp3lame", rate_hz=22_050)
    tag = b"TAG" + bytes(125)
    assert abs(len(samples_of(first + tag + second)) / 16_000 - SECONDS - 1) < 0.15


def test_a_wav_is_opened_without_a_search_for_other_codecs_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = memoryview(wav(s16(tone(2.0, 16_000)).tobytes()))

    def open_s() -> float:
        started = time.perf_counter()
        with closing(containers.Container(data)) as container:
            assert container.duration_s == 2.0
        return time.perf_counter() - started

    searching = containers._OPEN_OPTIONS | {"max_probe_packets": "2500"}
    ours, theirs = [], []
    for _ in range(20):
        ours.append(open_s())
        with monkeypatch.context() as patch:
            patch.setattr(containers, "_OPEN_OPTIONS", searching)
            theirs.append(open_s())
    assert min(ours) < 0.5 * min(theirs)
