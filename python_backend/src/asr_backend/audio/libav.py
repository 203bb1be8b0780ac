"""PyAV, where it is installed.

Raw PCM at 16 kHz and plain WAV files need none, so the service also runs on a machine without it:
every other recording is refused there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from asr_backend.errors import AsrError, ErrorCode

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.error import FFmpegError
else:
    try:
        import av
        from av.audio.stream import AudioStream
        from av.error import FFmpegError
    except ModuleNotFoundError:

        class _Missing:
            def __getattr__(self, name: str) -> NoReturn:
                raise AsrError(
                    ErrorCode.UNSUPPORTED_FORMAT,
                    "this server has no PyAV: it takes raw PCM at 16 kHz and 16-bit mono WAV only",
                )

        av: Any = _Missing()
        AudioStream = _Missing

        class FFmpegError(Exception):
            """Raised by nobody."""


__all__ = ["AudioStream", "FFmpegError", "av"]
