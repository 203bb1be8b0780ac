"""One look: what is sent, and what comes back. Pure functions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from asr_client._json import CONTRACT, model_info, span, to_json
from asr_client._stream.events import Interim, InterimWord, Segment
from asr_client._types import Char, Word
from asr_client._wire import ContractError

Reason = Literal["pause", "length", "end"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """A call of `transcribe_stream`."""

    audio: bytes
    """Whole frames of PCM."""
    until: int
    """The frame of the stream behind the audio."""
    state: str | None
    end: bool
    interim: bool
    timeout_s: float
    avoid: tuple[str, ...] = ()
    """The server of the look that failed before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LookResult:
    """RESULT of a look."""

    processed_s: float
    consumed_bytes: int
    state: str
    position: int
    """The frame of the stream at which `state` is."""
    index: int
    """Of the next segment, in `state`."""
    segments: tuple[Segment, ...]
    interim: Interim | None
    speech: bool


def look_options(look: Look, options: Mapping[str, object]) -> bytes:
    """The OPTIONS document; options that are None are left to the server."""
    given = {**options, "state": look.state, "end": look.end, "interim": look.interim}
    return to_json({key: v for key, v in given.items() if v is not None})


def state_place(state: str) -> tuple[int, int]:
    """The frame at which a state is, and the index of the next segment.

    Raises:
        ValueError: it is not VERSION:POSITION:INDEX:REST.
    """
    _, position, index, _ = state.split(":", 3)
    return int(position), int(index)


def look_result(document: bytes) -> LookResult:
    """Read RESULT of a look; unknown keys are for later clients.

    Raises:
        ContractError: the document breaks the contract.
    """
    try:
        result: dict[str, Any] = json.loads(document)
        if result["contract"] != CONTRACT:
            raise ContractError(f"contract {result['contract']}, this client knows {CONTRACT}")
        model = model_info(result["model"])
        interim = result.get("interim")
        processed_s = float(result["audio_processed_s"])
        if not math.isfinite(processed_s):
            raise ValueError(f"audio_processed_s {processed_s}")
        state = str(result["state"])
        position, index = state_place(state)
        return LookResult(
            processed_s=processed_s,
            consumed_bytes=int(result["consumed_bytes"]),
            state=state,
            position=position,
            index=index,
            segments=tuple(
                Segment(
                    index=int(item["index"]),
                    first_frame=int(item["first_frame"]),
                    frames=int(item["frames"]),
                    start_s=float(item["start_s"]),
                    end_s=float(item["end_s"]),
                    text=str(item["text"]),
                    confidence=float(item["confidence"]),
                    words=tuple(Word(**span(word)) for word in item.get("words", ())),
                    chars=tuple(Char(**span(char)) for char in item.get("chars", ())),
                    reason=_reason(item["reason"]),
                    model=model,
                )
                for item in result["segments"]
            ),
            interim=None if interim is None else _interim(interim),
            speech=bool(result["speech"]),
        )
    except (
        KeyError,
        AttributeError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ContractError(f"RESULT is not as the contract says: {error!r}") from error


def _reason(value: Any) -> Reason:
    if value not in get_args(Reason):
        raise ValueError(f"reason {value!r}")
    reason: Reason = value
    return reason


def _interim(item: Mapping[str, Any]) -> Interim:
    return Interim(
        index=int(item["index"]),
        start_s=float(item["start_s"]),
        end_s=float(item["end_s"]),
        text=str(item["text"]),
        stable_text=str(item["stable_text"]),
        words=tuple(
            InterimWord(
                text=str(word["text"]),
                start_s=float(word["start_s"]),
                end_s=float(word["end_s"]),
                confidence=float(word["confidence"]),
                stable=bool(word["stable"]),
            )
            for word in item.get("words", ())
        ),
    )
