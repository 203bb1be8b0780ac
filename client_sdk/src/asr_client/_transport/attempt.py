"""One attempt of a call, from its start to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from asr_client._transport.connections import Connection
from asr_client._transport.server import Choice


@dataclass(eq=False, kw_only=True, slots=True)
class OpenAttempt:
    """An attempt in flight: a request that was sent to a server.

    As a context manager it ends the attempt. A block that returns has the answer. `AttemptFailed`
    ends here too: either `pause_s` says how long to wait before the next attempt, or the call's
    error is raised. Every other exception abandons the attempts of the call and goes on.
    """

    number: int
    """Of the attempt within its call, from 1 on."""
    address: str
    choice: Choice | None
    """The server that was chosen; None when the call knows of no server yet."""
    began_s: float
    timeout_s: float
    """Seconds that the call had left at its start."""
    span: Any
    """OpenTelemetry's, where there is one."""
    on_exit: Callable[[OpenAttempt, BaseException | None], bool]
    """Ends the attempt; returns whether the exception ends with it."""
    connection: Connection | None = None
    """The connection that it uses, once it is sent."""
    pause_s: float = 0.0
    """Seconds to wait after it failed."""

    def __enter__(self) -> OpenAttempt:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return self.on_exit(self, error)


class AttemptFailed(Exception):
    """An attempt ended without an answer.

    Args:
        attempt: the one that failed.
        status: gRPC's status, such as "UNAVAILABLE".
        words: the message with it.
    """

    def __init__(self, attempt: OpenAttempt, status: str, words: str) -> None:
        super().__init__(status, words)
        self.attempt = attempt
        self.status = status
        self.words = words
