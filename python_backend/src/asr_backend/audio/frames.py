"""Decodes the packets of one audio stream, and reports what is damaged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from asr_backend.audio.format import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from asr_backend.audio.libav import AudioStream, FFmpegError, av
from asr_backend.audio.memory import Memory
from asr_backend.audio.warning import WarningCode, WarningList
from asr_backend.errors import AsrError, ErrorCode

if TYPE_CHECKING:
    from av.container import InputContainer

_PCM_BITS = re.compile(r"pcm_[suf](\d+)")
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_SKIPPED_BYTES = 4096
# The last packet of a truncated file fails, and so do a few for a tag after the audio.
_MAX_FAILED_AT_END = 3
# Files of these demuxers are nothing but packets, one behind the other: bytes between two packets
# are lost audio.
_BARE = frozenset({"mp3", "aac", "amr", "flac"})
# If more bytes are left, an error is not about the end of the file alone.
_MAX_BROKEN_END_BYTES = 4096
# These demuxers mark a packet whose last bytes are missing. Others do so at the end of every file.
_MARKS_CORRUPT = re.compile("ogg|mov|matroska|asf")


class Frames:
    """The frames of one stream, in order.

    Args:
        memory: the file.
        start: the first byte after the header; None if it is not known.
        container: the same file, open.
        stream: one of its audio streams.
        decoder: decodes that stream.
        warnings: takes what is damaged and decodes all the same.
        position_s: returns the end of the audio so far, in seconds of the recording.
    """

    def __init__(
        self,
        memory: Memory,
        start: int | None,
        container: InputContainer,
        stream: AudioStream,
        decoder: av.AudioCodecContext,
        warnings: WarningList,
        position_s: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._container = container
        self._stream = stream
        self._decoder = decoder
        self._warnings = warnings
        self._position_s = position_s
        name = container.format.name
        self._is_bare = name in _BARE
        self._is_amr = name == "amr"
        self._marks_corrupt = bool(_MARKS_CORRUPT.match(name))
        self._start = start
        # The byte after the last packet, where it is known.
        self._end: int | None = None

    def __iter__(self) -> Iterator[av.AudioFrame]:
        """Decode all packets. Failures are tolerated at the end only.

        Raises:
            AsrError: CORRUPT_AUDIO, BAD_SAMPLE_RATE.
        """
        failed = count = 0
        for packet in self._packets():
            try:
                frames = self._decoder.decode(packet)
            except FFmpegError:
                # Two joined mp3 files have the tag of the second where a frame should be.
                failed += packet is None or not bytes(packet).startswith(_TAGS)
                continue
            for frame in frames:
                # A decoder with delay gives its last frame after the last packet.
                if (failed and packet is not None) or not frame.sample_rate:
                    raise self._corrupt()
                check_rate(frame.sample_rate)
                yield frame
                count += 1
        if failed > _MAX_FAILED_AT_END or (failed and not count):
            raise self._corrupt()
        if failed:
            self._ends_early(f"packets at the end of the file do not decode: {failed}")

    def _corrupt(self) -> AsrError:
        return AsrError(
            ErrorCode.CORRUPT_AUDIO, f"the audio stops decoding at {self._position_s():.2f} s"
        )

    def _ends_early(self, why: str) -> None:
        self._warnings.add(
            WarningCode.AUDIO_ENDS_EARLY, f"the audio ends at {self._position_s():.2f} s: {why}"
        )

    def _packets(self) -> Iterator[av.Packet[Any] | None]:
        """Yield the packets of the stream, then None, which flushes the decoder."""
        context = self._stream.codec_context
        bits = _PCM_BITS.match(context.codec.name)
        frame_bytes = int(bits[1]) // 8 * context.channels if bits else 1
        is_broken = False
        try:
            for packet in self._container.demux(self._stream):
                self._check_continuity(packet)
                if is_broken:
                    self._damaged("a packet is incomplete")
                is_broken = packet.size > 0 and packet.is_corrupt and self._marks_corrupt
                part = packet.size % frame_bytes
                whole: av.Packet[Any] = packet
                if part:
                    # libav would drop the whole packet if a truncated file leaves a part of a frame
                    # in it.
                    whole = av.Packet(bytes(packet)[:-part])
                    whole.pts = packet.pts
                # An empty packet would end the decoding.
                if whole.size:
                    yield whole
        except FFmpegError:
            unread = self._memory.size - (self._end or self._memory.size)
            if unread > _MAX_BROKEN_END_BYTES or not self._memory.at_end():
                raise AsrError(
                    ErrorCode.CORRUPT_AUDIO,
                    f"the file is broken in the middle, at {self._position_s():.2f} s",
                ) from None
            self._ends_early("the file breaks off")
        else:
            if is_broken:
                self._ends_early("the last packet of the file is incomplete")
            self._check_end()
        yield None

    def _check_continuity(self, packet: av.Packet[Any]) -> None:
        """Note bytes of a bare stream that libav skipped before this packet."""
        if not packet.size or packet.pos is None:
            return
        start = self._start if self._end is None else self._end
        if self._is_bare and start is not None and packet.pos > start:
            self._check_skipped(start, packet.pos)
        self._end = packet.pos + packet.size
        if self._is_amr and not _is_good_amr(bytes(packet)[0]):
            self._damaged(f"the frame at byte {packet.pos} is marked as damaged or is none")

    def _check_end(self) -> None:
        if self._is_bare and self._end is not None:
            self._check_skipped(self._end, self._memory.size)

    def _check_skipped(self, start: int, end: int) -> None:
        head = self._memory.part(start, min(end, start + _SKIPPED_BYTES))
        if not head.startswith(_TAGS) and head.strip(b"\0"):
            self._damaged(f"bytes {start} to {end} are no audio")

    def _damaged(self, what: str) -> None:
        self._warnings.add(WarningCode.AUDIO_DAMAGED, f"{what}, at {self._position_s():.2f} s")


def _is_good_amr(header: int) -> bool:
    """Whether the first byte of a frame says that it is whole (RFC 4867, 5.3)."""
    kind, is_whole = header >> 3 & 15, bool(header & 4)
    # Kinds 9 to 13 are not speech in AMR-WB or of other systems; 14 and 15 have no speech.
    return not header & 0x83 and (kind >= 14 or (is_whole and kind <= 9))


def check_rate(rate_hz: int) -> None:
    """Check a sample rate that a file states.

    Raises:
        AsrError: BAD_SAMPLE_RATE.
    """
    if not MIN_SAMPLE_RATE_HZ <= rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise AsrError(
            ErrorCode.BAD_SAMPLE_RATE,
            f"{rate_hz} Hz, allowed are {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz",
        )
