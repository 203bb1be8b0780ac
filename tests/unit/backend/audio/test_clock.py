"""Time is that of the container's clock: gaps, late starts, overlaps."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import av
import numpy as np
import psutil
import pytest

from asr_backend.audio.clock import Clock
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.source import Silence
from asr_backend.errors import ErrorCode
from tests.support import recordings
from tests.support.backend.decoded import LIMITS, decoded, refusal, source
from tests.support.backend.files import encode
from tests.support.backend.markers import by_async_resample, found_markers, markers, remuxed

CASES = recordings.FOLDER / "cases"
COUNT = 8
LONG = AudioLimits(max_audio_s=7200, max_audio_bytes=2**24)


def later(index: int, packet: Any, *, first: int, seconds: float) -> int:
    """The timestamp of a packet, moved from packet number `first` on."""
    pts: int = packet.pts
    return pts + round(seconds / packet.time_base) * (index >= first)


def webm(*, first: int, seconds: float) -> bytes:
    good = encode(markers(COUNT, 48_000), container="webm", codec="libopus", rate_hz=48_000)
    return remuxed(good, "webm", partial(later, first=first, seconds=seconds))


@pytest.mark.parametrize(
    ("name", "seconds", "warnings"),
    [
        ("gap.webm", 9.34, ["AUDIO_GAP"]),
        ("late.mp4", 4.82, ["AUDIO_GAP"]),
        ("dtx.amr", 5.8, []),
        ("nodata.amr", 6.22, []),
        ("chain_vorbis_rates.ogg", 4.34, []),
    ],
)
def test_awkward_files_have_their_length(name: str, seconds: float, warnings: list[str]) -> None:
    samples, found = decoded((CASES / name).read_bytes())
    assert abs(len(samples) / 16_000 - seconds) < 0.01
    assert [warning.code.value for warning in found] == warnings


@pytest.mark.parametrize("name", ["gap.webm", "late.mp4"])
def test_awkward_files_are_timed_as_by_libav(name: str) -> None:
    data = (CASES / name).read_bytes()
    samples, wanted = decoded(data)[0], by_async_resample(data)
    assert abs(len(samples) - len(wanted)) < 160
    count = min(len(samples), len(wanted)) // 160 * 160
    ours, theirs = (np.abs(one[:count]).reshape(-1, 160).max(axis=1) for one in (samples, wanted))
    assert np.abs(ours - theirs).max() < 0.05


def test_a_gap_moves_what_follows_and_is_named() -> None:
    samples, (warning,) = decoded(webm(first=100, seconds=5))
    assert warning.message == "the file has no audio from 1.99 s to 6.99 s"
    onsets = {index: times[0] for index, times in found_markers(samples, COUNT).items()}
    assert [round(onsets[index], 1) for index in range(COUNT)] == [
        *(0, 0.5, 1, 1.5),
        *(7, 7.5, 8, 8.5),
    ]


def test_the_only_stream_begins_at_zero_wherever_its_clock_does() -> None:
    for seconds in (3.0, 3600.0, 100_000.0):
        samples, warnings = decoded(webm(first=0, seconds=seconds))
        assert not warnings
        assert abs(len(samples) / 16_000 - 4) < 0.01
        assert found_markers(samples, COUNT)[0][0] < 0.02


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_audio_that_begins_after_the_picture_begins_with_silence(container: str) -> None:
    film = io.BytesIO()
    with av.open(film, "w", format=container) as output:
        picture: Any = output.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 64
        sound: Any = output.add_stream("aac", rate=16_000, layout="mono")
        for index in range(50):
            image = av.VideoFrame.from_ndarray(np.full((64, 64, 3), index, np.uint8))
            output.mux(picture.encode(image))
        output.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(markers(4, 16_000)[np.newaxis], "s16", "mono")
        frame.sample_rate = 16_000
        frame.pts = round(1.5 * 16_000)
        output.mux([*sound.encode(frame), *sound.encode(None)])
    samples, warnings = decoded(film.getvalue())
    assert [warning.code.value for warning in warnings] == ["AUDIO_GAP"]
    onsets = found_markers(samples, 4)
    wanted = found_markers(by_async_resample(film.getvalue()), 4)
    for index in range(4):
        assert abs(onsets[index][0] - wanted[index][0]) <= 0.04
        # Without a video player's edit list, the encoder's delay of 64 ms stays.
        assert abs(onsets[index][0] - 1.5 - index * 0.5) < 0.1


def test_the_delay_of_an_encoder_is_no_damage() -> None:
    """A phone's 3gp file begins with it before zero, and an edit list leaves it out."""
    phone = encode(markers(COUNT, 8_000), container="3gp", codec="libopencore_amrnb", rate_hz=8_000)
    samples, warnings = decoded(phone)
    assert not warnings
    assert found_markers(samples, COUNT).keys() == set(range(COUNT))


def test_a_gap_beyond_the_limit_is_refused_without_making_silence() -> None:
    before = psutil.Process().memory_info().rss
    for seconds in (7_300, 10**9):
        error = refusal(webm(first=150, seconds=seconds), limits=LONG)
        assert error.code is ErrorCode.AUDIO_TOO_LONG
        assert error.detail.endswith(" s, the limit is 7200 s")
        assert float(error.detail.split()[0]) > seconds
    assert psutil.Process().memory_info().rss - before < 50 * 2**20


def test_a_long_gap_is_one_block() -> None:
    opened = source(webm(first=100, seconds=7_000), limits=LONG)
    blocks = list(opened.blocks("mix", LONG))
    (silence,) = [block for block in blocks if isinstance(block, Silence)]
    assert abs(silence.samples / 16_000 - 7_000) < 0.01
    assert sum(len(block) for block in blocks if not isinstance(block, Silence)) < 5 * 16_000


def test_packets_that_go_back_are_dropped_as_by_libav_and_named() -> None:
    data = webm(first=100, seconds=2)
    # The second cluster of the file, which begins with the gap, moves back by 2.5 s.
    at = data.index(b"\x1f\x43\xb6\x75", data.index(b"\x1f\x43\xb6\x75") + 1)
    at = data.index(b"\xe7", at)
    size = data[at + 1] & 0x7F
    time_ms = int.from_bytes(data[at + 2 : at + 2 + size], "big") - 2_500
    data = data[: at + 2] + time_ms.to_bytes(size, "big") + data[at + 2 + size :]
    samples, warnings = decoded(data)
    assert "AUDIO_DAMAGED" in [warning.code.value for warning in warnings]
    wanted = by_async_resample(data)
    assert abs(len(samples) - len(wanted)) < 0.04 * 16_000
    ours, theirs = found_markers(samples, COUNT), found_markers(wanted, COUNT)
    assert ours.keys() == theirs.keys()
    for index, onsets in ours.items():
        assert abs(onsets[0] - theirs[index][0]) <= 0.04


def test_a_clock_drops_and_fills_exactly() -> None:
    clock = Clock()
    assert clock.place(0.5) == 0.5
    assert clock.overlap(1.0) == 0
    assert clock.place(1.55) == 0  # Jitter.
    assert clock.overlap(1.0) == 0
    assert clock.place(2.0) == -0.5
    assert [round(clock.overlap(0.2), 9) for _ in range(4)] == [0.2, 0.2, 0.1, 0]
    assert clock.place(None) == 0
    assert round(clock.position_s, 9) == 2.8
    assert round(clock.place(3.0), 9) == 0.2


def test_one_timestamp_that_is_far_back_costs_its_packet_alone() -> None:
    clock = Clock()
    clock.overlap(5.0)
    assert clock.place(-1000.0) == -1005
    assert clock.overlap(0.02) == 0.02
    assert round(clock.place(5.02), 9) == 0.02
    assert clock.overlap(0.02) == 0
    assert round(clock.position_s, 9) == 5.04


def test_limits_are_those_of_the_decoded_audio() -> None:
    assert LIMITS.max_audio_s == 60
    assert refusal(webm(first=150, seconds=59)).code is ErrorCode.AUDIO_TOO_LONG
    assert len(decoded(webm(first=150, seconds=55))[0]) < 60 * 16_000
