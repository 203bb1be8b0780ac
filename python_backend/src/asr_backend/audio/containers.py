"""Decodes audio files in memory with libav, restricted by an allow-list.

By default FFmpeg opens other files that a file names (`ffconcat`, playlists, SDP). Here only the
demuxers and decoders below may run, and no protocol is allowed. A demuxer that asks for a second
file is refused before its name is read.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from asr_backend.audio.format import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE_HZ,
    MIN_SAMPLE_RATE_HZ,
    Channel,
    Samples,
)
from asr_backend.audio.libav import AudioStream, FFmpegError, av
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.mixing import to_mono
from asr_backend.errors import AsrError, ErrorCode, rounded_up

if TYPE_CHECKING:
    from av.container import InputContainer

# fmt: off
DEMUXERS = (
    "wav", "w64", "aiff", "au", "caf", "flac", "mp3", "aac", "amr", "asf", "ogg", "mov", "matroska",
)
DECODERS = (
    "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le",
    "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw",
    "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "gsm", "gsm_ms", "flac", "alac",
    "mp3float", "mp3", "mp2float", "mp2", "aac", "ac3", "eac3", "vorbis", "opus", "libopus",
    "amrnb", "amrwb", "wmav1", "wmav2", "wmapro", "wmalossless",
)
# fmt: on
_OPEN_OPTIONS = {
    "format_whitelist": ",".join(DEMUXERS),
    "codec_whitelist": ",".join(DECODERS),
    "protocol_whitelist": "none",
    # Also off by default in FFmpeg. They would let a mov file take its samples from other files.
    "enable_drefs": "0",
    "use_absolute_path": "0",
    # libav looks in so many packets of a WAV file for DTS or AC-3 in disguise. FFmpeg's default,
    # 32, took eight times as long as all other work to open such a file.
    "max_probe_packets": "1",
    # Bytes of such a packet. FFmpeg's default, a tenth of a second, split a few minutes into
    # thousands of packets; a much larger packet takes long to search.
    "max_size": "8192",
}
# The first bytes of files of those demuxers, except the ones without a signature (mp3, aac). They
# distinguish a broken file from one of another kind.
_SIGNATURE = re.compile(
    rb"(RIFF|RF64|RIFX)....WAVE|riff\x2e\x91\xcf\x11|FORM....AIF[FC]|\.snd|caff|fLaC|OggS|ID3"
    rb"|#!AMR|....ftyp|\x1aE\xdf\xa3|0&\xb2u\x8e\x66\xcf\x11",
    re.DOTALL,
)
# Demuxers whose stated length is exact, not estimated from a bit rate.
_STATES_LENGTH = re.compile("wav|w64|aiff|au|caf|flac|ogg|mov|matroska")
_PCM_BITS = re.compile(r"pcm_[suf](\d+)")
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
# PyAV finds the end of a frame's planes by a null pointer, which is missing after eight planes.
_MAX_PLANES = 8
_TAGS = (b"ID3", b"TAG", b"APETAGEX")
# The last packet of a truncated file fails, and so do a few for a tag after the audio.
_MAX_FAILED_AT_END = 3


class Container:
    """An open audio file.

    It uses the best audio stream by FFmpeg's ranking, and ignores all other streams.

    Args:
        view: the whole file; not copied.

    Attributes:
        channels: channels of that stream.
        duration_s: seconds that the file states or that libav estimates; None where there is
            neither.

    Raises:
        AsrError: UNSUPPORTED_FORMAT, CORRUPT_AUDIO, BAD_SAMPLE_RATE.
    """

    def __init__(self, view: memoryview) -> None:
        with ExitStack() as opened:
            self._memory = opened.enter_context(closing(_Memory(view)))
            self._container = opened.enter_context(_open(self._memory))
            self._stream = _audio_stream(self._container)
            self._opened = opened.pop_all()
        duration = self._container.duration
        self.duration_s = duration / av.time_base if duration else None
        self.channels = self._stream.codec_context.channels

    def pieces(
        self, channel: Channel, limits: AudioLimits
    ) -> Generator[tuple[int, Samples], None, None]:
        """Yield (sample rate in Hz, at most a second of float32 [frames] mono). To be called once.

        Raises:
            AsrError: CORRUPT_AUDIO, UNSUPPORTED_FORMAT, BAD_SAMPLE_RATE; BAD_OPTIONS for a channel
                that the audio does not have; AUDIO_TOO_LONG for the length that the file states,
                and for too many samples, stated or decoded.
        """
        if _STATES_LENGTH.match(self._container.format.name):
            self._check_stated(limits)
        sample_count = 0
        for frame in _frames(self._container, self._stream, self._memory):
            samples = _samples(frame)
            rate_hz = frame.sample_rate
            sample_count += samples.size
            limits.check_samples(sample_count)
            # A packet may hold much more than a second, and its conversion takes far more memory.
            for start in range(0, len(samples), rate_hz):
                yield rate_hz, to_mono(samples[start : start + rate_hz], channel)

    def close(self) -> None:
        """Close the file and release its bytes."""
        self._opened.close()

    def _check_stated(self, limits: AudioLimits) -> None:
        seconds = self.duration_s or 0.0
        # One second of tolerance: a decoder trims samples that the container counts.
        if seconds > limits.max_audio_s + 1:
            raise limits.too_long(rounded_up(seconds))
        rate_hz = self._stream.codec_context.sample_rate
        limits.check_samples(int((seconds - 1) * rate_hz) * self.channels)


class _Memory:
    """The submitted bytes as a file object for PyAV."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._position = 0

    def read(self, size: int) -> bytes:
        part = bytes(self._view[self._position : self._position + size])
        self._position += len(part)
        return part

    def seek(self, offset: int, whence: int = 0) -> int:
        position = (0, self._position, self._view.nbytes)[whence] + offset
        if position < 0:
            return -1
        self._position = position
        return position

    def tell(self) -> int:
        return self._position

    def at_end(self) -> bool:
        return self._position >= self._view.nbytes

    def close(self) -> None:
        # PyAV's objects refer to each other; the audio must not stay until that cycle is collected.
        self._view = memoryview(b"")


def _open(memory: _Memory) -> InputContainer:
    try:
        return av.open(
            memory,
            "r",
            container_options=_OPEN_OPTIONS,
            metadata_errors="replace",
            io_open=_refuse_other_files,
        )
    except FFmpegError:
        memory.seek(0)
        if _SIGNATURE.match(memory.read(16)):
            raise AsrError(
                ErrorCode.CORRUPT_AUDIO, "the file's header is broken or incomplete"
            ) from None
        raise AsrError(
            ErrorCode.UNSUPPORTED_FORMAT,
            "not an audio file of a known kind; known are wav, w64, aiff, au, caf, flac, mp3, ogg, "
            "mp4/m4a/mov, webm/matroska, aac, amr and asf",
        ) from None


def _refuse_other_files(*_: object) -> NoReturn:
    raise AsrError(ErrorCode.UNSUPPORTED_FORMAT, "the file refers to another file")


def _audio_stream(container: InputContainer) -> AudioStream:
    streams = container.streams
    stream = streams.best("audio") or next(iter(streams.audio), None)
    if not isinstance(stream, AudioStream):
        raise AsrError(ErrorCode.UNSUPPORTED_FORMAT, "the file has no audio stream")
    context = stream.codec_context
    # Despite its annotation, PyAV has no context if FFmpeg has no decoder.
    if context is None or context.codec.name not in DECODERS:
        name = context.codec.name if context is not None else "unknown"
        raise AsrError(ErrorCode.UNSUPPORTED_FORMAT, f"audio codec {name} is not supported")
    if not context.channels:
        raise AsrError(ErrorCode.CORRUPT_AUDIO, "the header states 0 channels")
    _check_rate(context.sample_rate)
    context.thread_count = 1
    return stream


def _check_rate(rate_hz: int) -> None:
    if not MIN_SAMPLE_RATE_HZ <= rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise AsrError(
            ErrorCode.BAD_SAMPLE_RATE,
            f"{rate_hz} Hz, allowed are {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz",
        )


def _frames(
    container: InputContainer, stream: AudioStream, memory: _Memory
) -> Iterator[av.AudioFrame]:
    """Decode all packets. Failures are tolerated at the end only."""
    seconds = 0.0
    failed = 0
    for packet in _packets(container, stream, memory):
        try:
            frames = stream.codec_context.decode(packet)
        except FFmpegError:
            # Two joined mp3 files have the tag of the second where a frame should be.
            failed += packet is None or not bytes(packet).startswith(_TAGS)
            continue
        for frame in frames:
            if failed or not frame.sample_rate:
                raise _corrupt(seconds)
            _check_rate(frame.sample_rate)
            yield frame
            seconds += frame.samples / frame.sample_rate
    if failed > _MAX_FAILED_AT_END or (failed and not seconds):
        raise _corrupt(seconds)


def _corrupt(seconds: float) -> AsrError:
    return AsrError(ErrorCode.CORRUPT_AUDIO, f"the audio stops decoding at {seconds:.2f} s")


def _packets(
    container: InputContainer, stream: AudioStream, memory: _Memory
) -> Iterator[av.Packet[Any] | None]:
    """Yield the packets of the stream, then None, which flushes the decoder."""
    context = stream.codec_context
    bits = _PCM_BITS.match(context.codec.name)
    frame_bytes = int(bits[1]) // 8 * context.channels if bits else 1
    try:
        for packet in container.demux(stream):
            part = packet.size % frame_bytes
            # libav would drop the whole packet if a truncated file leaves a part of a frame in it.
            whole = av.Packet(bytes(packet)[:-part]) if part else packet
            # An empty packet would end the decoding.
            if whole.size:
                yield whole
    except FFmpegError:
        if not memory.at_end():
            raise AsrError(ErrorCode.CORRUPT_AUDIO, "the file is broken in the middle") from None
    yield None


def _samples(frame: av.AudioFrame) -> npt.NDArray[Any]:
    """The samples of a frame, [frames, channels]: a view, or a copy if they are planar."""
    channels = frame.layout.nb_channels
    if channels > (_MAX_PLANES if frame.format.is_planar else MAX_CHANNELS):
        raise AsrError(ErrorCode.UNSUPPORTED_FORMAT, f"{channels} channels are too many")
    dtype = np.dtype(_DTYPES[frame.format.packed.name])
    if not frame.format.is_planar:
        plane = np.frombuffer(memoryview(frame.planes[0]), dtype, count=frame.samples * channels)
        return plane.reshape(-1, channels)
    planes = frame.planes[:channels]
    return np.stack(
        [np.frombuffer(memoryview(p), dtype, count=frame.samples) for p in planes], axis=1
    )
