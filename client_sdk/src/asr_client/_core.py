"""What both clients do between the caller and gRPC. Nothing here does I/O."""

from __future__ import annotations

import copy
import math
import random
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from asr_client import _errors, _retry
from asr_client._budget import RetryBudget
from asr_client._errors import AsrError
from asr_client._servers import Choice, Servers
from asr_client._watch import Attempt, Watch

_CODE = re.compile(r"(?:\[request id: [^\]]*\] )?([A-Z][A-Z0-9_]+): ")

_KIND_OF_CODE: dict[str, type[AsrError]] = {
    "EMPTY_AUDIO": _errors.InvalidAudio,
    "UNSUPPORTED_FORMAT": _errors.InvalidAudio,
    "CORRUPT_AUDIO": _errors.InvalidAudio,
    "AUDIO_TOO_LONG": _errors.InvalidAudio,
    "AUDIO_TOO_LARGE": _errors.InvalidAudio,
    "BAD_SAMPLE_RATE": _errors.InvalidAudio,
    "NON_FINITE_SAMPLES": _errors.InvalidAudio,
    "BAD_SHAPE": _errors.InvalidRequest,
    "BAD_OPTIONS": _errors.InvalidOptions,
    "UNKNOWN_LANGUAGE": _errors.InvalidOptions,
    "OUT_OF_MEMORY": _errors.OutOfMemory,
    "ENGINE_RESTARTING": _errors.EngineRestarting,
    "INTERNAL_ERROR": _errors.ServerFault,
}

# Triton's words decide only where one status means several things.
_KIND_OF_WORDS: tuple[tuple[str, str, type[AsrError]], ...] = (
    ("UNAVAILABLE", "This protocol is restricted", _errors.AuthenticationError),
    ("UNAVAILABLE", "Exceeds maximum queue size", _errors.ServerBusy),
    ("UNAVAILABLE", "Request timeout expired", _errors.ServerBusy),
    ("UNAVAILABLE", "Server not ready", _errors.ServerDraining),
    ("INTERNAL", "Server not ready", _errors.ServerDraining),
    ("INTERNAL", "is not healthy", _errors.EngineRestarting),
    ("NOT_FOUND", "has no available versions", _errors.ServerDraining),
    ("RESOURCE_EXHAUSTED", "larger than max", _errors.MessageTooLarge),
)

_KIND_OF_STATUS: dict[str, type[AsrError]] = {
    "INVALID_ARGUMENT": _errors.InvalidRequest,
    "UNAVAILABLE": _errors.ServerUnavailable,
    "NOT_FOUND": _errors.ModelNotFound,
    "UNAUTHENTICATED": _errors.AuthenticationError,
    "PERMISSION_DENIED": _errors.AuthenticationError,
    "DEADLINE_EXCEEDED": _errors.DeadlineExceeded,
    "CANCELLED": _errors.Cancelled,
}


def classify(status: str, words: str) -> tuple[type[AsrError], str | None]:
    """The error class and the contract's code of a failed call."""
    match = _CODE.match(words)
    code = match.group(1) if match else None
    if code in _KIND_OF_CODE:
        return _KIND_OF_CODE[code], code
    for at_status, phrase, kind in _KIND_OF_WORDS:
        if status == at_status and phrase in words:
            return kind, code
    return _KIND_OF_STATUS.get(status, _errors.ServerFault), code


# gRPC has one status for these and for requests that were lost on their way.
_NEVER_SENT = (
    "failed to connect to",
    "Failed to connect to remote host",
    "errors resolving ",
    "DNS resolution failed",
)

_AT_ONCE_ELSEWHERE = (_errors.ServerUnavailable, _errors.ServerDraining, _errors.OutOfMemory)
"""Exactly these: one server's trouble, which another one need not have."""


def never_sent(status: str, words: str) -> bool:
    """Say whether a failed request cannot have reached any server."""
    return status == "UNAVAILABLE" and any(phrase in words for phrase in _NEVER_SENT)


def check_timeout(timeout_s: float) -> None:
    """Raise ValueError for a time that no call could have, such as none or an endless one."""
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s is {timeout_s}, not a time above 0 s")


class Call:
    """Deadline, attempts and retries of one call, and the servers it goes to.

    Args:
        address: what errors name before a server is chosen.
        timeout_s: bounds the whole call, in seconds.
        policy: how it is retried.
        servers: those of the client; none are one server at `address`.
        budget: that of the client; None is one of the call's own.
        watch: who is told of its attempts; None is the log alone.
    """

    def __init__(
        self,
        *,
        address: str,
        timeout_s: float,
        policy: _retry.RetryPolicy,
        servers: Servers | None = None,
        budget: RetryBudget | None = None,
        watch: Watch | None = None,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        check_timeout(timeout_s)
        self.servers = servers or Servers([address])
        self.budget = budget or RetryBudget()
        self.watch = watch or Watch()
        self._tried: list[str] = []
        self._free_attempts = 0
        self.request_id = uuid.uuid4().hex
        self._address = address
        self._policy = policy
        self._clock = clock
        self._dice = dice
        self._start = clock()
        self._timeout_s = timeout_s
        self._attempts = 0
        self._counts: Counter[type[AsrError]] = Counter()
        self._last: AsrError | None = None
        self._began = self._attempt_began = self._start
        self._under_way = False
        self._earlier_attempts = 0
        self.gives_way = False
        """Whether ServerBusy ends this turn at once: `transcribe_many` sends fewer, then again."""
        self.cancellable = False
        """Whether another thread may want to end it."""
        self.cancelled = False
        self.rpc: Any = None
        """What gRPC has in flight for it, when it is cancellable."""

    def again(self) -> Call:
        """The next turn of a call that gave way: all of its attempts, the same request."""
        turn = copy.copy(self)
        turn._earlier_attempts += self._attempts
        turn._attempts = turn._free_attempts = 0
        turn._counts = Counter()
        turn._tried = []
        return turn

    def starts(self) -> None:
        """Let its time begin now: until now it waited for its turn, and for no server."""
        self._start = self._clock()

    @property
    def address(self) -> str:
        """Where the last attempt went."""
        return self._address

    def remaining_s(self) -> float:
        """Seconds left; raises DeadlineExceeded when there are none."""
        left = self._timeout_s - (self._clock() - self._start)
        if left <= 0:
            raise self.error(_errors.DeadlineExceeded, "DEADLINE_EXCEEDED") from self._last
        return left

    def remember(self, error: AsrError) -> None:
        """Make this the cause of a DeadlineExceeded that follows."""
        self._last = error

    def raise_last(self) -> None:
        """Raise what the last failed attempt ended with, when there was one."""
        if self._last is not None:
            raise self._last

    def choose(self) -> Choice:
        """The server for the next attempt; to be given back with `servers.release`."""
        choice = self.servers.choose(self._tried)
        self._address = choice.address
        return choice

    def succeeded(self) -> None:
        """Note that the last attempt was answered."""
        self.servers.answered(self._address)
        self.budget.refill()
        self._ended("OK")

    def attempt(self) -> float:
        """Count an attempt and give it all the seconds left."""
        left = self.remaining_s()
        self.begin_attempt()
        return left

    def begin_attempt(self) -> None:
        """Count an attempt."""
        self._attempts += 1
        self._under_way = True
        self._attempt_began = self._clock()
        self.watch.began(self._earlier_attempts + self._attempts, self._address)

    def abandon_attempt(self) -> None:
        """Note that nobody waits any more for the attempt under way, if there is one."""
        if self._under_way:
            error = self.error(_errors.Cancelled, "CANCELLED", "nobody waits for it")
            self._ended("CANCELLED", error)

    def failed(self, status: str, words: str) -> float:
        """Seconds to wait before the next attempt; raises the call's error when this was the last.

        A wait that would outlast the deadline is not begun: the error comes at once. To go on to
        another server costs nothing when this one cannot have got the request; every other
        attempt counts, and sending a request again takes a token of the client's budget.
        """
        kind, code = classify(status, words)
        unsent = never_sent(status, words)
        self.servers.failed(self._address, kind)
        if kind is _errors.DeadlineExceeded:
            self.servers.doubt(self._address)
        self._tried.append(self._address)
        elsewhere = kind in _AT_ONCE_ELSEWHERE and self.servers.has_other(self._tried)
        error = self.error(kind, status, words, code)
        error.__cause__, self._last = self._last, error
        self._counts[kind] += 1
        pause_s = None
        try:
            pause_s = self._pause_s(error, unsent=unsent, elsewhere=elsewhere)
        finally:
            self._ended(status, error, pause_s)
        return pause_s

    def _pause_s(self, error: AsrError, *, unsent: bool, elsewhere: bool) -> float:
        kind = type(error)
        if self.gives_way and kind is _errors.ServerBusy:
            raise error
        if unsent and elsewhere:
            self._free_attempts += 1
            self.remaining_s()
            return 0.0
        counted = self._attempts - self._free_attempts
        if not _retry.should_retry(
            error, same_errors=self._counts[kind], attempts=counted, policy=self._policy
        ):
            raise error
        pause_s = 0.0
        if not elsewhere:
            pause_s = _retry.backoff_s(attempts=counted, policy=self._policy, dice=self._dice())
        if pause_s >= self.remaining_s():
            raise error
        if not unsent and self._policy.budgeted and not self.budget.take():
            raise error
        return pause_s

    def _ended(
        self, status: str, error: AsrError | None = None, pause_s: float | None = None
    ) -> None:
        self._under_way = False
        self.watch.ended(
            Attempt(
                request_id=self.request_id,
                number=self._earlier_attempts + self._attempts,
                address=self._address,
                elapsed_s=self._clock() - self._attempt_began,
                status=status,
                error=error,
                pause_s=pause_s,
            )
        )

    def closed(self) -> AsrError:
        """The error of a call whose client was closed meanwhile."""
        return self.error(_errors.Cancelled, "CANCELLED", "the client was closed")

    def error(
        self, kind: type[AsrError], status: str, words: str = "", code: str | None = None
    ) -> AsrError:
        """An error of this call."""
        return kind(
            status=status,
            server_message=words,
            code=code,
            attempts=self._earlier_attempts + self._attempts,
            elapsed_s=self._clock() - self._began,
            address=self._address,
            request_id=self.request_id,
        )
