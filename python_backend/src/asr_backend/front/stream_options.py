"""Reads and checks OPTIONS of `transcribe_stream`, the JSON of the wire contract, version 1."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from asr_backend.audio.format import PcmFormat
from asr_backend.front.options import MAX_OPTIONS_BYTES, Options, check_together
from asr_backend.front.options_json import read_object, refuse
from asr_backend.front.stream_state import MAX_STATE_BYTES
from asr_backend.segmentation.endpointer import EndpointerSettings

MAX_LOOK_S = 60.0
"""Longest audio of one look."""
MIN_SEGMENT_S, MAX_SEGMENT_S = 2.0, MAX_LOOK_S - 5
"""What `max_segment_s` may be. A look of that and 5 s more always consumes something."""
DEFAULT_SEGMENT_S = 15.0


class StreamOptions(Options):
    """The options of one look. Each description is the range that a refusal quotes."""

    encoding: Literal["pcm_s16le", "pcm_f32le"] = Field(description='"pcm_s16le" or "pcm_f32le"')
    channel: Literal["mix"] | Annotated[int, Field(ge=0)] = Field(
        default="mix", description='"mix" or a channel index from 0'
    )
    state: Annotated[str, Field(max_length=MAX_STATE_BYTES)] | None = Field(
        default=None, description=f"a string of at most {MAX_STATE_BYTES} bytes"
    )
    end: bool = Field(default=False, description="true or false")
    interim: bool = Field(default=True, description="true or false")
    endpoint_silence_s: float = Field(
        default=0.5, ge=0.2, le=5, description="a number from 0.2 to 5"
    )
    max_segment_s: float = Field(
        default=DEFAULT_SEGMENT_S,
        ge=MIN_SEGMENT_S,
        le=MAX_SEGMENT_S,
        description=f"a number from {MIN_SEGMENT_S:g} to {MAX_SEGMENT_S:g}, "
        "at most `--max-window-s`",
    )

    @property
    def format(self) -> PcmFormat:
        """The format of AUDIO."""
        format = self.pcm
        assert format is not None
        return format


def parse_stream_options(raw: bytes, *, max_window_s: float) -> StreamOptions:
    """Read one OPTIONS element of `transcribe_stream`.

    Args:
        raw: a JSON object in UTF-8.
        max_window_s: maximum length of a window; a segment is one window.

    Raises:
        AsrError: BAD_OPTIONS, with the key and the values it allows.
    """
    options = read_object(raw, StreamOptions, max_bytes=MAX_OPTIONS_BYTES)
    check_together(options)
    if "max_segment_s" in options.model_fields_set and options.max_segment_s > max_window_s:
        refuse(
            f"max_segment_s must be at most {max_window_s:g}, the longest window of this server, "
            f"not {options.max_segment_s:g}"
        )
    return options


def endpointer_settings(options: StreamOptions, *, max_window_s: float) -> EndpointerSettings:
    """How segments end. The default of `max_segment_s` is less where windows are shorter."""
    return EndpointerSettings(
        endpoint_silence_s=options.endpoint_silence_s,
        max_segment_s=min(options.max_segment_s, max_window_s),
    )
