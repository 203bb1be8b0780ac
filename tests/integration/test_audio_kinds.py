"""Rates, sample formats, channels and containers on the real server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from asr_client import Client
from tests.support import recordings
from tests.support.backend.files import encode, s16, tone, wav
from tools.word_errors import word_error_rate

pytestmark = pytest.mark.server

WORDS = recordings.pcm("go-forward-ten-meters.wav")
FLOATS = WORDS.astype(np.float64) / 32768


def silence_file(seconds: int) -> bytes:
    """FLAC, which keeps an hour of silence in some hundred kilobytes."""
    return encode(
        np.zeros(16_000 * seconds, np.int16), container="flac", codec="flac", rate_hz=16_000
    )


def _bits(bits: int) -> bytes:
    if bits == 8:
        return wav((np.round(FLOATS * 127) + 128).astype(np.uint8).tobytes(), bits=8)
    if bits == 24:
        wide = np.round(FLOATS * (2**23 - 1)).astype("<i4")
        return wav(wide.view(np.uint8).reshape(-1, 4)[:, :3].tobytes(), bits=24)
    return wav(FLOATS.astype("<f4").tobytes(), bits=32, is_float=True)


@pytest.mark.parametrize("bits", [8, 24, 32])
def test_other_sample_formats_are_heard(client: Client, bits: int):
    transcript = client.transcribe(_bits(bits))
    assert transcript.duration_s == pytest.approx(len(WORDS) / 16_000, abs=1e-3)
    if bits != 8:
        assert transcript.text == client.transcribe(recordings.wav(WORDS)).text


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 192_000])
def test_other_rates_keep_their_length(client: Client, rate_hz: int):
    audio = wav(s16(tone(1.5, rate_hz)).tobytes(), rate_hz=rate_hz)
    assert client.transcribe(audio).duration_s == pytest.approx(1.5, abs=1e-3)


def test_six_channels_are_mixed(client: Client):
    audio = wav(np.repeat(WORDS[:, None], 6, axis=1).tobytes(), channels=6)
    assert client.transcribe(audio).text == client.transcribe(recordings.wav(WORDS)).text


@pytest.fixture(scope="module")
def wav_texts(client: Client) -> dict[str, str]:
    """The server's transcript of each recording as a WAV, by file name."""
    return {name: client.transcribe(recordings.FOLDER / name).text for name in recordings.texts()}


def word_error_rate_of(texts: Iterable[str]) -> float:
    return word_error_rate(zip(recordings.texts().values(), map(str.lower, texts), strict=True))


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("flac", "flac"),
        ("mp3", "libmp3lame"),
        ("ogg", "libopus"),
        ("ipod", "aac"),
        ("webm", "libopus"),
    ],
)
def test_containers_keep_length_and_words(
    client: Client, wav_texts: dict[str, str], container: str, codec: str
):
    texts = []
    for name in recordings.texts():
        pcm = recordings.pcm(name)
        audio = encode(pcm, container=container, codec=codec, rate_hz=recordings.RATE_HZ)
        transcript = client.transcribe(audio)
        assert transcript.duration_s == pytest.approx(len(pcm) / recordings.RATE_HZ, abs=0.07)
        texts.append(transcript.text)
    if codec == "flac":
        assert texts == list(wav_texts.values())
    # A lossy codec costs a letter now and then: -0.04 to 0 were seen.
    assert word_error_rate_of(texts) <= word_error_rate_of(wav_texts.values()) + 0.1


def test_a_wav_cut_in_the_middle_gives_what_is_there(client: Client):
    whole = recordings.wav(WORDS)
    cut = len(whole) // 2
    assert client.transcribe(whole[:cut]).duration_s == pytest.approx(
        (cut - 44) / 2 / 16_000, abs=1e-3
    )


def test_a_header_that_claims_4_gb(client: Client):
    audio = wav(WORDS.tobytes(), stated_bytes=0xFFFFFFFF - 36)
    assert client.transcribe(audio).text == client.transcribe(recordings.wav(WORDS)).text


def test_long_silence(client: Client):
    transcript = client.transcribe(silence_file(1200))
    assert transcript.duration_s == pytest.approx(1200, abs=0.01)
    assert (transcript.text, transcript.words) == ("", ())


def near(seconds: float) -> Any:
    return pytest.approx(seconds, abs=0.15)


@pytest.mark.parametrize(
    ("name", "duration_s", "text", "warnings"),
    [
        ("gap.webm", 9.34, None, ["AUDIO_GAP"]),
        ("late.mp4", 4.82, "GO FORWARD TEN METERS", ["AUDIO_GAP"]),
        ("dtx.amr", 5.8, None, []),
        ("nodata.amr", 6.22, None, []),
        ("chain_vorbis_rates.ogg", 4.34, "GO FORWARD TEN METERS FIVE FIVE", []),
    ],
)
def test_awkward_files(
    client: Client, name: str, duration_s: float, text: str | None, warnings: list[str]
):
    transcript = client.transcribe(recordings.FOLDER / "cases" / name, decoder="beam")
    assert transcript.duration_s == pytest.approx(duration_s, abs=0.01)
    assert [one.code for one in transcript.warnings] == warnings
    assert transcript.words
    if text is not None:
        assert transcript.text == text


def test_words_after_a_gap_and_a_late_start_have_their_times(client: Client):
    cases = recordings.FOLDER / "cases"
    gap = client.transcribe(cases / "gap.webm", decoder="beam").words
    assert next(word.start_s for word in gap if word.text == "FIVE") == near(8.2)
    late = client.transcribe(cases / "late.mp4", decoder="beam").words
    assert (late[0].text, late[0].start_s) == ("GO", near(2.5))


def test_good_recordings_have_no_warnings_and_opposite_channels_have(client: Client):
    for name in recordings.texts():
        assert client.transcribe(recordings.FOLDER / name).warnings == ()
    opposite = wav(np.stack([WORDS, -WORDS], axis=1).tobytes(), channels=2)
    (warning,) = client.transcribe(opposite).warnings
    assert warning.code == "CHANNELS_CANCEL"
    apart = client.transcribe(opposite, channel="separate")
    assert apart.warnings == ()
