"""The items of `transcribe_many` and their outcomes."""

from __future__ import annotations

import reprlib
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Generic, TypeAlias, TypeVar

from asr_client._options import NAMES, RecordingOptions
from asr_client._types import Audio, Transcript


@dataclass(frozen=True, eq=False, repr=False)
class Recording(RecordingOptions):
    """Audio with a name and its own options; None means the option of `transcribe_many`.

    An outcome refers to the same object, so a subclass may have more fields.
    """

    audio: Audio
    """Audio as `transcribe` takes it."""
    _: KW_ONLY
    id: str | None = None
    """The caller's name for the recording; not sent to the server."""

    def __repr__(self) -> str:
        # The options come last.
        names = sorted((field.name for field in fields(self)), key=lambda name: name in NAMES)
        given = {name: getattr(self, name) for name in names}
        shown = [f"{name}={_short(value)}" for name, value in given.items() if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


Item: TypeAlias = "Audio | Recording"
"""An item of `transcribe_many`: audio alone, or with a name and its own options."""

ItemT = TypeVar("ItemT", bound="Item")
"""The type of the caller's items; outcomes keep it."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Outcome(Generic[ItemT]):
    """An item of `transcribe_many` and either its transcript or its error."""

    item: ItemT
    """The same object that the caller gave."""
    transcript: Transcript | None = None
    error: Exception | None = None
    """The error that `transcribe` would have raised."""

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
    """The audio and the options of an item; its own options override those of all items."""
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
