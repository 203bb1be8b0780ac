"""What goes into `transcribe_many` and what comes out of it."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Generic, TypeAlias, TypeVar

from asr_client._options import NAMES
from asr_client._types import Audio, Channel, Decoder, Encoding, Timestamps, Transcript


@dataclass(frozen=True, eq=False, repr=False)
class Recording:
    """Audio with a name and options of its own; None leaves an option to `transcribe_many`.

    Results come with the very object that went in, so a subclass may carry more fields.
    """

    audio: Audio
    """All that `transcribe` takes."""
    _: KW_ONLY
    id: str | None = None
    """The caller's name for it; not sent to the server."""
    sample_rate: int | None = None
    """In Hz."""
    channels: int | None = None
    encoding: Encoding | None = None
    timestamps: Timestamps | None = None
    channel: Channel | None = None
    decoder: Decoder | None = None
    beam_width: int | None = None
    hotwords: Sequence[str] | None = None
    hotword_weight: float | None = None
    language: str | None = None

    def __repr__(self) -> str:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = [f"{name}={_short(value)}" for name, value in given.items() if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


Item: TypeAlias = "Audio | Recording"
"""What `transcribe_many` takes: audio, alone or with a name and options of its own."""

ItemT = TypeVar("ItemT", bound="Item")
"""The type of a caller's items, which their results keep."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Outcome(Generic[ItemT]):
    """An item of `transcribe_many` and either its transcript or its error."""

    item: ItemT
    """The object that went in."""
    transcript: Transcript | None = None
    error: Exception | None = None
    """What `transcribe` would have raised."""

    def result(self) -> Transcript:
        """The transcript; raises the error when there is none."""
        if self.transcript is None:
            assert self.error is not None, "an outcome has a transcript or an error"
            raise self.error
        return self.transcript

    def __repr__(self) -> str:
        end = self.error if self.transcript is None else self.transcript
        return f"Outcome(item={_short(self.item)}, {end!r})"


def merged(item: Item, options: dict[str, Any]) -> tuple[Audio, dict[str, Any]]:
    """An item's audio and options: its own where it has them, else those of all items."""
    if not isinstance(item, Recording):
        return item, options
    own = {name: getattr(item, name) for name in NAMES}
    return item.audio, {**options, **{k: v for k, v in own.items() if v is not None}}


_shortener = reprlib.Repr()
_shortener.maxother = _shortener.maxstring = 200


def _short(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    if isinstance(value, Recording):
        return repr(value)
    return _shortener.repr(value)
