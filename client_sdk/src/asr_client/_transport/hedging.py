"""Hedged requests: when a second server gets what the first one has not answered. No I/O here.

That a recording takes long is no sign of a fault, so the first server goes on with it and the first
answer counts. The second one gets it when half of the call's time is over, or when the first one
proves to be silent: to other recordings meanwhile, or to the question whether it is alive. Where no
other server is to be had, one that gives no sign of life gets it again, by a new connection. It is
paid for as a retry.
"""

from __future__ import annotations

from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.call import Call

ASK_EVERY_S = 5.0
"""How often the server is asked whether it is alive while it has the request."""
ASK_TIMEOUT_S = 5.0
LOOK_AGAIN_S = 1.0
"""How soon a second server is looked for again when there was none, or no token for it."""


class Hedging:
    """One request at one server, and perhaps at a second one ("hedged", Dean and Barroso, 2013).

    Args:
        call: to which it belongs.
        first: the attempt that is under way.
    """

    def __init__(self, call: Call, first: OpenAttempt) -> None:
        self._call = call
        self._first = first
        self._second: OpenAttempt | None = None
        self._is_dead = False
        """Nothing comes from the first server by the connection that the request went by."""
        self._ask_at_s = first.began_s + ASK_EVERY_S
        self._second_at_s = first.began_s + first.timeout_s / 2

    def wait_s(self) -> float | None:
        """Seconds until there is something to do although nothing came; None is never."""
        if self._second is not None:
            return None
        return max(0.0, min(self._ask_at_s, self._second_at_s) - self._call.now())

    def must_ask(self) -> bool:
        """Say whether the first server is to be asked now whether it is alive."""
        now = self._call.now()
        if self._second is not None or now < self._ask_at_s:
            return False
        self._ask_at_s = now + ASK_EVERY_S
        return True

    def no_sign_of_life(self) -> None:
        """Note that the first server did not say that it is alive."""
        words = f"it did not say within {ASK_TIMEOUT_S:g} s that it is alive"
        self._call.unanswered(self._first, words)
        self._is_dead = True
        self._second_at_s = self._call.now()

    def second(self) -> OpenAttempt | None:
        """The attempt at a second server, which is to be sent now; None where there is none."""
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
        """Note that an attempt was answered, and that the other one is of no more use."""
        self._abandon_others(attempt)
        self._call.succeeded(attempt)

    def lost(self, failed: AttemptFailed) -> None:
        """Note that an attempt failed; raises AttemptFailed when there is no other to wait for."""
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
