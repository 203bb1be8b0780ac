"""Warnings about audio that is decoded all the same."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_backend.audio import ebml
from asr_backend.audio.ebml import damaged_cluster
from asr_backend.audio.warning import WarningCode, WarningList
from tests.support import recordings
from tests.support.backend.decoded import KINDS, decoded, sample_file, warnings_of
from tests.support.backend.files import encode, s16, tone, wav
from tests.support.backend.markers import markers, remuxed

SPEECH = recordings.samples("cards-005-eight-of-spades-four-of-clubs-seven-of-hearts.wav")


def pcm(*channels: np.ndarray, rate_hz: int = 16_000) -> bytes:
    return wav(s16(np.stack(channels, axis=1)).tobytes(), channels=len(channels), rate_hz=rate_hz)


def test_good_recordings_and_files_of_every_kind_have_none() -> None:
    for name in recordings.texts():
        assert warnings_of((recordings.FOLDER / name).read_bytes()) == []
    for kind in KINDS:
        assert warnings_of(sample_file(*kind[:4])) == [], kind


def test_a_code_appears_once_with_the_number_of_others() -> None:
    warnings = WarningList()
    for second in range(3):
        warnings.add(WarningCode.AUDIO_GAP, f"a gap at {second} s")
    warnings.add(WarningCode.CLIPPED, "loud")
    assert [one.message for one in warnings.all()] == ["a gap at 0 s (and 2 more)", "loud"]


def test_opposite_channels() -> None:
    data = pcm(SPEECH, -SPEECH)
    (warning,) = decoded(data)[1]
    assert warning.code is WarningCode.CHANNELS_CANCEL
    assert "100%" in warning.message
    assert warnings_of(data, channel=0) == warnings_of(data, channel=1) == []
    # Lossy codecs leave a rest.
    for container, codec in (("ogg", "libopus"), ("mp3", "libmp3lame")):
        lossy = recoded(np.stack([SPEECH, -SPEECH], axis=1), container, codec)
        assert warnings_of(lossy) == ["CHANNELS_CANCEL"]
    # Half of the recording, and nearly opposite.
    half = SPEECH.copy()
    half[len(half) // 2 :] *= -1
    assert warnings_of(pcm(SPEECH, half)) == ["CHANNELS_CANCEL"]
    assert warnings_of(pcm(SPEECH, -0.8 * SPEECH)) == ["CHANNELS_CANCEL"]


def test_other_channels_do_not_cancel() -> None:
    random = np.random.default_rng(0)
    silent = np.zeros_like(SPEECH)
    shifted = np.roll(SPEECH, 4_000)
    for channels in (
        (SPEECH, silent),
        (SPEECH, SPEECH),
        (SPEECH, shifted),
        (SPEECH, *[silent] * 31),
        tuple(0.1 * random.standard_normal(32_000) for _ in range(8)),
    ):
        assert warnings_of(pcm(*channels)) == []


def recoded(samples: np.ndarray, container: str, codec: str) -> bytes:
    """Two channels at 16 kHz, encoded."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000, layout="stereo")
        interleaved = np.ascontiguousarray(s16(samples).reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout="stereo")
        frame.sample_rate = 16_000
        output.mux([*stream.encode(frame), *stream.encode(None)])  # type: ignore[attr-defined]
    return file.getvalue()


@pytest.mark.parametrize("gain", [2, 4, 16])
def test_clipped(gain: float) -> None:
    loud = np.clip(gain * SPEECH / np.abs(SPEECH).max(), -1, 1)
    expected = ["CLIPPED"] if gain > 2 else []
    assert warnings_of(pcm(loud)) == expected
    assert warnings_of(pcm(np.zeros_like(loud), loud)) == expected
    assert warnings_of(pcm(loud, np.zeros_like(loud)), channel=1) == ["VERY_QUIET"]
    mulaw = encode(s16(loud), container="wav", codec="pcm_mulaw", rate_hz=16_000)
    assert warnings_of(mulaw) == expected
    floats = wav((2 * loud).astype("<f4").tobytes(), bits=32, is_float=True)
    assert (warnings_of(floats) == ["CLIPPED"]) or gain == 2


def test_a_second_of_clipping_in_a_long_recording_is_enough() -> None:
    loud = np.clip(20 * SPEECH[:16_000], -1, 1)
    (warning,) = decoded(pcm(np.concatenate([SPEECH] * 5 + [loud, SPEECH])))[1]
    assert warning.code is WarningCode.CLIPPED
    assert " in 1 of " in warning.message or " in 2 of " in warning.message


def test_very_quiet() -> None:
    assert warnings_of(pcm(SPEECH * 0.02)) == []
    (warning,) = decoded(pcm(SPEECH * 0.004))[1]
    assert warning.code is WarningCode.VERY_QUIET
    assert warning.message.startswith("the audio has -6")
    (warning,) = decoded(wav(bytes(64_000)))[1]
    assert warning.message == "the audio is silent"
    raw = {"encoding": "pcm_s16le", "sample_rate": 8_000, "channels": 1}
    assert warnings_of(bytes(16_000), **raw) == ["VERY_QUIET"]
    (warning,) = decoded(pcm(SPEECH, SPEECH * 0), channel=1)[1]
    assert warning.message == "channel 1 is silent"


def test_a_constant_offset_is_no_sound() -> None:
    assert warnings_of(pcm(SPEECH * 0.004 + 0.2)) == ["VERY_QUIET"]
    assert warnings_of(pcm(SPEECH + 0.02)) == []
    assert warnings_of(pcm(SPEECH + 0.02, 0.02 - SPEECH)) == ["CHANNELS_CANCEL"]
    assert warnings_of(pcm(SPEECH * 0 + 0.2, SPEECH * 0 - 0.2)) == ["VERY_QUIET"]


@pytest.mark.parametrize("loud", [1e18, 1e30, 1e38])
def test_levels_beyond_float32_are_not_reported(loud: float) -> None:
    floats = np.stack([SPEECH, SPEECH], axis=1).astype("<f4")
    floats[100] = loud, -loud
    floats[200:20_000] *= loud
    codes = warnings_of(wav(floats.tobytes(), channels=2, bits=32, is_float=True))
    assert "VERY_QUIET" not in codes


TRUNCATED = [kind[:4] for kind in KINDS if kind[0] not in {"adts", "amr", "ipod", "mp4", "mov"}]


@pytest.mark.parametrize("kind", TRUNCATED, ids=[f"{kind[0]}-{kind[1]}" for kind in TRUNCATED])
@pytest.mark.parametrize("kept", [0.8, 0.9])
def test_truncated_files_end_early(kind: tuple[str, str, int, str], kept: float) -> None:
    whole = sample_file(*kind)
    samples, warnings = decoded(whole[: int(kept * len(whole))])
    early = [one for one in warnings if one.code is WarningCode.AUDIO_ENDS_EARLY]
    assert early
    seconds = float(early[0].message.split()[4])
    assert abs(seconds - len(samples) / 16_000) < 0.06


@pytest.mark.parametrize("kept", [0.6, 0.9])
def test_a_truncated_film_with_its_header_first_ends_early(tmp_path: Path, kept: float) -> None:
    good = encode(markers(8, 44_100), container="mp4", codec="aac", rate_hz=44_100)
    for options in (
        {"movflags": "faststart"},
        {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"},
    ):
        with av.open(io.BytesIO(good)) as source:
            path = tmp_path / "film.mp4"
            with av.open(str(path), "w", container_options=options) as output:
                stream = output.add_stream_from_template(source.streams.audio[0])
                for packet in source.demux(audio=0):
                    if packet.size:
                        packet.stream = stream
                        output.mux(packet)
        whole = path.read_bytes()
        assert warnings_of(whole) == []
        assert "AUDIO_ENDS_EARLY" in warnings_of(whole[: int(kept * len(whole))])


@pytest.mark.parametrize("kept", [0.55, 0.9, 0.991])
def test_a_truncated_recording_of_a_browser_ends_early(tmp_path: Path, kept: float) -> None:
    """Neither the file nor its clusters state a length, but each block does."""
    path = tmp_path / "recorded.webm"
    good = encode(markers(8, 48_000), container="webm", codec="libopus", rate_hz=48_000)
    with av.open(io.BytesIO(good)) as source:
        options = {"live": "1", "cluster_time_limit": "500"}
        with av.open(str(path), "w", format="webm", container_options=options) as output:
            stream = output.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux(audio=0):
                if packet.size:
                    packet.stream = stream
                    output.mux(packet)
    whole = path.read_bytes()
    assert warnings_of(whole) == []
    assert warnings_of(whole[: int(kept * len(whole))]) == ["AUDIO_ENDS_EARLY"]


@pytest.mark.parametrize("kept", [0.6, 0.9])
def test_a_truncated_rf64_file_ends_early(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "long.wav"
    options = {"rf64": "always"}
    with av.open(str(path), "w", format="wav", container_options=options) as output:
        stream = output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(markers(4, 16_000)[np.newaxis], "s16", "mono")
        frame.sample_rate = 16_000
        output.mux([*stream.encode(frame), *stream.encode(None)])  # type: ignore[attr-defined]
    whole = path.read_bytes()
    assert whole[:4] == b"RF64"
    assert warnings_of(whole) == []
    assert warnings_of(whole[: int(kept * len(whole))]) == ["AUDIO_ENDS_EARLY"]
    assert warnings_of(whole + whole) == ["AUDIO_DAMAGED"]


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF - 36])
def test_a_header_that_was_written_before_the_length_was_known_promises_nothing(
    stated: int,
) -> None:
    data = s16(tone(1, 16_000)).tobytes()
    assert warnings_of(wav(data, stated_bytes=stated)) == []
    au = struct.pack(">4sIIIII", b".snd", 24, stated, 3, 16_000, 1)
    # FFmpeg reads no au file with the other two.
    if stated not in (0, 0xFFFFFFFF - 36):
        assert warnings_of(au + s16(tone(1, 16_000)).byteswap().tobytes()) == []


def test_audio_behind_the_stated_end_is_named() -> None:
    data = s16(tone(2, 16_000)).tobytes()
    assert warnings_of(wav(data, stated_bytes=32_000)) == ["AUDIO_DAMAGED"]
    assert warnings_of(wav(data, channels=2, stated_bytes=32_000)) == ["AUDIO_DAMAGED"]
    # A second chunk of audio, of which libav reads one.
    half = b"data" + struct.pack("<I", 32_000) + data[32_000:]
    assert warnings_of(wav(data[:32_000]) + half) == ["AUDIO_DAMAGED"]
    assert warnings_of(wav(data[:32_000]) + b"LIST\x04\0\0\0abcd" + half) == ["AUDIO_DAMAGED"]
    # Other chunks, tags and zeros are no audio.
    for rest in (b"LIST\x04\0\0\0abcd", bytes(8_000), b"id3 \x03\0\0\0abc\0", b"TAG" + bytes(125)):
        assert warnings_of(wav(data) + rest) == []


def test_bytes_between_packets_are_named_and_tags_are_not() -> None:
    mp3 = encode(markers(8, 44_100), container="mp3", codec="libmp3lame", rate_hz=44_100)
    other = sample_file("mp3", "libmp3lame", 44_100, "stereo")
    random = np.random.default_rng(0).bytes(3_000)
    tag = b"TAG" + b"x" * 125
    assert warnings_of(mp3 + tag) == []
    assert warnings_of(mp3 + tag + other) == []
    amr = sample_file("amr", "libopencore_amrnb", 8_000, "mono")
    assert warnings_of(amr[:-5]) == ["AUDIO_ENDS_EARLY"]
    adts = sample_file("adts", "aac", 16_000, "mono")
    for one in (mp3, adts):
        assert "AUDIO_DAMAGED" in warnings_or_error(one + random + one)


def warnings_or_error(data: bytes) -> list[str]:
    try:
        return warnings_of(data)
    except Exception as error:
        assert "CORRUPT_AUDIO" in str(error)
        return ["AUDIO_DAMAGED"]


def test_frames_that_amr_marks_as_damaged_are_named() -> None:
    amr = bytearray(sample_file("amr", "libopencore_amrnb", 8_000, "mono"))
    amr[6 + 13 * 20] &= ~4
    assert warnings_of(bytes(amr)) == ["AUDIO_DAMAGED"]


def test_amr_wb_without_speech_is_read() -> None:
    samples, (warning,) = decoded(b"#!AMR-WB\n" + bytes([0x7C]) * 50)
    assert len(samples) == 16_000
    assert warning.code is WarningCode.VERY_QUIET


def test_a_cluster_with_a_wrong_checksum_is_named() -> None:
    good = bytearray(sample_file("matroska", "aac", 44_100, "mono"))
    assert warnings_of(bytes(good)) == []
    at = good.index(b"\x1f\x43\xb6\x75")
    good[-1_000] ^= 1
    assert damaged_cluster(memoryview(good)) == at
    assert "AUDIO_DAMAGED" in warnings_or_error(bytes(good))


@given(st.binary(max_size=200), st.integers(0, 60), st.binary(max_size=20))
def test_any_bytes_may_be_checked_as_matroska(rest: bytes, at: int, part: bytes) -> None:
    good = sample_file("webm", "libopus", 48_000, "mono")
    for data in (
        ebml.MAGIC + rest,
        good[:at] + part + good[at:],
        good[:at] + part + good[at + len(part) :],
    ):
        view = memoryview(data)
        damaged_cluster(view)
        ebml.breaks_off(view)
        counts = ebml.segment_bytes(view)
        assert counts is None or counts[1] <= counts[0]


def test_a_missing_flac_frame_is_named() -> None:
    good = encode(markers(8, 44_100), container="flac", codec="flac", rate_hz=44_100)
    less = remuxed(good, "flac", lambda index, packet: None if index == 20 else packet.pts)
    assert "AUDIO_DAMAGED" in warnings_of(less) or "AUDIO_GAP" in warnings_of(less)
