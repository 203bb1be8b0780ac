"""What one call has spent of its retries. Neither sleeps nor sends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from asr_client import _errors
from asr_client._errors import AsrError
from asr_client._transport import statuses
from asr_client._transport.budget import RetryBudget
from asr_client._transport.retry import RetryPolicy, backoff_s, restart_backoff_s, should_retry


class Retries:
    """Counts the attempts of a call and decides about the next one.

    Args:
        policy: how the call is retried.
        budget: what all calls of the client share.
        clock: seconds that never go back.
        dice: an even draw from [0, 1).
    """

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        *,
        clock: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._budget = budget
        self._clock = clock
        self._dice = dice
        self.attempts = 0
        """All of them."""
        self._went_on = 0
        """Attempts that reached no server and went on to another one at once."""
        self._unreached = 0
        """Attempts that reached no server and waited for one to come back."""
        self._unreached_since_s: float | None = None
        self._counts: Counter[type[AsrError]] = Counter()

    @property
    def counted(self) -> int:
        """Attempts that may have reached a server."""
        return self.attempts - self._went_on - self._unreached

    def note(self, error: AsrError) -> None:
        """Note what an attempt ended with."""
        self._counts[type(error)] += 1

    def pause_s(self, error: AsrError, *, has_other: bool, left_s: Callable[[], float]) -> float:
        """Seconds to wait after a failed attempt; raises the error when that was the last one.

        Args:
            error: what the attempt ended with, noted already.
            has_other: whether a server that was not tried may take the request.
            left_s: the call's seconds; raises when there are none.
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
        if kind is _errors.EngineRestarting and not has_other:
            pause_s = restart_backoff_s(
                deaths=self._counts[kind],
                policy=self._policy,
                dice=self._dice(),
                left_s=left_s(),
            )
        elif not elsewhere:
            pause_s = self._backoff_s(attempts)
        pause_s = _in_time(error, pause_s, left_s())
        if not unsent and self._policy.budgeted and not self._budget.take():
            raise error
        return pause_s

    def _waits_for_a_server(self, error: AsrError) -> bool:
        """Say whether a call that reached no server goes on without counting the attempt."""
        if not statuses.may_come_back(error.status, error.server_message):
            self._unreached_since_s = None
            return False
        now = self._clock()
        if self._unreached_since_s is None:
            self._unreached_since_s = now
        waited_s = now - self._unreached_since_s
        return self._policy.max_attempts > 1 and waited_s < self._policy.reconnect_s

    def _backoff_s(self, attempts: int) -> float:
        return backoff_s(attempts=attempts, policy=self._policy, dice=self._dice())


def _in_time(error: AsrError, pause_s: float, left_s: float) -> float:
    """The pause; raises the error when it would outlast the call."""
    if pause_s >= left_s:
        raise error
    return pause_s
