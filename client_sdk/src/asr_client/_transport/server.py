"""What is known of one server, how that changes, and a choice of it. No lock, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from asr_client._transport.dns import Name
from asr_client._types import ServerHealth

FIRST_PROBE_S = 0.5
MAX_PROBE_S = 5.0
MAX_TRIAL_PAUSE_S = 30.0
SILENT_AFTER_S = 1.0
"""A server is not called silent before it has left requests unanswered for so long."""


class Health(Enum):
    """What is known of a server: the states of `ServerState`."""

    UP = "up"
    UNPROVEN = "unproven"
    SILENT = "silent"
    DOWN = "down"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Where a request goes."""

    address: str
    unproven: bool = False
    """The server must say that it is ready before it gets the request."""
    probes: tuple[str, ...] = ()
    """Servers to be asked in passing whether they are ready; nobody waits for them."""
    trials: tuple[str, ...] = ()
    """Servers to be sent a trial recording in passing; nobody waits for it."""
    answers: int = 0
    """How many recordings the server had answered before."""


@dataclass(kw_only=True, slots=True)
class Server:
    """One address, its health, and the requests that it has."""

    address: str
    name: Name | None
    next_probe_s: float
    health: Health = Health.UNPROVEN
    reason: str = ""
    probe_pause_s: float = FIRST_PROBE_S
    """Of a server that is down: the time to the next question."""
    silences: int = 0
    """How often it was silent, or failed a trial, since a call was answered there."""
    requests: int = 0
    """In flight."""
    answers: int = 0
    """How many recordings it has answered; the number orders answers and requests in time."""
    unanswered: int = 0
    """Recordings in flight that were sent after its last answer."""
    unanswered_since_s: float | None = None
    """When the first recording was sent that no answer has come after."""
    retired: bool = False

    @property
    def view(self) -> ServerHealth:
        """For the caller of the SDK."""
        return ServerHealth(address=self.address, state=self.health.value, reason=self.reason)

    def rank(self, tried: Sequence[str]) -> int:
        """Which servers are chosen first; below 2 are those that were not tried and may answer."""
        new = self.address not in tried
        if self.health is Health.DOWN:
            return 6 if new else 7
        if self.health is Health.SILENT:
            return 4 if new else 5
        if new:
            return 0 if self.health is Health.UP else 1
        return 2 if self.health is Health.UP else 3

    def answered(self) -> None:
        """A recording was answered."""
        self.proven()
        self.silences = 0

    def proven(self) -> None:
        """The model answered something, perhaps a trial."""
        self.answers += 1
        self.unanswered = 0
        self.unanswered_since_s = None
        self._up()

    def says_ready(self, now: float, *, ready: bool) -> None:
        """It was asked whether it is ready. That it is says nothing about recordings."""
        if ready:
            if self.health is not Health.SILENT:
                self._up()
            return
        if self.health is Health.DOWN:
            self.probe_pause_s = min(MAX_PROBE_S, 2 * self.probe_pause_s)
        self.down(now, "it says that it is not ready, or does not answer that question")

    def down(self, now: float, reason: str) -> None:
        """It takes no requests."""
        self.health = Health.DOWN
        self.reason = reason
        self.next_probe_s = now + self.probe_pause_s

    def silent(self, now: float, reason: str) -> None:
        """It does not answer recordings; each time that this is found it is left out longer."""
        pause_s = min(MAX_TRIAL_PAUSE_S, FIRST_PROBE_S * 2.0 ** min(self.silences, 16))
        self.silences += 1
        self.health = Health.SILENT
        self.reason = reason
        self.next_probe_s = now + pause_s

    def has_been_silent(self, now: float, answers: int) -> bool:
        """Say whether nothing was answered since a request that was sent at `answers`."""
        since_s = self.unanswered_since_s
        if since_s is None or answers != self.answers:
            return False
        return now - since_s >= SILENT_AFTER_S

    def _up(self) -> None:
        self.health = Health.UP
        self.reason = ""
        self.probe_pause_s = FIRST_PROBE_S
