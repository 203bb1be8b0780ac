"""One attempt of a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asr_client._transport.connections import Connection
from asr_client._transport.server import Choice


@dataclass(eq=False, kw_only=True, slots=True)
class Sending:
    """An attempt that is under way: a request that was sent to a server."""

    number: int
    """Of the attempt within its call, from 1 on."""
    choice: Choice
    began_s: float
    timeout_s: float
    """What the call had left when it began."""
    span: Any
    """OpenTelemetry's, where there is one."""
    connection: Connection | None = None
    """What it was sent by."""


class AttemptFailed(Exception):
    """An attempt ended without an answer, by gRPC's status and words."""

    def __init__(self, sending: Sending, status: str, words: str) -> None:
        super().__init__(status, words)
        self.sending = sending
        self.status = status
        self.words = words
