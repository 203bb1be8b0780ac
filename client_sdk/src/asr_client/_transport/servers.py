"""Which server a call goes to. Nothing here opens, sends or waits.

Calls go round the servers that are UP. A server that loses a connection or is stopping is DOWN, and
one that leaves recordings unanswered is SILENT, whatever it says of itself. Both are left out. A
call then also asks the DOWN one, in passing, whether it is ready, and sends the SILENT one a short
trial recording: at first after half a second and then less and less often. Without calls nobody
asks anything.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence

from asr_client._errors import AsrError, ModelNotFound, ServerDraining, ServerUnavailable
from asr_client._transport.dns import Name, dns_name
from asr_client._transport.server import Choice, Health, Server
from asr_client._transport.statuses import answered_by_the_model, classify
from asr_client._types import ServerHealth

PROBE_TIMEOUT_S = 2.0
TRIAL_TIMEOUT_S = 10.0
"""Longer than a question's: a trial may wait in the server's queue, and nobody waits for it."""
LOOK_UP_S = 10.0
"""How old a name's addresses may become while calls are made."""
LOOK_UP_AFTER_FAILURE_S = 1.0

_TAKES_OUT = (ServerUnavailable, ServerDraining, ModelNotFound)
"""Exactly these: their subclasses come from a server that is there and will answer others."""


class Servers:
    """The servers of one client and what is known of them; safe to share by threads.

    Args:
        targets: HOST:PORT each, or `dns:///HOST:PORT` for all addresses of a name.
        clock: seconds that never go back.
        rng: an even draw from [0, 1); where the first round begins.
        on_change: told of each server that is left out or taken back, outside of all locks.
    """

    def __init__(
        self,
        targets: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: Callable[[], float] = random.random,
        on_change: Callable[[ServerHealth], None] = lambda _: None,
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._on_change = on_change
        self._servers: dict[str, Server] = {}
        self._retired: dict[str, Server] = {}
        self._unused: list[str] = []
        self._names: dict[Name, float] = {}
        for target in targets:
            name = dns_name(target)
            if name is None:
                self._servers[target] = self._new(target, None)
            else:
                self._names[name] = -LOOK_UP_S
        # Many short-lived clients must not all begin with the same server.
        self._turn = int(rng() * 2**16)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All servers, those first that are most likely to answer."""
        with self._lock:
            order = list(Health)
            return tuple(sorted(self._servers, key=lambda a: order.index(self._servers[a].health)))

    @property
    def views(self) -> tuple[ServerHealth, ...]:
        """What is known of each server, in the order in which they were given or found."""
        with self._lock:
            return tuple(server.view for server in self._servers.values())

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self._servers) > 1

    def health(self, address: str) -> Health:
        """What is known of a server."""
        return self._servers[address].health

    def why_left_out(self, address: str) -> str:
        """Why a server gets no calls for now; empty while it gets calls, or is none of these."""
        with self._lock:
            server = self._servers.get(address)
            return server.reason if server and server.view.left_out else ""

    def is_silent(self, address: str) -> bool:
        """Say whether a server is left out because it leaves recordings unanswered."""
        with self._lock:
            server = self._servers.get(address)
            return server is not None and server.health is Health.SILENT

    def name_of(self, address: str) -> Name | None:
        """The DNS name that led to this address."""
        with self._lock:
            server = self._found(address)
            return server.name if server else None

    def choose(self, tried: Sequence[str] = ()) -> Choice:
        """The server for a request that failed at the `tried` ones, the last of them last.

        Another server that is UP comes first, then one that may be, then those tried before, then
        those that are left out. Each choice is to be given back with `release`.

        Raises:
            LookupError: there are none, because a name has not been looked up.
        """
        with self._lock:
            if not self._servers:
                raise LookupError("no servers")
            return self._choose(list(self._servers.values()), tried)

    def choose_second(self, tried: Sequence[str], again: str | None = None) -> Choice | None:
        """A server that is UP and was not tried, else `again`; None when there is neither."""
        with self._lock:
            fit = [server for server in self._servers.values() if server.rank(tried) == 0]
            if not fit and again in self._servers:
                fit = [self._servers[again]]
            return self._choose(fit, tried) if fit else None

    def _choose(self, servers: list[Server], tried: Sequence[str]) -> Choice:
        turn = self._turn % len(servers)
        ranks = [server.rank(tried) for server in servers]
        peers = [s for s, rank in zip(servers, ranks, strict=True) if rank == min(ranks)]
        share = math.ceil((sum(server.requests for server in peers) + 1) / len(peers))
        best = min(
            range(len(servers)),
            key=lambda index: (
                ranks[index],
                servers[index].address in tried[-1:],
                # A server that answers nothing holds no more than its share of the calls. Fewest
                # calls in flight is no measure: it would draw all calls to one that fails fast.
                servers[index].unanswered >= share,
                (index - turn) % len(servers),
            ),
        )
        self._turn = best + 1
        chosen = servers[best]
        chosen.requests += 1
        chosen.unanswered += 1
        if chosen.unanswered_since_s is None:
            chosen.unanswered_since_s = self._clock()
        probes, trials = self._due(chosen)
        return Choice(
            address=chosen.address,
            unproven=len(self._servers) > 1 and chosen.health is Health.UNPROVEN,
            probes=probes,
            trials=trials,
            answers=chosen.answers,
        )

    def _due(self, chosen: Server) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The servers to be asked now, and those to be tried."""
        probes: list[str] = []
        trials: list[str] = []
        now = self._clock()
        if len(self._servers) > 1:
            for server in self._servers.values():
                if server.health is Health.UP or server.next_probe_s > now:
                    continue
                if server.health is Health.SILENT:
                    server.next_probe_s = now + TRIAL_TIMEOUT_S + PROBE_TIMEOUT_S
                    trials.append(server.address)
                    continue
                server.next_probe_s = now + max(PROBE_TIMEOUT_S, server.probe_pause_s)
                if server is not chosen:
                    probes.append(server.address)
        return tuple(probes), tuple(trials)

    def release(self, choice: Choice) -> None:
        """End what a choice began."""
        with self._lock:
            server = self._found(choice.address)
            if server is None:
                return
            server.requests -= 1
            if choice.answers == server.answers:
                server.unanswered -= 1
            if server.retired and not server.requests:
                del self._retired[choice.address]
                self._unused.append(choice.address)

    def take_unused(self) -> list[str]:
        """Addresses whose connections are of no more use; each is given to one caller."""
        with self._lock:
            unused, self._unused = self._unused, []
            # One of them may have come back meanwhile.
            return [address for address in unused if self._found(address) is None]

    def has_other(self, tried: Sequence[str]) -> bool:
        """Say whether a server that was not tried may take a request now."""
        with self._lock:
            return any(server.rank(tried) < 2 for server in self._servers.values())

    def answered(self, address: str) -> None:
        """Note that the model of a server answered a recording."""
        self._note(address, lambda server, now: server.answered())

    def note_ready(self, address: str, *, ready: bool) -> None:
        """Note what a server said about its being ready."""

        def note(server: Server, now: float) -> None:
            server.says_ready(now, ready=ready)

        self._note(address, note)

    def failed(self, address: str, kind: type[AsrError], reason: str = "") -> None:
        """Note what a request to a server ended with."""

        def note(server: Server, now: float) -> None:
            # Many calls may fail at once when a server dies; the first of them says it all.
            if kind in _TAKES_OUT and server.health is not Health.DOWN:
                server.down(now, reason)

        self._note(address, note)

    def unanswered(self, choice: Choice, reason: str) -> None:
        """Note that a server left a request unanswered for as long as anybody waited.

        It is left out unless it answered another recording meanwhile, or nobody waited long.
        """

        def note(server: Server, now: float) -> None:
            if server.health in (Health.UP, Health.UNPROVEN) and server.has_been_silent(
                now, choice.answers
            ):
                server.silent(now, reason)

        self._note(choice.address, note)

    def trial_ended(self, address: str, failure: tuple[str, str] | None) -> None:
        """Note how a trial recording ended: gRPC's status and words, or None for a transcript."""
        kind, code = classify(*failure) if failure else (None, None)

        def note(server: Server, now: float) -> None:
            if kind is None or answered_by_the_model(kind, code):
                server.proven()
            elif kind in _TAKES_OUT:
                server.down(now, ": ".join(failure or ()))
            elif server.health is Health.SILENT:
                server.silent(now, server.reason)

        self._note(address, note)

    def doubt(self, address: str) -> None:
        """Note that a server did not say in time whether it is ready; it is asked again."""

        def note(server: Server, now: float) -> None:
            if server.health is Health.UP:
                server.health = Health.UNPROVEN
                server.next_probe_s = now

        self._note(address, note)

    def _note(self, address: str, change: Callable[[Server, float], None]) -> None:
        with self._lock:
            server = self._servers.get(address)
            if server is None:
                return
            before, now = server.view, self._clock()
            change(server, now)
            after = server.view
            if server.health is Health.DOWN and server.name is not None:
                soon = now - LOOK_UP_S + LOOK_UP_AFTER_FAILURE_S
                self._names[server.name] = min(self._names[server.name], soon)
        if (before.left_out or after.left_out) and before.state != after.state:
            self._on_change(after)

    def _found(self, address: str) -> Server | None:
        return self._servers.get(address) or self._retired.get(address)

    def names_to_look_up(self) -> list[Name]:
        """Names whose addresses are missing or old; each is given to one caller at a time."""
        with self._lock:
            now = self._clock()
            old = [name for name, at_s in self._names.items() if now - at_s >= LOOK_UP_S]
            for name in old:
                self._names[name] = now
            return old

    def looked_up(self, name: Name, addresses: Sequence[str]) -> None:
        """Take a name's addresses. None mean that nothing could be learned, and change nothing."""
        with self._lock:
            if not addresses:
                wait_s = LOOK_UP_AFTER_FAILURE_S if self._servers else 0.0
                self._names[name] = self._clock() - LOOK_UP_S + wait_s
                return
            for address in addresses:
                if address not in self._servers:
                    known = self._retired.pop(address, None) or self._new(address, name)
                    known.retired = False
                    self._servers[address] = known
            for address, server in list(self._servers.items()):
                if server.name == name and address not in addresses:
                    del self._servers[address]
                    server.retired = True
                    # Requests in flight there may still be answered.
                    if server.requests:
                        self._retired[address] = server
                    else:
                        self._unused.append(address)

    def _new(self, address: str, name: Name | None) -> Server:
        return Server(address=address, name=name, next_probe_s=self._clock())
