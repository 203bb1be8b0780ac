"""Files behind each other: chains, and streams whose rate or channels change midway."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest

from asr_backend.audio import ogg, tags
from asr_backend.errors import AsrError, ErrorCode
from tests.support.backend.decoded import decoded, refusal, samples_of, source
from tests.support.backend.files import encode
from tests.support.backend.markers import found_markers, markers

COUNT = 8


def half(first: int, *, container: str, codec: str, rate_hz: int, layout: str = "mono") -> bytes:
    """Four markers."""
    samples = markers(4, rate_hz, first=first)
    return encode(samples, container=container, codec=codec, rate_hz=rate_hz, layout=layout)


OGG = [
    ("vorbis", 16_000, "stereo"),
    ("vorbis", 44_100, "stereo"),
    ("libopus", 48_000, "mono"),
    ("libopus", 48_000, "stereo"),
    ("flac", 16_000, "mono"),
    ("flac", 44_100, "stereo"),
]


@pytest.mark.parametrize("second", OGG)
@pytest.mark.parametrize("first", OGG)
def test_every_link_of_a_chain_is_there(
    first: tuple[str, int, str], second: tuple[str, int, str]
) -> None:
    data = b"".join(
        half(4 * index, container="ogg", codec=codec, rate_hz=rate_hz, layout=layout)
        for index, (codec, rate_hz, layout) in enumerate((first, second))
    )
    samples, warnings = decoded(data)
    found = found_markers(samples, COUNT)
    assert not warnings
    assert found.keys() == set(range(COUNT))
    for index, onsets in found.items():
        assert abs(onsets[0] - index * 0.5) <= 0.04


def test_links_are_as_many_channels_as_the_largest() -> None:
    mono = half(0, container="ogg", codec="flac", rate_hz=16_000)
    stereo = half(4, container="ogg", codec="flac", rate_hz=16_000, layout="stereo")
    for data in (mono + stereo, stereo + mono):
        assert source(data).channels == 2
        assert found_markers(samples_of(data, channel=0), COUNT).keys() == set(range(COUNT))
        # The second channel is silent where the audio has one.
        wanted = {4, 5, 6, 7}
        assert found_markers(samples_of(data, channel=1), COUNT).keys() == wanted
        assert refusal(data, channel=2).code is ErrorCode.BAD_OPTIONS


@pytest.mark.parametrize(("container", "codec"), [("adts", "aac"), ("mp3", "libmp3lame")])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_rates_and_channels_may_change_midway(
    container: str, codec: str, rate_hz: int, layout: str
) -> None:
    data = half(0, container=container, codec=codec, rate_hz=22_050)
    data += half(4, container=container, codec=codec, rate_hz=rate_hz, layout=layout)
    samples, warnings = decoded(data)
    found = found_markers(samples, COUNT)
    assert found.keys() == set(range(COUNT))
    for index, onsets in found.items():
        # ADTS keeps the encoder's delay of each part.
        assert abs(onsets[0] - index * 0.5) < 0.35
    assert not warnings
    # The second channel was not there when channels were counted.
    (*named,) = decoded(data, channel=0)[1]
    assert [one.code.value for one in named] == ["AUDIO_DAMAGED"] * (layout == "stereo")


def id3(size: int, *, footer: bool = False) -> bytes:
    """A tag with a picture: bytes of which some look like frames."""
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    head = b"\4\0" + bytes([0x10 * footer]) + sizes
    picture = np.random.default_rng(size).bytes(size)
    return b"ID3" + head + picture + (b"3DI" + head) * footer


@pytest.mark.parametrize("size", [0, 200, 20_000, 3_000_000])
@pytest.mark.parametrize(
    ("container", "codec", "late_s"), [("adts", "aac", 0.2), ("mp3", "libmp3lame", 0.1)]
)
def test_tags_between_joined_files_are_no_audio(
    container: str, codec: str, late_s: float, size: int
) -> None:
    first, second = (half(4 * n, container=container, codec=codec, rate_hz=44_100) for n in (0, 1))
    if second.startswith(b"ID3"):
        second = second[tags._after(memoryview(second), 0) :]
    data = id3(size) + first + id3(size, footer=True) + id3(size + 1) + second + id3(size)
    samples, warnings = decoded(data)
    found = found_markers(samples, COUNT)
    assert not warnings
    assert found.keys() == set(range(COUNT))
    for index, onsets in found.items():
        assert abs(onsets[0] - index * 0.5) < late_s


def test_parts_without_tags() -> None:
    def parts(data: bytes) -> list[bytes]:
        return [data[start:end] for start, end in tags.audio_parts(memoryview(data))]

    frame = b"\xff\xfb" + bytes(20)
    assert parts(b"") == [b""]
    assert parts(b"ID3") == [b"ID3"]
    assert parts(frame + id3(5) + frame) == [frame, frame]
    assert parts(frame + id3(5)) == [frame]
    assert parts(id3(5) + id3(9) + frame) == [frame]
    # Letters that begin no tag, a tag that breaks off, a tag alone, and files of other kinds.
    for data in (
        *(frame + b"ID3" + frame, frame + id3(500)[:-1], id3(500)[:-1], id3(5)),
        *(b"fLaC" + id3(5) + frame, id3(5) + b"fLaC" + id3(5) + frame),
    ):
        assert parts(data) == [data]
    # A tag across the end of a searched step.
    start = frame + bytes(tags._STEP - len(frame) - 5)
    assert parts(start + id3(9) + frame) == [start, frame]


WITHOUT_CHAINS = (
    *(("wav", "pcm_s16le"), ("aiff", "pcm_s16be"), ("au", "pcm_s16be"), ("caf", "pcm_s16le")),
    *(("caf", "alac"), ("w64", "pcm_s16le"), ("flac", "flac"), ("ipod", "aac"), ("mp4", "alac")),
    *(("webm", "libopus"), ("matroska", "aac"), ("asf", "wmav2"), ("amr", "libopencore_amrnb")),
)


@pytest.mark.parametrize("between", [b"", bytes(500)])
@pytest.mark.parametrize(("container", "codec"), WITHOUT_CHAINS)
def test_a_second_file_of_other_kinds_is_read_or_named(
    container: str, codec: str, between: bytes
) -> None:
    rate_hz = {"libopus": 48_000, "libopencore_amrnb": 8_000}.get(codec, 16_000)
    first, second = (
        half(4 * index, container=container, codec=codec, rate_hz=rate_hz) for index in (0, 1)
    )
    try:
        samples, warnings = decoded(first + between + second)
    except AsrError as error:
        assert error.code is ErrorCode.CORRUPT_AUDIO
        return
    assert warnings or found_markers(samples, COUNT).keys() == set(range(COUNT))


def test_more_links_than_any_radio_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ogg, "MAX_LINKS", 3)
    data = half(0, container="ogg", codec="flac", rate_hz=16_000)
    assert len(samples_of(data * 3)) == 3 * 2 * 16_000
    assert refusal(data * 4).code is ErrorCode.CORRUPT_AUDIO


def test_a_file_of_page_heads_alone_is_not_searched_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (link,) = ogg.find_links(memoryview(b"OggS" * 1_000_000))
    assert link.damage == "bytes 0 to 4 are no valid page"
    monkeypatch.setattr(ogg, "MAX_PAGES", 3)
    data = half(0, container="ogg", codec="flac", rate_hz=16_000)
    assert refusal(data * 2).detail == "an Ogg file of more than 3 pages"


def pages(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        segments = data[at + 26]
        size = 27 + segments + sum(data[at + 27 : at + 27 + segments])
        found.append(data[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("codec", ["libopus", "flac", "vorbis"])
def test_damaged_and_missing_pages_are_named(codec: str) -> None:
    rate_hz = 48_000 if codec == "libopus" else 16_000
    samples = markers(COUNT, rate_hz)
    good = pages(encode(samples, container="ogg", codec=codec, rate_hz=rate_hz, layout="stereo"))
    assert len(good) > 4
    assert decoded(b"".join(good))[1] == ()

    missing = decoded(b"".join(good[:-2] + good[-1:]))[1]
    assert "AUDIO_DAMAGED" in [warning.code.value for warning in missing]
    assert any(f"page {len(good) - 1} at byte" in one.message for one in missing)

    flipped = bytearray(good[-2])
    flipped[-40] ^= 1
    damaged = decoded(b"".join([*good[:-2], flipped, good[-1]]))[1]
    assert "AUDIO_DAMAGED" in [warning.code.value for warning in damaged]

    early = decoded(b"".join(good[:-1]))[1]
    assert [warning.code.value for warning in early] == ["AUDIO_ENDS_EARLY"]
    assert early[0].message.endswith("the file's last page is missing")

    incomplete = decoded(b"".join(good)[:-10])[1]
    assert {warning.code.value for warning in incomplete} == {"AUDIO_DAMAGED", "AUDIO_ENDS_EARLY"}


def rewritten(data: bytes, change: Callable[[int, bytearray], None]) -> bytes:
    """The file with changed pages, whose checksums are right."""
    written = []
    for number, good in enumerate(pages(data)):
        page = bytearray(good)
        change(number, page)
        page[22:26] = bytes(4)
        struct.pack_into("<I", page, 22, ogg._checksum(page))
        written.append(bytes(page))
    return b"".join(written)


@pytest.mark.parametrize(("codec", "rate_hz"), [("libopus", 48_000), ("vorbis", 44_100)])
def test_a_part_of_a_live_stream_begins_at_zero(codec: str, rate_hz: int) -> None:
    """A recorder that joins an internet radio has positions of hours on the first page."""

    def ten_hours_later(number: int, page: bytearray) -> None:
        (position,) = struct.unpack_from("<q", page, 6)
        if position > 0:
            struct.pack_into("<q", page, 6, position + 36_000 * rate_hz)

    layout = "stereo" if codec == "vorbis" else "mono"
    good = half(0, container="ogg", codec=codec, rate_hz=rate_hz, layout=layout)
    samples, warnings = decoded(rewritten(good, ten_hours_later))
    assert not warnings
    assert abs(len(samples) / 16_000 - 2) < 0.05
    assert found_markers(samples, COUNT).keys() == {0, 1, 2, 3}


def test_samples_that_opus_leaves_out_at_the_start_are_not_missing() -> None:
    def skip_half_a_second(number: int, page: bytearray) -> None:
        if number == 0:
            struct.pack_into("<H", page, 28 + 10, 24_000)

    good = half(0, container="ogg", codec="libopus", rate_hz=48_000)
    data = rewritten(good, skip_half_a_second)
    samples, warnings = decoded(data)
    assert not warnings
    assert abs(len(samples) / 16_000 - 1.5) < 0.02
    assert abs((source(data).duration_s or 0) - 1.5) < 0.02


@pytest.mark.parametrize("kept", [60, 100, 140, 3_000])
def test_a_chain_that_breaks_off_in_a_header_ends_early(kept: int) -> None:
    link = half(0, container="ogg", codec="libopus", rate_hz=48_000)
    samples, warnings = decoded(link + link[:kept])
    assert len(samples) == 2 * 16_000
    assert warnings[-1].code.value == "AUDIO_ENDS_EARLY"


def test_a_link_that_cannot_be_read_is_refused_with_its_second() -> None:
    link = half(0, container="ogg", codec="libopus", rate_hz=48_000)
    error = refusal(link + unknown_link() + link)
    assert error.code is ErrorCode.CORRUPT_AUDIO
    assert error.detail.startswith("the part of the chain at 2.00 s cannot be read: ")


def unknown_link() -> bytes:
    """An Ogg stream of a codec that nobody knows."""
    header = struct.Struct("<4sBBqIIIBB8s")
    written = []
    for flags, number in ((2, 0), (4, 1)):
        page = bytearray(header.pack(b"OggS", 0, flags, 0, 7, number, 0, 1, 8, b"?" * 8))
        struct.pack_into("<I", page, 22, ogg._checksum(page))
        written.append(bytes(page))
    return b"".join(written)


def test_the_checksum_is_ogg_s() -> None:
    for page in pages(half(0, container="ogg", codec="flac", rate_hz=16_000)):
        (stated,) = struct.unpack_from("<I", page, 22)
        # The definition: polynomial 0x04c11db7, bit by bit, the highest first.
        bits = np.unpackbits(np.frombuffer(page[:22] + bytes(4) + page[26:], np.uint8))
        remainder = 0
        for bit in bits[: 8 * 400].tolist():
            remainder = (remainder << 1 | bit) ^ (0x104C11DB7 if remainder >> 31 else 0)
        for _ in range(32):
            remainder = remainder << 1 ^ (0x104C11DB7 if remainder >> 31 else 0)
        if len(page) <= 400:
            assert remainder == stated
        assert ogg._checksum(bytearray(page[:22] + bytes(4) + page[26:])) == stated
