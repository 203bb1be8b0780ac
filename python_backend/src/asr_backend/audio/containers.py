"""Decodes audio files in memory with libav, restricted by an allow-list.

By default FFmpeg opens other files that a file names (`ffconcat`, playlists, SDP). Here only the
demuxers and decoders below may run, and no protocol is allowed. A demuxer that asks for a second
file is refused before its name is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from asr_backend.audio.format import MAX_CHANNELS
from asr_backend.audio.frames import Frames, check_rate
from asr_backend.audio.lengths import frames_start, stated_bytes, states_frames
from asr_backend.audio.libav import AudioStream, FFmpegError, av
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.memory import Memory
from asr_backend.audio.tags import audio_parts
from asr_backend.audio.warning import WarningList
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
# Demuxers with timestamps in the file. For the others, libav counts samples or bytes.
_HAS_CLOCK = re.compile("ogg|mov|matroska|asf|flac")
# Demuxers whose stated length is exact, not estimated from a bit rate: of the stream, or of all.
_STATES_STREAM_LENGTH = re.compile("mov|flac")
_STATES_LENGTH = re.compile("wav|w64|aiff|au|caf|ogg|asf")
# For these, libav believes or estimates a length if the program that wrote the header knew none.
_FROM_PIPES = frozenset({"aiff", "au", "asf"})
_DURATION_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)$", re.ASCII)
# Decoders that libav does not choose by itself. Its own ones refuse the frames of discontinuous
# transmission.
_PREFERRED = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}
# Codecs with a checksum in each frame.
_CHECKED = frozenset({"flac", "ac3", "eac3"})
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
# PyAV finds the end of a frame's planes by a null pointer, which is missing after eight planes.
_MAX_PLANES = 8


class Container:
    """An audio file that libav has opened.

    It uses the best audio stream by FFmpeg's ranking, and ignores all other streams.

    Args:
        view: the whole file; not copied.

    Attributes:
        channels: channels of that stream.
        duration_s: seconds that the file states or that libav estimates; None where there is
            neither.
        stated_s: seconds from the container's start to the end of the stream, as the header states
            it; None if it does not, or for all streams together.
        is_exact: whether each frame of the file has its number, without rounding.

    Raises:
        AsrError: UNSUPPORTED_FORMAT, CORRUPT_AUDIO, BAD_SAMPLE_RATE.
    """

    def __init__(self, view: memoryview) -> None:
        parts = audio_parts(view)
        with ExitStack() as opened:
            self._memory = opened.enter_context(closing(Memory(view, parts)))
            self._container = opened.enter_context(_open(self._memory))
            self._stream = _audio_stream(self._container)
            self._opened = opened.pop_all()
        self._decoder = _decoder(self._stream)
        view = view[parts[0][0] :]
        name = self._container.format.name
        duration, start = self._container.duration, self._container.start_time
        self.channels = self._stream.codec_context.channels
        self.duration_s = duration / av.time_base if duration else None
        if name == "ogg" and self.duration_s is not None:
            # libav takes the position of the last page, which counts from elsewhere in a part of a
            # live stream, and with the samples that Opus decoders leave out.
            self.duration_s -= (start or 0) / av.time_base + _opus_pre_skip_s(self._stream)
        self.is_exact = name == "flac"
        self._has_clock = bool(_HAS_CLOCK.match(name))
        self._time_base = self._stream.time_base or Fraction(1, av.time_base)
        self._tick_s = float(self._time_base)
        self._start_s = None if start is None else start / av.time_base
        self.stated_s = self._find_stated_s(view)
        self._frames_start = frames_start(view) if name in ("mp3", "aac") else None

    def frames(
        self, warnings: WarningList, position_s: Callable[[], float]
    ) -> Iterator[tuple[float | None, av.AudioFrame]]:
        """Decode the stream. To be called once.

        Args:
            warnings: takes what is damaged.
            position_s: returns the end of the audio so far, for errors and warnings.

        Yields:
            Seconds from the container's start, None if the file has no timestamp; and the frame.

        Raises:
            AsrError: CORRUPT_AUDIO, BAD_SAMPLE_RATE.
        """
        frames = Frames(
            self._memory,
            self._frames_start,
            self._container,
            self._stream,
            self._decoder,
            warnings,
            position_s,
        )
        for frame in frames:
            at_s = None
            if self._has_clock and frame.pts is not None:
                at_s = frame.pts * self._tick_s
                if self._start_s is None:
                    self._start_s = at_s
                at_s -= self._start_s
            yield at_s, frame

    def check_stated(self, limits: AudioLimits) -> None:
        """Refuse a file that states to be too long.

        Raises:
            AsrError: AUDIO_TOO_LONG.
        """
        seconds = self.stated_s or 0.0
        # One second of tolerance: a decoder trims samples that the container counts.
        if seconds > limits.max_audio_s + 1:
            raise limits.too_long(rounded_up(seconds))
        rate_hz = self._stream.codec_context.sample_rate
        limits.check_samples(int((seconds - 1) * rate_hz) * self.channels)

    def close(self) -> None:
        """Close the file and release its bytes."""
        self._opened.close()

    def _find_stated_s(self, view: memoryview) -> float | None:
        name, stream = self._container.format.name, self._stream
        start_s = self._start_s or 0.0
        if _STATES_STREAM_LENGTH.match(name) or (name == "mp3" and states_frames(view)):
            if not stream.duration:
                return None
            return float((stream.duration + (stream.start_time or 0)) * self._time_base) - start_s
        if name.startswith("matroska"):
            if tag := _DURATION_TAG.match(stream.metadata.get("DURATION", "")):
                hours, minutes, seconds = tag.groups()
                return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - start_s
            start_s = max(start_s, 0.0)
        elif not _STATES_LENGTH.match(name) or (name in _FROM_PIPES and not stated_bytes(view)):
            return None
        else:
            start_s = 0.0
        if self.duration_s is None or len(self._container.streams) > 1:
            return None
        return self.duration_s - start_s


def _open(memory: Memory) -> InputContainer:
    if memory.part(0, 4) == b"RIFX":
        # libav would take the samples for little-endian ones.
        raise AsrError(ErrorCode.UNSUPPORTED_FORMAT, "big-endian WAV (RIFX) is not supported")
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


def _opus_pre_skip_s(stream: AudioStream) -> float:
    header = stream.codec_context.extradata or b""
    return int.from_bytes(header[10:12], "little") / 48_000 if header[:8] == b"OpusHead" else 0.0


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
    check_rate(context.sample_rate)
    context.thread_count = 1
    if context.codec.name in _CHECKED:
        # A wrong checksum is an error.
        context.options = {"err_detect": "crccheck+explode"}
    return stream


def _decoder(stream: AudioStream) -> av.AudioCodecContext:
    """The stream's decoder, or one that reads more."""
    name = _PREFERRED.get(stream.codec_context.codec.name)
    if name is None or name not in av.codecs_available:
        return stream.codec_context
    decoder: av.AudioCodecContext = av.CodecContext.create(name, "r")  # type: ignore[assignment]
    decoder.thread_count = 1
    return decoder


def interleaved(frame: av.AudioFrame) -> npt.NDArray[Any]:
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
