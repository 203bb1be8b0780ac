"""Hedged requests: when a second server gets a recording that the first has not answered. No I/O.

A recording may take long without a fault. So the first server continues, and the first answer
counts. The second server gets the recording when half of the call's time is over, or earlier when
the first one proves to be silent: it answered no other recording, or not the request ServerLive.
If there is no other server, a server that does not answer ServerLive gets the recording again over
a new connection. The second attempt takes a token of the retry budget.
"""

from __future__ import annotations

from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.call import Call

ASK_EVERY_S = 5.0
"""Time between two ServerLive requests to the server that has the recording."""
ASK_TIMEOUT_S = 5.0
LOOK_AGAIN_S = 1.0
"""Time until the next search for a second server, if there was none, or no token for it."""


class Hedging:
    """One request at one server, and perhaps at a second one (Dean and Barroso, 2013).

    Args:
        call: the call of the request.
        first: its attempt in flight.
    """

    def __init__(self, call: Call, first: OpenAttempt) -> None:
        self._call = call
        self._first = first
        self._second: OpenAttempt | None = None
        self._is_dead = False
        """Nothing comes over the connection of the first attempt."""
        self._ask_at_s = first.began_s + ASK_EVERY_S
        self._second_at_s = first.began_s + first.timeout_s / 2

    def wait_s(self) -> float | None:
        """Seconds until the next step if no attempt ends before; None means no step."""
        if self._second is not None:
            return None
        return max(0.0, min(self._ask_at_s, self._second_at_s) - self._call.now())

    def must_ask(self) -> bool:
        """Whether to ask the first server now whether it is alive."""
        now = self._call.now()
        if self._second is not None or now < self._ask_at_s:
            return False
        self._ask_at_s = now + ASK_EVERY_S
        return True

    def no_sign_of_life(self) -> None:
        """Note that the first server did not answer ServerLive."""
        words = f"no answer to ServerLive within {ASK_TIMEOUT_S:g} s"
        self._call.unanswered(self._first, words)
        self._is_dead = True
        self._second_at_s = self._call.now()

    def second(self) -> OpenAttempt | None:
        """A new attempt at a second server, to be sent now; None when there is none."""
        now = self._call.now()
        if self._second is not None:
            return None
        silent = self._call.servers.is_silent(self._first.address)
        if now < self._second_at_s and not silent:
            return None
        again = self._first.address if self._is_dead else None
        choice = self._call.choose_second(again)
        if choice is None:
            self._second_at_s = now + LOOK_AGAIN_S
            return None
        self._second = self._call.attempt(choice)
        return self._second

    def won(self, attempt: OpenAttempt) -> None:
        """Note that an attempt has an answer, and abandon the other one."""
        self._abandon_others(attempt)
        self._call.succeeded(attempt)

    def lost(self, failed: AttemptFailed) -> None:
        """Note that an attempt failed; raises its AttemptFailed when no other is in flight."""
        if not self._call.dropped(failed):
            self._abandon_others(failed.attempt)
            raise failed
        if failed.attempt is self._second:
            self._second = None
            self._second_at_s = self._call.now() + LOOK_AGAIN_S

    def _abandon_others(self, attempt: OpenAttempt) -> None:
        for other in self._call.in_flight:
            if other is not attempt:
                self._call.outrun(other)
