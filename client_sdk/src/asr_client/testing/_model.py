"""The checks and answers of Triton and the model `transcribe`. Pure functions."""

from __future__ import annotations

import json
import re
import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, NoReturn, TypeAlias

from asr_client._types import AudioWarning
from asr_client._wire import (
    ACOUSTIC_MODEL,
    MODEL,
    STREAM_MODEL,
    ContractError,
    bytes_tensor,
    bytes_value,
    messages,
)

INPUTS = ("AUDIO", "OPTIONS")
OUTPUTS = ("TEXT", "RESULT")
_Described: TypeAlias = "list[tuple[str, str, tuple[int, ...]]]"
TENSORS: Mapping[str, tuple[_Described, _Described]] = {
    MODEL: (
        [(name, "BYTES", (-1, 1)) for name in INPUTS],
        [(name, "BYTES", (-1, 1)) for name in OUTPUTS],
    ),
    STREAM_MODEL: (
        [(name, "BYTES", (-1, 1)) for name in INPUTS],
        [("RESULT", "BYTES", (-1, 1))],
    ),
    ACOUSTIC_MODEL: (
        [("SAMPLES", "FP32", (-1, -1))],
        [("LOG_PROBS", "FP32", (-1, -1, -1))],
    ),
}
"""Name, datatype and shape of the inputs and outputs of each model."""
MAX_BATCH_SIZE = 16
MAX_HOTWORDS = 100
MAX_HOTWORD_LETTERS = 200
NOMINAL_DURATION_S = 1.0
"""The length of every file that is not WAV, because the fake has no decoders."""


class Refused(Exception):
    """The request is refused with a gRPC status and a message."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


def _refuse(message: str) -> NoReturn:
    raise Refused("INVALID_ARGUMENT", message)


def tensors(request: Any) -> tuple[bytes, bytes]:
    """AUDIO and OPTIONS of a ModelInferRequest; raises Refused with Triton's message."""
    given = {tensor.name: tensor for tensor in request.inputs}
    for name in INPUTS:
        if name not in given:
            _refuse(
                f"expected 2 inputs but got {len(given)} inputs for model 'transcribe'. Got "
                f"input(s) {sorted(given)}, but missing required input(s) ['{name}']."
            )
    if extra := given.keys() - set(INPUTS):
        _refuse(f"unexpected inference input '{min(extra)}' for model 'transcribe'")
    if len(request.raw_input_contents) != len(request.inputs):
        _refuse("unable to find data for an input tensor for model 'transcribe' in request.")
    raw = dict(zip(given, request.raw_input_contents, strict=True))
    for name, tensor in given.items():
        if tensor.datatype != "BYTES":
            _refuse(
                f"inference input '{name}' data-type is '{tensor.datatype}', but model "
                "'transcribe' expects 'BYTES'"
            )
        if len(tensor.shape) != 2 or tensor.shape[1] != 1:
            _refuse(
                f"unexpected shape for input '{name}' for model 'transcribe'. Expected [-1,1], "
                f"got {list(tensor.shape)}."
            )
    batch = {tensor.shape[0] for tensor in given.values()}
    if len(batch) > 1:
        _refuse("input 'AUDIO' batch size does not match other inputs for 'transcribe'")
    if (size := batch.pop()) > MAX_BATCH_SIZE:
        _refuse(f"inference request batch-size must be <= {MAX_BATCH_SIZE} for 'transcribe'")
    if size > 1:
        _refuse(f"BAD_SHAPE: the batch dimension is {size}, only 1 is possible")
    try:
        return bytes_value(raw["AUDIO"]), bytes_value(raw["OPTIONS"])
    except ContractError as error:
        _refuse(f"incomplete string data for an inference input: {error}")


@dataclass(frozen=True, slots=True)
class _Rule:
    """The allowed values of a key of OPTIONS."""

    words: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    whole: bool = True
    strings: bool = False
    flag: bool = False
    max_length: int = 0

    def allows(self, value: object) -> bool:
        if self.flag:
            return isinstance(value, bool)
        if isinstance(value, str) and self.max_length:
            return len(value) <= self.max_length
        if isinstance(value, str):
            return value in self.words
        if isinstance(value, list):
            return self.strings and all(isinstance(item, str) and item.strip() for item in value)
        if self.range is None or isinstance(value, bool):
            return False
        number = isinstance(value, int) or (isinstance(value, float) and not self.whole)
        return number and self.range[0] <= value <= self.range[1]  # type: ignore[operator]

    def __str__(self) -> str:
        parts = [f'"{word}"' for word in self.words]
        if self.range is not None:
            parts.append("a number from {:g} to {:g}".format(*self.range))
        return " or ".join(parts) or "another type"


RULES: Mapping[str, _Rule] = {
    "encoding": _Rule(words=("container", "pcm_s16le", "pcm_f32le")),
    "sample_rate": _Rule(range=(1000, 384000)),
    "channels": _Rule(range=(1, 64)),
    "timestamps": _Rule(words=("none", "word", "char")),
    "decoder": _Rule(words=("greedy", "beam")),
    "beam_width": _Rule(range=(1, 1000)),
    "hotwords": _Rule(strings=True),
    "hotword_weight": _Rule(range=(0, 100), whole=False),
    "language": _Rule(),
    "channel": _Rule(words=("mix", "separate"), range=(0, 63)),
}


STREAM_RULES: Mapping[str, _Rule] = {
    **RULES,
    "encoding": _Rule(words=("pcm_s16le", "pcm_f32le")),
    "channel": _Rule(words=("mix",), range=(0, 63)),
    "state": _Rule(max_length=4096),
    "end": _Rule(flag=True),
    "interim": _Rule(flag=True),
    "endpoint_silence_s": _Rule(range=(0.2, 5), whole=False),
    "max_segment_s": _Rule(range=(2, 55), whole=False),
}


def options(
    document: bytes, *, languages: Sequence[str] = (), rules: Mapping[str, _Rule] = RULES
) -> dict[str, Any]:
    """The OPTIONS document, checked."""
    try:
        given = json.loads(document.decode())
    except ValueError as error:
        _refuse(f"BAD_OPTIONS: OPTIONS is not JSON: {error}")
    if not isinstance(given, dict):
        _refuse("BAD_OPTIONS: OPTIONS must be a JSON object")
    for key, value in given.items():
        if key == "language" and isinstance(value, str) and value:
            if value in languages:
                continue
            _refuse(
                f"UNKNOWN_LANGUAGE: {value!r} was asked for, the fake has {len(languages)} "
                "language adapters"
            )
        if key not in rules:
            _refuse(f'BAD_OPTIONS: unknown key "{key}"; the keys are {", ".join(rules)}')
        if not rules[key].allows(value):
            _refuse(f"BAD_OPTIONS: {key} must be {rules[key]}, not {value!r}")
    if rules is STREAM_RULES and "encoding" not in given:
        _refuse("BAD_OPTIONS: encoding is required")
    pcm = given.get("encoding", "container") != "container"
    for key in ("sample_rate", "channels"):
        if pcm != (key in given):
            _refuse(f"BAD_OPTIONS: {key} is required for PCM and refused otherwise")
    for key in ("beam_width", "hotwords", "hotword_weight"):
        if key in given and given.get("decoder") != "beam":
            _refuse(f'BAD_OPTIONS: {key} is for decoder "beam" only')
    words = [word for hotword in given.get("hotwords", ()) for word in hotword.split()]
    if len(words) > MAX_HOTWORDS:
        _refuse(f"BAD_OPTIONS: hotwords has more than {MAX_HOTWORDS} words")
    if any(len(word) > MAX_HOTWORD_LETTERS for word in words):
        _refuse(f"BAD_OPTIONS: hotwords has a word of more than {MAX_HOTWORD_LETTERS} letters")
    return given


def measure(audio: bytes, given: Mapping[str, Any]) -> tuple[int, float]:
    """Channels and seconds of the audio, or the model's error about it."""
    if not audio:
        _refuse("EMPTY_AUDIO: AUDIO has 0 bytes")
    encoding = given.get("encoding", "container")
    if encoding == "container":
        channels, duration = _container(audio)
    else:
        channels = given["channels"]
        frame_bytes = channels * (2 if encoding == "pcm_s16le" else 4)
        if len(audio) % frame_bytes:
            _refuse(f"CORRUPT_AUDIO: {len(audio)} bytes are no whole frames of {frame_bytes}")
        if encoding == "pcm_f32le" and not all(map(isfinite, array("f", audio))):
            _refuse("NON_FINITE_SAMPLES: a sample is NaN or infinite")
        duration = len(audio) / frame_bytes / given["sample_rate"]
    channel = given.get("channel", "mix")
    if channels is not None and isinstance(channel, int) and channel >= channels:
        _refuse(f"BAD_OPTIONS: channel is {channel}, the audio has {channels}")
    return channels or 1, duration


_MAGIC = (
    (0, b"RIFF"), (0, b"RF64"), (0, b"riff"), (0, b"FORM"), (0, b".snd"), (0, b"fLaC"),
    (0, b"ID3"), (0, b"OggS"), (4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"#!AMR"),
    (0, b"0&\xb2u"), (0, b"caff"), (0, b"\xff\xf1"), (0, b"\xff\xf9"), (0, b"\xff\xfb"),
    (0, b"\xff\xf3"), (0, b"\xff\xf2"),
)  # fmt: skip


def _container(audio: bytes) -> tuple[int | None, float]:
    if not any(audio.startswith(magic, offset) for offset, magic in _MAGIC):
        _refuse("UNSUPPORTED_FORMAT: no known audio format")
    if not audio.startswith(b"RIFF"):
        return None, NOMINAL_DURATION_S
    channels = byte_rate = 0
    position = 12
    while position + 8 <= len(audio):
        name, size = struct.unpack_from("<4sI", audio, position)
        position += 8
        if name == b"fmt " and position + 16 <= len(audio):
            channels, byte_rate = struct.unpack_from("<2xH4xI", audio, position)
        if name == b"data" and channels and byte_rate:
            present = min(size, len(audio) - position)
            if not present:
                _refuse("EMPTY_AUDIO: the file has no samples")
            return channels, present / byte_rate
        position += size + size % 2
    _refuse("CORRUPT_AUDIO: a WAV without a format or samples")


def reported(parameters: Mapping[str, str]) -> dict[str, str]:
    """RESULT's `model` of a server with these parameters."""
    keys = {"model_id": "id", "model_revision": "revision"}
    known = {"id": "fake", "revision": "1"}
    for name in ("model_id", "model_revision", "precision", "fingerprint"):
        if name in parameters:
            known[keys.get(name, name)] = parameters[name]
    return known


def response(
    text: str,
    *,
    given: Mapping[str, Any],
    channels: int,
    duration: float,
    request_id: str,
    model: Mapping[str, str],
    warnings: Sequence[AudioWarning] = (),
) -> Any:
    """A ModelInferResponse with words and characters spread evenly over the audio."""
    timestamps, channel = given.get("timestamps", "word"), given.get("channel", "mix")
    lines = text.split("\n")
    lines += lines[-1:] * (channels - len(lines))
    if channel == "separate":
        lines_of: dict[int | None, str] = dict(enumerate(lines[:channels]))
    else:
        lines_of = {None: " ".join(text.split("\n")) if channel == "mix" else lines[channel]}
    text = "\n".join(lines_of.values())
    result: dict[str, Any] = {
        "contract": 1,
        "text": text,
        "duration_s": round(duration, 3),
        "confidence": 1.0,
        "model": dict(model),
        "timing_ms": {"decode": 0.1, "acoustic": 0.1, "ctc": 0.1, "total": 0.3},
    }
    if timestamps != "none":
        result["words"] = spans(r"\S+", lines_of, result["duration_s"])
    if timestamps == "char":
        result["chars"] = spans(r"\S", lines_of, result["duration_s"])
    if channel == "separate":
        result["channels"] = [
            {"channel": index, "text": line, "confidence": 1.0} for index, line in lines_of.items()
        ]
    if warnings:
        result["warnings"] = [asdict(warning) for warning in warnings]
    answer = messages.ModelInferResponse(model_name="transcribe", model_version="1", id=request_id)
    for name, value in zip(OUTPUTS, (text, json.dumps(result)), strict=True):
        answer.outputs.add(name=name, datatype="BYTES", shape=(1, 1))
        answer.raw_output_contents.append(bytes_tensor(value.encode()))
    return answer


def spans(
    pattern: str, lines_of: Mapping[int | None, str], duration: float
) -> list[dict[str, object]]:
    """The matches of the pattern on each channel (None for all together), sorted by start."""
    spans = []
    for channel, text in lines_of.items():
        step = duration / max(1, len(text))
        for match in re.finditer(pattern, text):
            start, end = (round(edge * step, 3) for edge in match.span())
            found = {"text": match.group(), "start_s": start, "end_s": end, "confidence": 1.0}
            spans.append(found if channel is None else {**found, "channel": channel})
    return sorted(spans, key=lambda span: float(str(span["start_s"])))
