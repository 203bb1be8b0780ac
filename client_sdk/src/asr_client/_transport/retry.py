"""The retry policy: whether a call tries again, and after which wait. Nothing here sleeps."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asr_client._errors import (
    AsrError,
    EngineRestarting,
    OutOfMemory,
    ServerBusy,
    ServerDraining,
    ServerUnavailable,
)
from asr_client._transport import statuses
from asr_client._transport.budget import RetryBudget

DEFAULT_MAX_ATTEMPTS = 5
DEFAULT_INITIAL_BACKOFF_S = 0.2
DEFAULT_MAX_BACKOFF_S = 5.0
DEFAULT_BACKOFF_MULTIPLIER = 2.0
DEFAULT_RECONNECT_S = 30.0
DEFAULT_RESTART_BACKOFF_S = 4.0
RESTART_MULTIPLIER = 3.0
"""The second wait for a restarting process, relative to the first."""

RETRIES_PER_CALL: Mapping[type[AsrError], float] = {
    ServerUnavailable: math.inf,
    ServerBusy: math.inf,
    ServerDraining: math.inf,
    OutOfMemory: 1,
    # A file that kills a process must not reach many more of them.
    EngineRestarting: 2,
}
"""How often a call may be sent again after each error; other errors are final."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryPolicy:
    """The retries of a call, within its timeout and the budget of the client.

    The wait before attempt n + 1 is drawn evenly from 0 to
    `min(max_backoff_s, initial_backoff_s * backoff_multiplier ** (n - 1))` ("full jitter").
    """

    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    """Maximum number of attempts; 1 switches retries off.

    Attempts that reach no server do not count for `reconnect_s` seconds, and never if another
    server is tried at once."""
    initial_backoff_s: float = DEFAULT_INITIAL_BACKOFF_S
    """Maximum wait before the second attempt."""
    max_backoff_s: float = DEFAULT_MAX_BACKOFF_S
    """Maximum wait before any attempt."""
    backoff_multiplier: float = DEFAULT_BACKOFF_MULTIPLIER
    """Growth of the maximum wait from one attempt to the next."""
    reconnect_s: float = DEFAULT_RECONNECT_S
    """Seconds for which a call continues although no server can be reached, within its timeout.

    A restarted server refuses connections until its models are loaded."""
    restart_backoff_s: float = DEFAULT_RESTART_BACKOFF_S
    """Maximum wait after a process of the only server died; the second wait is three times as long.

    The minimum is half of it: such a request is sent again at most twice, and the new process must
    be ready by then."""
    budgeted: bool = True
    """Whether a repeated request takes a token of the budget that all calls of the client share."""

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts is {self.max_attempts}, at least 1 is needed")
        for name in ("initial_backoff_s", "max_backoff_s", "reconnect_s", "restart_backoff_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, not a time of 0 s or more")
        if not 1 <= self.backoff_multiplier < math.inf:
            raise ValueError(f"backoff_multiplier is {self.backoff_multiplier}, not 1 or more")


def should_retry(error: AsrError, *, same_errors: int, attempts: int, policy: RetryPolicy) -> bool:
    """Whether a failed request may be sent again.

    Args:
        error: the error of the last attempt.
        same_errors: the number of attempts of this call with this class of error.
        attempts: the number of attempts so far.
        policy: the caller's policy.
    """
    return attempts < policy.max_attempts and same_errors <= RETRIES_PER_CALL.get(type(error), 0)


def backoff_s(*, attempts: int, policy: RetryPolicy, jitter: float) -> float:
    """Seconds to wait after `attempts` attempts; `jitter` is an even draw from [0, 1)."""
    # The exponent is bounded because a float overflows at 2.0 ** 1024.
    growth: float = policy.backoff_multiplier ** min(attempts - 1, 64)
    return jitter * min(policy.max_backoff_s, policy.initial_backoff_s * growth)


def restart_backoff_s(*, deaths: int, policy: RetryPolicy, jitter: float, left_s: float) -> float:
    """Seconds to wait until the server has replaced a process that died.

    Args:
        deaths: the number of attempts of this call that ended with a dead process.
        policy: the caller's policy.
        jitter: an even draw from [0, 1).
        left_s: the remaining time of the call. The wait is at most half of it: with little time
            an early attempt is better than none.
    """
    bound_s: float = policy.restart_backoff_s * RESTART_MULTIPLIER ** (deaths - 1)
    return min((0.5 + jitter / 2) * bound_s, left_s / 2)


class Retries:
    """Counts the attempts of a call and decides on the next one.

    Args:
        policy: the caller's policy.
        budget: the budget that all calls of the client share.
        clock: seconds that never go back.
        rng: an even draw from [0, 1).
    """

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        *,
        clock: Callable[[], float],
        rng: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._clock = clock
        self._rng = rng
        self.attempts = 0
        """All attempts."""
        self._went_on = 0
        """Attempts that reached no server, when another one was tried at once."""
        self._unreached = 0
        """Attempts that reached no server and were followed by a wait."""
        self._unreached_since_s: float | None = None
        self._counts: Counter[type[AsrError]] = Counter()

    @property
    def counted(self) -> int:
        """Attempts that may have reached a server."""
        return self.attempts - self._went_on - self._unreached

    def note(self, error: AsrError) -> None:
        """Note the error of an attempt."""
        self._counts[type(error)] += 1

    def pause_s(self, error: AsrError, *, has_other: bool, left_s: Callable[[], float]) -> float:
        """Seconds to wait after a failed attempt; raises the error when that was the last one.

        Args:
            error: the error of the attempt; `note` has it already.
            has_other: whether a server that was not tried may accept the request.
            left_s: the remaining seconds of the call; raises when none are left.
        """
        kind = type(error)
        elsewhere = has_other and kind in statuses.AT_ONCE_ELSEWHERE
        unsent = statuses.never_sent(error.status, error.server_message)
        if unsent and elsewhere:
            self._went_on += 1
            left_s()
            return 0.0
        if self._waits_for_a_server(error):
            self._unreached += 1
            return _in_time(error, self._backoff_s(self._unreached), left_s())
        attempts = self.counted + (self._unreached if unsent else 0)
        if not should_retry(
            error, same_errors=self._counts[kind], attempts=attempts, policy=self._policy
        ):
            raise error
        pause_s = 0.0
        if kind is EngineRestarting and not has_other:
            pause_s = restart_backoff_s(
                deaths=self._counts[kind],
                policy=self._policy,
                jitter=self._rng(),
                left_s=left_s(),
            )
        elif not elsewhere:
            pause_s = self._backoff_s(attempts)
        pause_s = _in_time(error, pause_s, left_s())
        if not unsent and self._policy.budgeted and not self._budget.take():
            raise error
        return pause_s

    def _waits_for_a_server(self, error: AsrError) -> bool:
        """Whether a call that reached no server continues without counting the attempt."""
        if not statuses.may_come_back(error.status, error.server_message):
            self._unreached_since_s = None
            return False
        now = self._clock()
        if self._unreached_since_s is None:
            self._unreached_since_s = now
        waited_s = now - self._unreached_since_s
        return self._policy.max_attempts > 1 and waited_s < self._policy.reconnect_s

    def _backoff_s(self, attempts: int) -> float:
        return backoff_s(attempts=attempts, policy=self._policy, jitter=self._rng())


def _in_time(error: AsrError, pause_s: float, left_s: float) -> float:
    """The pause; raises the error when the pause would end after the deadline."""
    if pause_s >= left_s:
        raise error
    return pause_s
