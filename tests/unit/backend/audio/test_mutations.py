"""Damaged files of every kind: no marker is lost without an error or a warning, none is moved.

ASR_MUTATIONS is the number of damaged files of each kind (12 if it is absent), ASR_MUTATION_SEED
their seed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import av
import numpy as np
import pytest

from asr_backend.errors import AsrError
from tests.support.backend.decoded import decoded
from tests.support.backend.files import encode
from tests.support.backend.markers import (
    MARKER_STEP_S,
    by_async_resample,
    found_markers,
    markers,
    remuxed,
)

COUNT = 8
CASES = int(os.environ.get("ASR_MUTATIONS", "12"))
SEED = int(os.environ.get("ASR_MUTATION_SEED", "0"))
TOLERANCE_S = 0.04


class Kind(NamedTuple):
    container: str
    codec: str
    rate_hz: int
    layout: str = "mono"
    header: int = 0
    """Bytes at the start in which a flipped bit cannot be noticed: rates, formats, clocks."""
    unseen: tuple[Callable[..., bytes], ...] = ()
    """Damage that cannot be noticed: of samples without checksums, and of bare packets without
    lengths, numbers or clocks."""


@cache
def good(kind: Kind) -> bytes:
    return encode(
        markers(COUNT, kind.rate_hz),
        container=kind.container,
        codec=kind.codec,
        rate_hz=kind.rate_hz,
        layout=kind.layout,
    )


def flipped(rng: np.random.Generator, kind: Kind) -> bytes:
    data = bytearray(good(kind))
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(kind.header, len(data)))
        part = rng.bytes(int(rng.integers(1, 9)))
        data[at : at + len(part)] = part
    return bytes(data)


def zeroed(rng: np.random.Generator, kind: Kind) -> bytes:
    data = bytearray(good(kind))
    start, end = part(rng, kind)
    data[start:end] = bytes(end - start)
    return bytes(data)


def overwritten(rng: np.random.Generator, kind: Kind) -> bytes:
    data = bytearray(good(kind))
    start, end = part(rng, kind)
    data[start:end] = rng.bytes(end - start)
    return bytes(data)


def cut(rng: np.random.Generator, kind: Kind) -> bytes:
    data = good(kind)
    start, end = part(rng, kind)
    return data[:start] + data[end:]


def lengthened(rng: np.random.Generator, kind: Kind) -> bytes:
    data = good(kind)
    start, end = part(rng, kind)
    return data[:start] + rng.bytes(end - start) + data[start:]


def repeated(rng: np.random.Generator, kind: Kind) -> bytes:
    data = good(kind)
    start, end = part(rng, kind)
    return data[:end] + data[start:]


def truncated(rng: np.random.Generator, kind: Kind) -> bytes:
    data = good(kind)
    return data[: int(rng.integers(kind.header, len(data)))]


def without_packets(rng: np.random.Generator, kind: Kind) -> bytes:
    with av.open(io.BytesIO(good(kind))) as container:
        packets = sum(packet.size > 0 for packet in container.demux(audio=0))
    # The new file states the end of its last packet, and Ogg the end of its first page.
    first = int(rng.integers(packets // 3, packets - 1))
    last = int(rng.integers(first, packets - 1))
    dropped = range(first, last, int(rng.integers(1, 4)))
    return remuxed(
        good(kind),
        kind.container,
        lambda index, packet: None if index in dropped else packet.pts,
    )


def shifted(rng: np.random.Generator, kind: Kind) -> bytes:
    first = int(rng.integers(0, 60))
    seconds = float(rng.choice([0.03, 0.09, 0.2, 1.0, 7.0]))

    def later(index: int, packet: Any) -> int:
        pts: int = packet.pts
        return pts + (round(seconds / packet.time_base) if index >= first else 0)

    return remuxed(good(kind), kind.container, later)


def part(rng: np.random.Generator, kind: Kind) -> tuple[int, int]:
    """Up to a third of a file, in whole samples of 16 and of 24 bits."""
    size = len(good(kind))
    length = int(rng.integers(1, size // 36)) * 12
    start = int(rng.integers(kind.header, max(kind.header + 1, size - length)))
    return start, min(size, start + length)


BYTES = (flipped, zeroed, overwritten, cut, lengthened, repeated, truncated)
PACKETS = (without_packets, shifted)


NO_CHECKSUM = (flipped, zeroed, overwritten)
NO_CLOCK = (cut, truncated)
KINDS = (
    Kind("wav", "pcm_s16le", 16_000, header=40, unseen=NO_CHECKSUM),
    Kind("wav", "pcm_s24le", 44_100, "stereo", header=72, unseen=NO_CHECKSUM),
    Kind("w64", "pcm_s16le", 16_000, header=96, unseen=NO_CHECKSUM),
    Kind("aiff", "pcm_s16be", 44_100, header=54, unseen=NO_CHECKSUM),
    Kind("au", "pcm_s16be", 16_000, header=32, unseen=NO_CHECKSUM),
    Kind("caf", "pcm_s16le", 16_000, header=60, unseen=NO_CHECKSUM),
    Kind("caf", "alac", 44_100, header=200),
    Kind("flac", "flac", 44_100),
    Kind("mp3", "libmp3lame", 44_100, header=800),
    Kind("adts", "aac", 16_000, unseen=NO_CLOCK),
    Kind("amr", "libopencore_amrnb", 8_000, unseen=(*NO_CLOCK, flipped, repeated)),
    Kind("ogg", "vorbis", 44_100, "stereo"),
    Kind("ogg", "libopus", 48_000),
    Kind("ogg", "flac", 16_000),
    Kind("ipod", "aac", 44_100),
    Kind("mp4", "alac", 44_100),
    Kind("webm", "libopus", 48_000),
    Kind("matroska", "aac", 44_100),
    Kind("matroska", "flac", 16_000),
    Kind("asf", "wmav2", 44_100),
)
IDS = [f"{kind.container}-{kind.codec}" for kind in KINDS]
HAS_CLOCK = frozenset({"flac", "ogg", "ipod", "mp4", "webm", "matroska", "asf"})


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_no_marker_is_lost_or_moved_in_silence(kind: Kind) -> None:
    rng = np.random.default_rng([SEED, KINDS.index(kind)])
    for case in range(CASES):
        changes = BYTES + (PACKETS if kind.container in HAS_CLOCK else ())
        change: Callable[..., bytes] = changes[case % len(changes)]
        try:
            data = change(rng, kind)
        except (av.error.FFmpegError, ValueError):
            # libav writes no such file.
            continue
        problem = check(data, kind, change)
        assert problem is None, f"case {case}, {change.__name__}: {problem}"


def check(data: bytes, kind: Kind, change: Callable[..., bytes]) -> str | None:
    """What is wrong with the answer for a damaged file; None if it is right."""
    try:
        samples, warnings = decoded(data)
    except AsrError:
        return None
    found = found_markers(samples, COUNT)
    lost = set(range(COUNT)) - found.keys()
    if lost and not warnings and change not in kind.unseen:
        return f"lost {sorted(lost)} without a warning"
    if kind.container == "amr":
        # Without a clock. The reference does not count the frames that fail.
        return None
    try:
        wanted = found_markers(by_async_resample(data), COUNT)
    except av.error.FFmpegError:
        return None
    moved = {
        index: (found[index], wanted[index])
        for index in found.keys() & wanted.keys()
        if min(abs(a - b) for a in found[index] for b in wanted[index]) > TOLERANCE_S
    }
    return f"moved {moved}, {warnings}" if moved else None


def test_good_files_have_their_markers_and_no_warning() -> None:
    for kind in KINDS:
        samples, warnings = decoded(good(kind))
        found = found_markers(samples, COUNT)
        assert not warnings, kind
        assert found.keys() == set(range(COUNT)), kind
        # ADTS states no priming samples, and libav gives ASF a late start.
        tolerance_s = 0.1 if kind.container in {"adts", "asf"} else TOLERANCE_S
        for index, onsets in found.items():
            assert abs(onsets[0] - index * MARKER_STEP_S) <= tolerance_s, kind
