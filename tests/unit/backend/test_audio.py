from __future__ import annotations

import gc
import io
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_backend.audio import (
    AudioLimits,
    containers,
    count_channels,
    decode,
    estimate_duration_s,
)
from asr_backend.contract import Options, parse_options
from asr_backend.errors import AsrError, ErrorCode
from tests.unit.backend.audio_files import encode, mov_with_samples_elsewhere, s16, tone, wav

LIMITS = AudioLimits(max_audio_s=60, max_audio_bytes=2**24)
SECONDS = 1.5

# container, codec, rate, layout, seconds that an encoder may add or drop at the end
KINDS = [
    ("wav", "pcm_u8", 8_000, "mono", 0),
    ("wav", "pcm_s16le", 16_000, "mono", 0),
    ("wav", "pcm_s24le", 44_100, "stereo", 0),
    ("wav", "pcm_s32le", 22_050, "mono", 0),
    ("wav", "pcm_f32le", 192_000, "mono", 0),
    ("wav", "pcm_f64le", 48_000, "5.1", 0),
    ("wav", "pcm_mulaw", 8_000, "mono", 0),
    ("wav", "adpcm_ms", 16_000, "mono", 0.1),
    ("w64", "pcm_s16le", 16_000, "mono", 0),
    ("aiff", "pcm_s16be", 44_100, "stereo", 0),
    ("au", "pcm_s16be", 16_000, "mono", 0),
    ("caf", "pcm_s16le", 16_000, "mono", 0),
    ("flac", "flac", 44_100, "stereo", 0),
    ("mp3", "libmp3lame", 44_100, "stereo", 0),
    ("ogg", "vorbis", 44_100, "stereo", 0.1),
    ("ogg", "libopus", 48_000, "mono", 0),
    ("ogg", "flac", 16_000, "mono", 0),
    ("ipod", "aac", 44_100, "mono", 0.05),
    ("mp4", "alac", 44_100, "stereo", 0),
    ("mov", "pcm_s16le", 16_000, "mono", 0),
    ("webm", "libopus", 48_000, "mono", 0),
    ("matroska", "flac", 16_000, "mono", 0),
    ("adts", "aac", 16_000, "mono", 0.2),
    ("amr", "libopencore_amrnb", 8_000, "mono", 0.05),
    ("asf", "wmav2", 44_100, "mono", 0.1),
]


@cache
def sample_file(container: str, codec: str, rate_hz: int, layout: str) -> bytes:
    samples = s16(tone(SECONDS, rate_hz))
    return encode(samples, container=container, codec=codec, rate_hz=rate_hz, layout=layout)


def options(**values: Any) -> Options:
    return parse_options(json.dumps(values).encode())


def samples_of(
    data: bytes | memoryview, *, limits: AudioLimits = LIMITS, **values: Any
) -> npt.NDArray[np.float32]:
    blocks = list(decode(data, options=options(**values), limits=limits))
    for block in blocks:
        assert block.dtype == np.float32
        assert block.ndim == 1
        assert 0 < len(block) <= 3 * 16_000
    return np.concatenate(blocks)


def refusal(data: bytes, *, limits: AudioLimits = LIMITS, **values: Any) -> AsrError:
    with pytest.raises(AsrError) as caught:
        samples_of(data, limits=limits, **values)
    return caught.value


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
    # AAC without a container says nothing of its priming samples.
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


def naming_local_files(secret: str) -> dict[str, bytes]:
    return {
        "ffconcat": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "ffconcat_unsafe": f"ffconcat version 1.0\nfile '{os.path.abspath(secret)}'\n".encode(),
        "m3u8": (
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n"
            f"{secret}\n#EXT-X-ENDLIST\n"
        ).encode(),
        "sdp": (
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            f"a=control:file:{secret}\nm=audio 5004 RTP/AVP 0\n"
        ).encode(),
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period>'
            '<AdaptationSet mimeType="audio/wav"><Representation id="0" bandwidth="1">'
            f"<BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>"
        ).encode(),
        "ffmetadata": b";FFMETADATA1\ntitle=x\n",
        "image": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "text": b"this is a text file, named .wav by somebody\n" * 40,
        "random": np.random.default_rng(5).bytes(5_000),
        "zeros": bytes(5_000),
    }


@pytest.mark.parametrize("kind", naming_local_files("secret.wav"))
def test_other_files_are_not_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret.wav").write_bytes(wav(s16(tone(1, 16_000)).tobytes()))
    monkeypatch.chdir(tmp_path)
    error = refusal(naming_local_files("secret.wav")[kind])
    assert error.code is ErrorCode.UNSUPPORTED_FORMAT
    # libav reports on stderr unless told otherwise.
    assert capfd.readouterr() == ("", "")


def test_a_mov_whose_samples_lie_in_another_file_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    movie = encode(s16(tone(1, 16_000)), container="mov", codec="pcm_s16le", rate_hz=16_000)
    (tmp_path / "secret.mov").write_bytes(movie)
    monkeypatch.chdir(tmp_path)
    data = mov_with_samples_elsewhere(movie, "secret.mov")
    with av.open(io.BytesIO(data), container_options={"enable_drefs": "1"}) as careless:
        assert any(frame.to_ndarray().any() for frame in careless.decode(audio=0))
    assert refusal(data).code is ErrorCode.EMPTY_AUDIO
    # Were the option lost, the second guard holds.
    monkeypatch.setitem(containers._OPEN_OPTIONS, "enable_drefs", "1")
    monkeypatch.setitem(containers._OPEN_OPTIONS, "protocol_whitelist", "file")
    assert str(refusal(data)) == "UNSUPPORTED_FORMAT: the file refers to another file"


def test_limits_of_bytes_and_seconds() -> None:
    data = wav(s16(tone(3, 16_000)).tobytes())
    error = refusal(data, limits=AudioLimits(max_audio_s=60, max_audio_bytes=len(data) - 1))
    assert error.code is ErrorCode.AUDIO_TOO_LARGE
    assert error.detail == f"{len(data)} bytes, the limit is {len(data) - 1} bytes"
    exact = AudioLimits(max_audio_s=3, max_audio_bytes=len(data))
    assert len(samples_of(data, limits=exact)) == 48_000
    error = refusal(data, limits=AudioLimits(max_audio_s=1.5, max_audio_bytes=len(data)))
    assert str(error) == "AUDIO_TOO_LONG: 3.0 s, the limit is 1.5 s"
    error = refusal(data, limits=AudioLimits(max_audio_s=2.9999, max_audio_bytes=len(data)))
    assert error.detail == "more than 2.9999 s, the limit is 2.9999 s"
    pcm = {"encoding": "pcm_s16le", "sample_rate": 8_000, "channels": 1}
    error = refusal(data[44:], limits=AudioLimits(max_audio_s=5, max_audio_bytes=10**6), **pcm)
    assert error.detail == "6.0 s, the limit is 5 s"


def test_a_length_that_only_decoding_shows_is_still_held() -> None:
    data = sample_file("adts", "aac", 16_000, "mono")
    error = refusal(data, limits=AudioLimits(max_audio_s=0.5, max_audio_bytes=10**6))
    assert error.detail == "more than 0.5 s, the limit is 0.5 s"


def test_ten_minutes_in_a_small_file_streams_in_flat_memory() -> None:
    long = encode(np.zeros(16_000 * 600, np.int16), container="flac", codec="flac", rate_hz=16_000)
    assert len(long) < 150_000
    limits = AudioLimits(max_audio_s=600, max_audio_bytes=10**6)
    blocks = decode(long, options=Options(), limits=limits)
    count = len(next(blocks))
    memory = psutil.Process().memory_info
    before = memory().rss
    peak = 0
    for index, block in enumerate(blocks):
        count += len(block)
        if index % 50 == 0:
            peak = max(peak, memory().rss - before)
    assert count == 16_000 * 600
    # The samples in full would be 38 MB.
    assert peak < 12 * 2**20


def test_closing_early_lets_go_of_the_submitted_bytes() -> None:
    data = bytearray(sample_file("mp3", "libmp3lame", 44_100, "stereo") * 3)
    blocks: Any = decode(memoryview(data), options=Options(), limits=LIMITS)
    next(blocks)
    with pytest.raises(BufferError):
        data.append(0)
    gc.disable()
    try:
        blocks.close()
        data.append(0)
    finally:
        gc.enable()


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
        assert containers.stated_duration_s(data) == 2.0
        return time.perf_counter() - started

    searching = containers._OPEN_OPTIONS | {"max_probe_packets": "2500"}
    ours, theirs = [], []
    for _ in range(20):
        ours.append(open_s())
        with monkeypatch.context() as patch:
            patch.setattr(containers, "_OPEN_OPTIONS", searching)
            theirs.append(open_s())
    assert min(ours) < 0.5 * min(theirs)


def test_a_length_is_estimated_without_decoding() -> None:
    def estimate(data: bytes, **values: Any) -> float:
        return estimate_duration_s(data, options=options(**values), limits=LIMITS)

    for kind in KINDS:
        # A raw aac or amr file has its bit rate alone.
        tolerance = 0.5 if kind[0] in {"adts", "amr"} else 0.1
        assert abs(estimate(sample_file(*kind[:4])) - SECONDS) < tolerance
    pcm = {"encoding": "pcm_f32le", "sample_rate": 8_000, "channels": 2}
    assert estimate(bytes(64_000 * 3), **pcm) == 3
    assert estimate(bytes(64_000 * 70), **pcm) == LIMITS.max_audio_s
    with pytest.raises(AsrError, match="UNSUPPORTED_FORMAT"):
        estimate(b"text")


def test_channels_are_counted_without_decoding() -> None:
    def count(data: bytes, **values: Any) -> int:
        return count_channels(data, options=options(**values), limits=LIMITS)

    for kind in KINDS:
        expected = {"mono": 1, "stereo": 2, "5.1": 6}[kind[3]]
        assert count(sample_file(*kind[:4])) == expected, kind
    assert count(bytes(80), encoding="pcm_s16le", sample_rate=8_000, channels=5) == 5
    for data, code in ((b"", "EMPTY_AUDIO"), (b"text", "UNSUPPORTED_FORMAT")):
        with pytest.raises(AsrError, match=code):
            count(data)


def test_empty() -> None:
    assert refusal(b"").detail == "AUDIO has 0 bytes"
    for empty in (
        wav(b""),
        encode(s16(tone(0, 16_000)), container="flac", codec="flac", rate_hz=16_000),
    ):
        assert refusal(empty).code is ErrorCode.EMPTY_AUDIO
    assert refusal(b"", encoding="pcm_s16le", sample_rate=8_000, channels=1).code is (
        ErrorCode.EMPTY_AUDIO
    )


@pytest.mark.parametrize("kept", [0.3, 0.5001, 0.77])
@pytest.mark.parametrize("stated", [None, 0xFFFFFFFF, 0x7FFFFFFF, 0])
def test_a_wav_that_breaks_off_gives_what_is_there(kept: float, stated: int | None) -> None:
    stored = s16(tone(2, 44_100))
    stereo = np.repeat(stored[:, None], 2, 1)
    whole = wav(stereo.tobytes(), rate_hz=44_100, channels=2, stated_bytes=stated)
    cut = whole[: 44 + int(kept * (len(whole) - 44)) + 1]
    samples = samples_of(cut)
    frames = (len(cut) - 44) // 4
    assert len(samples) == -(-frames * 16_000 // 44_100)


def test_a_header_that_claims_4_gb_is_taken_for_what_is_there() -> None:
    data = s16(tone(1, 16_000)).tobytes()
    assert len(samples_of(wav(data, stated_bytes=0xFFFFFFFF))) == 16_000


def test_compressed_files_that_break_off_give_what_is_there() -> None:
    for kind in (
        ("flac", "flac", 44_100, "stereo"),
        ("mp3", "libmp3lame", 44_100, "stereo"),
        ("webm", "libopus", 48_000, "mono"),
        ("amr", "libopencore_amrnb", 8_000, "mono"),
    ):
        data = sample_file(*kind)
        seconds = len(samples_of(data[: int(len(data) * 0.77)])) / 16_000
        assert 0.8 < seconds < SECONDS - 0.1


@pytest.mark.parametrize(
    "kind",
    [
        ("flac", "flac", 44_100, "stereo"),
        ("mp3", "libmp3lame", 44_100, "stereo"),
        ("ipod", "aac", 44_100, "mono"),
    ],
)
def test_damage_in_the_middle_is_refused_with_its_time(kind: tuple[str, str, int, str]) -> None:
    data = bytearray(sample_file(*kind))
    middle = len(data) // 2
    data[middle : middle + 600] = np.random.default_rng(1).bytes(600)
    error = refusal(bytes(data))
    assert error.code is ErrorCode.CORRUPT_AUDIO
    seconds = float(error.detail.split()[-2])
    assert 0.1 < seconds < 1.1


def test_broken_headers() -> None:
    data = s16(tone(1, 16_000)).tobytes()
    assert refusal(wav(data)[:30]).code is ErrorCode.CORRUPT_AUDIO
    assert refusal(wav(data, channels=0)).code is ErrorCode.CORRUPT_AUDIO
    assert refusal(wav(data, rate_hz=0)).code is ErrorCode.CORRUPT_AUDIO
    error = refusal(wav(data, rate_hz=10**9))
    assert str(error) == "BAD_SAMPLE_RATE: 1000000000 Hz, allowed are 1000 to 384000 Hz"
    assert refusal(wav(data, rate_hz=999)).code is ErrorCode.BAD_SAMPLE_RATE
    assert refusal(wav(data, channels=200)).code is ErrorCode.UNSUPPORTED_FORMAT
    movie = sample_file("ipod", "aac", 44_100, "mono")
    assert refusal(movie[: len(movie) // 2]).code is ErrorCode.CORRUPT_AUDIO


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_numbers_that_are_none(bad: float, rate_hz: int) -> None:
    stored = tone(3, rate_hz)
    stored[2 * rate_hz] = bad
    error = refusal(wav(stored.astype("<f8").tobytes(), rate_hz=rate_hz, bits=64, is_float=True))
    assert error.code is ErrorCode.NON_FINITE_SAMPLES
    assert error.detail in {"NaN or infinity at 2.00 s", "NaN or infinity at 1.99 s"}
    with np.errstate(over="ignore"):
        raw = stored.astype("<f4").tobytes()
    pcm = {"encoding": "pcm_f32le", "sample_rate": rate_hz, "channels": 1}
    assert refusal(raw, **pcm).code is ErrorCode.NON_FINITE_SAMPLES


def test_pcm_must_be_whole_frames() -> None:
    error = refusal(bytes(10), encoding="pcm_s16le", sample_rate=8_000, channels=2)
    assert str(error) == (
        "CORRUPT_AUDIO: 10 bytes are no whole number of frames of 4 bytes (pcm_s16le, channels 2)"
    )


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(KINDS))
    data = bytearray(sample_file(*kind[:4]))
    for _ in range(draw(st.integers(0, 4))):
        # Most of what can go wrong stands in the header.
        at = draw(st.integers(0, 200) | st.integers(0, len(data) - 1))
        part = draw(st.binary(min_size=1, max_size=16))
        data[at : at + len(part)] = part
    return bytes(data[: draw(st.integers(0, len(data)) | st.just(len(data)))])


@settings(max_examples=120, deadline=None)
@given(damaged_files())
def test_damaged_files_give_samples_or_our_error(data: bytes) -> None:
    try:
        samples = samples_of(data)
    except AsrError:
        return
    assert np.isfinite(samples).all()
