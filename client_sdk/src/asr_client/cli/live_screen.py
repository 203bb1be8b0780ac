"""What `asr stream` writes: text that renews its last line on a terminal, or lines of JSON."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from typing import Any

from asr_client._stream.events import Interim, Segment, StreamEvent
from asr_client._stream.failures import is_fatal
from asr_client._telemetry import Attempt
from asr_client.cli.screen import describe

_CLEAR = "\r\x1b[2K"


class TextScreen:
    """Finals are lines of standard output; on a terminal, the interim is its last line."""

    def __init__(self) -> None:
        self._on_terminal = sys.stdout.isatty()
        self._shown = False
        self._interim = ""

    def show(self, event: StreamEvent) -> None:
        """Write one event."""
        self._interim = event.text if isinstance(event, Interim) else ""
        if isinstance(event, Interim):
            self._renew()
            return
        self.end()
        if isinstance(event, Segment):
            self._write(event.text + "\n")
        else:
            times = f"{event.start_s:.1f} s to {event.end_s:.1f} s"
            print(f"asr: skipped {times}: {describe(event.error)}", file=sys.stderr)

    def end(self) -> None:
        """Remove an interim."""
        if self._shown:
            self._write(_CLEAR)
            self._shown = False

    def note(self, words: str) -> None:
        """Write a line to standard error, above the interim."""
        self.end()
        print(f"asr: {words}", file=sys.stderr)
        if self._interim:
            self._renew()

    def lost(self) -> None:
        """Say which words did not become final."""
        self.end()
        if self._interim:
            print(f"asr: not final: {self._interim}", file=sys.stderr)

    def _renew(self) -> None:
        if self._on_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(_CLEAR + self._interim[-width:])
            self._shown = True

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class LookNotice:
    """Says when looks begin to fail, and when one is answered again."""

    def __init__(self, screen: TextScreen | JsonScreen) -> None:
        self._screen = screen
        self._failing = False

    def __call__(self, attempt: Attempt) -> None:
        """The `on_attempt` hook of a client."""
        error = attempt.error
        if (error is None) is not self._failing or (error is not None and is_fatal(error)):
            return
        self._failing = error is not None
        if error is None:
            words = f"{attempt.address} answers again"
        else:
            words = f"{attempt.address}: {describe(error)}; the audio is kept meanwhile"
        self._screen.note(words)


class JsonScreen:
    """A line of JSON for each event."""

    def show(self, event: StreamEvent) -> None:
        """Write one event."""
        sys.stdout.write(json.dumps(document(event), ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def end(self) -> None:
        """Nothing is left to remove."""

    def note(self, words: str) -> None:
        """Write a line to standard error."""
        print(f"asr: {words}", file=sys.stderr)

    def lost(self) -> None:
        """The last line has those words."""


def document(event: StreamEvent) -> dict[str, Any]:
    """An event as JSON: `type` is "interim", "segment" or "skipped"."""
    if isinstance(event, Interim):
        return {"type": "interim", **asdict(event)}
    if isinstance(event, Segment):
        return {"type": "segment", **asdict(event, dict_factory=_without_channels)}
    error = {"code": event.error.code, "kind": type(event.error).__name__}
    return {
        "type": "skipped",
        "first_frame": event.first_frame,
        "frames": event.frames,
        "start_s": event.start_s,
        "end_s": event.end_s,
        "error": {**error, "message": describe(event.error)},
    }


def _without_channels(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: value for key, value in items if key != "channel"}
