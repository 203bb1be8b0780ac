"""What a stream has told its caller already."""

from __future__ import annotations

from asr_client._stream.events import Interim, StreamEvent
from asr_client._stream.look import LookResult


class Reported:
    """Turns the results of looks into events that are new.

    Args:
        first: the frame at which the stream begins, or goes on.
    """

    def __init__(self, first: int) -> None:
        self._finals_until = first
        self._shows_words = False
        """Whether the last event was an interim with words."""

    def events(self, result: LookResult) -> list[StreamEvent]:
        """The finals that were not given before, then the interim."""
        events, interim = self._finals(result), result.interim
        if interim is None and self._shows_words and not events and not result.speech:
            # It was a noise, and its segment has no words.
            interim = Interim(
                index=result.index,
                start_s=result.processed_s,
                end_s=result.processed_s,
                text="",
                stable_text="",
                words=(),
            )
        if interim is not None:
            events.append(interim)
        if events:
            self._shows_words = interim is not None and interim.text != ""
        return events

    def skip(self) -> None:
        """Note that the open segment is skipped."""
        self._shows_words = False

    def _finals(self, result: LookResult) -> list[StreamEvent]:
        fresh: list[StreamEvent] = []
        for segment in result.segments:
            # Segments never overlap, so this one was given before.
            if segment.first_frame < self._finals_until:
                continue
            self._finals_until = segment.first_frame + segment.frames
            fresh.append(segment)
        return fresh
