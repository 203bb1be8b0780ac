"""What both clients do between the caller and gRPC. Nothing here does I/O."""

from __future__ import annotations

import copy
import math
import random
import time
import uuid
from collections.abc import Callable
from typing import Any

from asr_client import _errors
from asr_client._errors import AsrError
from asr_client._telemetry import Attempt, Watch
from asr_client._transport import statuses
from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.budget import RetryBudget
from asr_client._transport.retry import Retries, RetryPolicy
from asr_client._transport.server import Choice
from asr_client._transport.servers import Servers


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
        policy: RetryPolicy,
        servers: Servers | None = None,
        budget: RetryBudget | None = None,
        watch: Watch | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        check_timeout(timeout_s)
        self.servers = servers or Servers([address])
        self.budget = budget or RetryBudget()
        self.watch = watch or Watch()
        self.request_id = uuid.uuid4().hex
        self._address = address
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._start = self._began = clock()
        self._timeout_s = timeout_s
        self._tried: list[str] = []
        self._retries = self._new_retries()
        self._last: AsrError | None = None
        self._in_flight: list[OpenAttempt] = []
        self._earlier_attempts = 0
        self.yield_on_busy = False
        """Whether ServerBusy ends this turn at once: `transcribe_many` sends fewer, then again."""
        self.cancellable = False
        """Whether another thread may want to end it."""
        self.cancelled = False
        self.rpcs: list[Any] = []
        """What gRPC has in flight for it, for `cancel`."""

    def again(self) -> Call:
        """The next turn of a call that gave way: all of its attempts, the same request."""
        turn = copy.copy(self)
        turn._earlier_attempts += self._retries.attempts
        turn._retries = self._new_retries()
        turn._tried = []
        turn._in_flight = []
        turn.rpcs = []
        return turn

    def starts(self) -> None:
        """Let its time begin now: until now it waited for its turn, and for no server."""
        self._start = self._clock()

    @property
    def in_flight(self) -> tuple[OpenAttempt, ...]:
        """The attempts that have not ended."""
        return tuple(self._in_flight)

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

    def now(self) -> float:
        """The call's clock."""
        return self._clock()

    def choose(self) -> Choice:
        """The server for the next attempt; `attempt` or `servers.release` gives it back."""
        choice = self.servers.choose(self._tried)
        self._address = choice.address
        return choice

    @property
    def may_send_twice(self) -> bool:
        """Whether a second server may be sent the request while the first one has it."""
        return self.servers.several and self._policy.max_attempts > 1

    def choose_second(self, again: str | None = None) -> Choice | None:
        """A second server for what is under way, paid for as a retry; None when there is none.

        Args:
            again: a server that may get it once more where there is no other.
        """
        if self.cancelled or self._retries.counted >= self._policy.max_attempts:
            return None
        tried = [*self._tried, *(attempt.address for attempt in self._in_flight)]
        choice = self.servers.choose_second(tried, again)
        if choice is not None and self._policy.budgeted and not self.budget.take():
            self.servers.release(choice)
            return None
        return choice

    def attempt(self, choice: Choice | None = None) -> OpenAttempt:
        """Begin an attempt, which has all the time that is left.

        Args:
            choice: the server; the attempt gives the choice back when it ends. None when the call
                knows of no server yet.

        Raises:
            DeadlineExceeded: no time is left.
        """
        try:
            left_s = self.remaining_s()
        except AsrError:
            self._release(choice)
            raise
        if choice is not None:
            self._address = choice.address
        self._retries.attempts += 1
        number = self._earlier_attempts + self._retries.attempts
        attempt = OpenAttempt(
            number=number,
            address=self._address,
            choice=choice,
            began_s=self._clock(),
            timeout_s=left_s,
            span=self.watch.began(number, self._address),
            on_exit=self._leave,
        )
        self._in_flight.append(attempt)
        return attempt

    def _leave(self, attempt: OpenAttempt, error: BaseException | None) -> bool:
        if isinstance(error, AttemptFailed):
            attempt.pause_s = self._failed(error)
            return True
        if error is None and attempt in self._in_flight:
            self.succeeded(attempt)
        for other in self.in_flight:
            self._end(other, _errors.Cancelled, "CANCELLED", "nobody waits for it")
        return False

    def succeeded(self, attempt: OpenAttempt) -> None:
        """Note that an attempt was answered."""
        self._address = attempt.address
        self.servers.answered(self._address)
        self.budget.refill()
        self._ended(attempt, "OK")

    def outrun(self, attempt: OpenAttempt) -> None:
        """Note that another server answered before this one."""
        seconds = self._clock() - attempt.began_s
        words = f"another server answered first, this one had {seconds:.1f} s"
        self.unanswered(attempt, words)
        self._end(attempt, _errors.Cancelled, "CANCELLED", words)

    def dropped(self, failed: AttemptFailed) -> bool:
        """Note that an attempt failed while another one is in flight.

        Returns:
            Whether to wait for the other one. Otherwise the failure is that of the call.
        """
        kind, _ = statuses.classify(failed.status, failed.words)
        if len(self._in_flight) < 2 or statuses.concerns_the_request(kind):
            return False
        error = self._note(failed)
        self._ended(failed.attempt, failed.status, error, 0.0)
        return True

    def _failed(self, failed: AttemptFailed) -> float:
        """Seconds to wait before the next attempt; raises the call's error when this was the last.

        A wait that would outlast the deadline is not begun: the error comes at once. To go on to
        another server costs nothing when this one cannot have got the request; every other
        attempt counts, and sending a request again takes a token of the client's budget.
        """
        error = self._note(failed)
        pause_s = None
        try:
            if self.yield_on_busy and isinstance(error, _errors.ServerBusy):
                raise error
            pause_s = self._retries.pause_s(
                error, has_other=self.servers.has_other(self._tried), left_s=self.remaining_s
            )
        finally:
            self._ended(failed.attempt, failed.status, error, pause_s)
        return pause_s

    def _note(self, failed: AttemptFailed) -> AsrError:
        """Tell `servers` what a failure says of the server, and make it the call's last error."""
        attempt, status, words = failed.attempt, failed.status, failed.words
        kind, code = statuses.classify(status, words)
        address = self._address = attempt.address
        if kind is _errors.DeadlineExceeded or statuses.expired_in_queue(status, words):
            waited_s = self._clock() - attempt.began_s
            self.unanswered(attempt, f"no answer within {waited_s:.1f} s")
        elif kind is _errors.EngineRestarting:
            # Triton says so for a process that died or stands still, and then again and again.
            self.unanswered(attempt, f"{status}: {words}")
        elif statuses.answered_by_the_model(kind, code):
            self.servers.answered(address)
        else:
            self.servers.failed(address, kind, f"{status}: {words}")
        self._tried.append(address)
        error = self.error(kind, status, words, code)
        error.__cause__, self._last = self._last, error
        self._retries.note(error)
        return error

    def unanswered(self, attempt: OpenAttempt, reason: str) -> None:
        """Note that the server of an attempt gave no answer for as long as anybody waited."""
        if attempt.choice is not None:
            self.servers.unanswered(attempt.choice, reason)

    def _release(self, choice: Choice | None) -> None:
        if choice is not None:
            self.servers.release(choice)

    def _new_retries(self) -> Retries:
        return Retries(self._policy, self.budget, clock=self._clock, rng=self._rng)

    def _end(self, attempt: OpenAttempt, kind: type[AsrError], status: str, words: str) -> None:
        self._address = attempt.address
        self._ended(attempt, status, self.error(kind, status, words))

    def _ended(
        self,
        attempt: OpenAttempt,
        status: str,
        error: AsrError | None = None,
        pause_s: float | None = None,
    ) -> None:
        self._in_flight.remove(attempt)
        self._release(attempt.choice)
        record = Attempt(
            request_id=self.request_id,
            number=attempt.number,
            address=attempt.address,
            elapsed_s=self._clock() - attempt.began_s,
            status=status,
            error=error,
            pause_s=pause_s,
            left_out=self.servers.why_left_out(attempt.address),
        )
        self.watch.ended(record, attempt.span)

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
            attempts=self._earlier_attempts + self._retries.attempts,
            elapsed_s=self._clock() - self._began,
            address=self._address,
            request_id=self.request_id,
        )
