"""A call: its deadline, attempts and retries. Nothing here does I/O."""

from __future__ import annotations

import copy
import math
import random
import time
import uuid
from collections.abc import Callable, Sequence
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

MAX_ID_CHARS = 128


def check_timeout(timeout_s: float) -> None:
    """Raise ValueError for a time limit that is not positive or not finite."""
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s is {timeout_s}, not a time above 0 s")


def checked_id(request_id: str) -> str:
    """The id of a call, as given.

    Raises:
        ValueError: it is no line that a log can show.
    """
    if not 1 <= len(request_id) <= MAX_ID_CHARS or not request_id.isprintable():
        raise ValueError(
            f"request_id has to be 1 to {MAX_ID_CHARS} printable characters: {request_id[:40]!a}"
        )
    return request_id


class Call:
    """The state of one call.

    Args:
        address: the address in errors before a server is chosen.
        timeout_s: the time limit of the whole call, in seconds.
        policy: the retry policy.
        servers: those of the client; None means one server at `address`.
        budget: the retry budget of the client; None means a new one.
        watch: reports the attempts; None means only to the log.
        avoid: servers that count as tried already.
        request_id: its id in both sides' logs; None makes a new one.
        clock: seconds that never go back.
        rng: an even draw from [0, 1).
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
        avoid: Sequence[str] = (),
        request_id: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
    ) -> None:
        check_timeout(timeout_s)
        self.servers = servers or Servers([address])
        self.budget = budget or RetryBudget()
        self.watch = watch or Watch()
        self.request_id = uuid.uuid4().hex if request_id is None else checked_id(request_id)
        self._address = address
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._start = self._began = clock()
        self._timeout_s = timeout_s
        self._tried: list[str] = list(avoid)
        self._retries = self._new_retries()
        self._last: AsrError | None = None
        self._in_flight: list[OpenAttempt] = []
        self._earlier_attempts = 0
        self.yield_on_busy = False
        """Whether ServerBusy ends the call at once, so that `transcribe_many` slows down first."""
        self.cancellable = False
        """Whether another thread may cancel it."""
        self.cancelled = False
        self.rpcs: list[Any] = []
        """Its requests in gRPC, for `cancel`."""

    def again(self) -> Call:
        """The same call once more, after ServerBusy: it has all attempts of the policy again."""
        turn = copy.copy(self)
        turn._earlier_attempts += self._retries.attempts
        turn._retries = self._new_retries()
        turn._tried = []
        turn._in_flight = []
        turn.rpcs = []
        return turn

    def starts(self) -> None:
        """Start its time limit now: until now it waited for other calls, not for a server."""
        self._start = self._clock()

    @property
    def in_flight(self) -> tuple[OpenAttempt, ...]:
        """The attempts that have not ended."""
        return tuple(self._in_flight)

    @property
    def address(self) -> str:
        """The address of the last attempt."""
        return self._address

    def remaining_s(self) -> float:
        """Seconds left; raises DeadlineExceeded when none are left."""
        left = self._timeout_s - (self._clock() - self._start)
        if left <= 0:
            raise self.error(_errors.DeadlineExceeded, "DEADLINE_EXCEEDED") from self._last
        return left

    def remember(self, error: AsrError) -> None:
        """Make this the cause of a DeadlineExceeded that follows."""
        self._last = error

    def raise_last(self) -> None:
        """Raise the error of the last failed attempt, if there is one."""
        if self._last is not None:
            raise self._last

    def now(self) -> float:
        """The time of the call's clock."""
        return self._clock()

    def choose(self) -> Choice:
        """The server for the next attempt; `attempt` or `servers.release` gives it back."""
        choice = self.servers.choose(self._tried)
        self._address = choice.address
        return choice

    @property
    def may_send_twice(self) -> bool:
        """Whether a second server may get the request while the first one has it."""
        return self.servers.several and self._policy.max_attempts > 1

    def choose_second(self, again: str | None = None) -> Choice | None:
        """A second server for the request in flight; takes a token. None when there is none.

        Args:
            again: a server that may get the request again if there is no other.
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
            self._end(other, _errors.Cancelled, "CANCELLED", "the call has ended")
        return False

    def succeeded(self, attempt: OpenAttempt) -> None:
        """Note that an attempt has an answer."""
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
            Whether to wait for the other one. If not, the call fails with this attempt.
        """
        kind, _ = statuses.classify(failed.status, failed.words)
        if len(self._in_flight) < 2 or statuses.concerns_the_request(kind):
            return False
        error = self._note(failed)
        self._ended(failed.attempt, failed.status, error, 0.0)
        return True

    def _failed(self, failed: AttemptFailed) -> float:
        """Seconds to wait before the next attempt; raises the call's error when this was the last.

        A wait beyond the deadline does not begin: the error is raised at once. An attempt whose
        request cannot have reached the server does not count when another server is tried next.
        Every other attempt counts, and every repeated request takes a token of the budget.
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
        """Note what a failure shows about the server, and make it the last error of the call."""
        attempt, status, words = failed.attempt, failed.status, failed.words
        kind, code = statuses.classify(status, words)
        address = self._address = attempt.address
        if kind is _errors.DeadlineExceeded or statuses.expired_in_queue(status, words):
            waited_s = self._clock() - attempt.began_s
            self.unanswered(attempt, f"no answer within {waited_s:.1f} s")
        elif kind is _errors.EngineRestarting:
            # Triton reports this for each request to a process that died or hangs.
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
        """Note that the server of an attempt gave no answer in time."""
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
