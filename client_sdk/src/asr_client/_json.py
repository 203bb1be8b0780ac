"""The two JSON documents of the contract: writes OPTIONS and reads RESULT. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from asr_client._audio import Payload
from asr_client._types import (
    AudioWarning,
    ChannelTranscript,
    Char,
    ModelInfo,
    Timing,
    Transcript,
    Word,
)
from asr_client._wire import ContractError

CONTRACT = 1


def options_json(payload: Payload, options: Mapping[str, object]) -> bytes:
    """The OPTIONS document, without options that are None: the server has defaults for them."""
    if isinstance(options.get("hotwords"), str):
        raise TypeError("hotwords is a list of strings, not one string")
    document = {
        **options,
        "encoding": payload.encoding,
        "sample_rate": payload.sample_rate,
        "channels": payload.channels,
    }
    given = {key: value for key, value in document.items() if value is not None}
    return to_json(given)


def to_json(document: Mapping[str, object]) -> bytes:
    """A document in JSON; tuples and numpy's numbers are as lists and numbers.

    Raises:
        TypeError, ValueError: a value has no place in JSON.
    """
    return json.dumps(document, allow_nan=False, default=_plain).encode()


def transcript(document: bytes, *, request_id: str) -> Transcript:
    """Read a RESULT document; unknown keys are for later clients.

    Raises:
        ContractError: the document breaks the contract.
    """
    try:
        result: dict[str, Any] = json.loads(document)
        if result["contract"] != CONTRACT:
            raise ContractError(f"contract {result['contract']}, this client knows {CONTRACT}")
        return Transcript(
            text=str(result["text"]),
            duration_s=float(result["duration_s"]),
            confidence=float(result["confidence"]),
            words=tuple(Word(**span(item)) for item in result.get("words", ())),
            chars=tuple(Char(**span(item)) for item in result.get("chars", ())),
            channels=tuple(
                ChannelTranscript(
                    channel=int(item["channel"]),
                    text=str(item["text"]),
                    confidence=float(item["confidence"]),
                )
                for item in result.get("channels", ())
            ),
            model=model_info(result["model"]),
            timing_ms=Timing(**{name: float(result["timing_ms"][name]) for name in _TIMING_NAMES}),
            request_id=request_id,
            warnings=tuple(
                AudioWarning(code=str(item["code"]), message=str(item["message"]))
                for item in result.get("warnings", ())
            ),
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


def model_info(item: dict[str, Any]) -> ModelInfo:
    """RESULT's `model`."""
    return ModelInfo(
        id=str(item["id"]),
        revision=str(item["revision"]),
        precision=_text(item.get("precision")),
        fingerprint=_text(item.get("fingerprint")),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _plain(value: object) -> object:
    """The JSON value of a tuple or of one of numpy's numbers."""
    if isinstance(value, Iterable):
        return list(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r} of {type(value).__name__} has no place in the options")


_TIMING_NAMES = tuple(Timing.__dataclass_fields__)


def span(item: dict[str, Any]) -> dict[str, Any]:
    """The fields of a word or a character."""
    channel = item.get("channel")
    return {
        "text": str(item["text"]),
        "start_s": float(item["start_s"]),
        "end_s": float(item["end_s"]),
        "confidence": float(item["confidence"]),
        "channel": None if channel is None else int(channel),
    }
