"""Which server a call goes to. Nothing here opens, sends or waits.

A server is UP, DOWN, or UNPROVEN: nothing is known of it yet, or a call to it ran into its
deadline. Calls go round the servers that are UP. One that loses a connection or is stopping is DOWN
and left out; whoever makes a call then also asks it, in passing, whether it is ready again, at
first after half a second and then less and less often. Without calls nobody asks anything.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from asr_client._errors import AsrError, ModelNotFound, ServerDraining, ServerUnavailable

PROBE_TIMEOUT_S = 2.0
FIRST_PROBE_S = 0.5
MAX_PROBE_S = 5.0
LOOK_UP_S = 10.0
"""How old a name's addresses may become while calls are made."""
LOOK_UP_AFTER_FAILURE_S = 1.0

_DNS = "dns:///"

_TAKES_OUT = (ServerUnavailable, ServerDraining, ModelNotFound)
"""Exactly these: their subclasses come from a server that is there and will answer others."""


class Health(Enum):
    """What is known of a server."""

    UP = "up"
    UNPROVEN = "unproven"
    DOWN = "down"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Where a request goes."""

    address: str
    unproven: bool
    """The server must say that it is ready before it gets the request."""
    probes: tuple[str, ...]
    """Servers to be asked in passing whether they are ready; nobody waits for them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Name:
    """A DNS name that stands for servers."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(kw_only=True, slots=True)
class _Server:
    address: str
    name: Name | None
    health: Health
    next_probe_s: float
    probe_pause_s: float = FIRST_PROBE_S
    requests: int = 0
    retired: bool = False


class Servers:
    """The servers of one client and what is known of them; safe to share by threads.

    Args:
        targets: HOST:PORT each, or `dns:///HOST:PORT` for all addresses of a name.
        clock: seconds that never go back.
        dice: an even draw from [0, 1); where the first round begins.
    """

    def __init__(
        self,
        targets: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._servers: dict[str, _Server] = {}
        self._retired: dict[str, _Server] = {}
        self._names: dict[Name, float] = {}
        for target in targets:
            name = dns_name(target)
            if name is None:
                self._servers[target] = self._new(target, None)
            else:
                self._names[name] = -LOOK_UP_S
        # Many short-lived clients must not all begin with the same server.
        self._turn = int(dice() * 2**16)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All servers, those first that are most likely to answer."""
        with self._lock:
            order = list(Health)
            return tuple(sorted(self._servers, key=lambda a: order.index(self._servers[a].health)))

    def health(self, address: str) -> Health:
        """What is known of a server."""
        return self._servers[address].health

    def name_of(self, address: str) -> Name | None:
        """The DNS name that led to this address."""
        with self._lock:
            server = self._servers.get(address) or self._retired.get(address)
            return server.name if server else None

    def choose(self, tried: Sequence[str] = ()) -> Choice:
        """The server for a request that failed at the `tried` ones, the last of them last.

        Another server that is UP comes first, then one that may be, then those tried before, then
        those that are DOWN. Each choice is to be given back with `release`.

        Raises:
            LookupError: there are none, because a name has not been looked up.
        """
        with self._lock:
            if not self._servers:
                raise LookupError("no servers")
            now = self._clock()
            servers = list(self._servers.values())
            turn = self._turn % len(servers)
            best = min(
                range(len(servers)),
                key=lambda index: (
                    _rank(servers[index], tried),
                    servers[index].address in tried[-1:],
                    (index - turn) % len(servers),
                ),
            )
            self._turn = best + 1
            chosen = servers[best]
            chosen.requests += 1
            probes = []
            if len(servers) > 1:
                for server in servers:
                    if server.health is not Health.UP and server.next_probe_s <= now:
                        server.next_probe_s = now + max(PROBE_TIMEOUT_S, server.probe_pause_s)
                        if server is not chosen:
                            probes.append(server.address)
            return Choice(
                address=chosen.address,
                unproven=len(servers) > 1 and chosen.health is Health.UNPROVEN,
                probes=tuple(probes),
            )

    def release(self, address: str) -> bool:
        """End what `choose` began; True when the connection is of no more use."""
        with self._lock:
            server = self._servers.get(address) or self._retired.get(address)
            if server is None:
                return False
            server.requests -= 1
            if not server.retired or server.requests:
                return False
            del self._retired[address]
            return True

    def has_other(self, tried: Sequence[str]) -> bool:
        """Say whether a server that was not tried may take a request now."""
        with self._lock:
            return any(_rank(server, tried) < 2 for server in self._servers.values())

    def answered(self, address: str, *, ready: bool = True) -> None:
        """Note that a server took a request, or said whether it is ready."""
        with self._lock:
            server = self._servers.get(address)
            if server is None:
                return
            if ready:
                server.health = Health.UP
                server.probe_pause_s = FIRST_PROBE_S
                return
            if server.health is Health.DOWN:
                server.probe_pause_s = min(MAX_PROBE_S, 2 * server.probe_pause_s)
            self._take_out(server)

    def failed(self, address: str, kind: type[AsrError]) -> None:
        """Note what a request to a server ended with."""
        with self._lock:
            server = self._servers.get(address)
            # Many calls may fail at once when a server dies; the first of them says it all.
            if server is not None and kind in _TAKES_OUT and server.health is not Health.DOWN:
                self._take_out(server)

    def doubt(self, address: str) -> None:
        """Note that a request ran into its deadline: the server may be busy, or gone silently."""
        with self._lock:
            server = self._servers.get(address)
            if server is not None and server.health is Health.UP:
                server.health = Health.UNPROVEN
                server.next_probe_s = self._clock()

    def names_to_look_up(self) -> list[Name]:
        """Names whose addresses are missing or old; each is given to one caller at a time."""
        with self._lock:
            now = self._clock()
            old = [name for name, at_s in self._names.items() if now - at_s >= LOOK_UP_S]
            for name in old:
                self._names[name] = now
            return old

    def looked_up(self, name: Name, addresses: Sequence[str]) -> list[str]:
        """Take a name's addresses; returns those whose connections are of no more use.

        No addresses mean that nothing could be learned, and change nothing.
        """
        with self._lock:
            if not addresses:
                wait_s = LOOK_UP_AFTER_FAILURE_S if self._servers else 0.0
                self._names[name] = self._clock() - LOOK_UP_S + wait_s
                return []
            for address in addresses:
                if address not in self._servers:
                    known = self._retired.pop(address, None) or self._new(address, name)
                    known.retired = False
                    self._servers[address] = known
            useless = []
            for address, server in list(self._servers.items()):
                if server.name == name and address not in addresses:
                    del self._servers[address]
                    server.retired = True
                    # Requests in flight there may still be answered.
                    if server.requests:
                        self._retired[address] = server
                    else:
                        useless.append(address)
            return useless

    def _new(self, address: str, name: Name | None) -> _Server:
        return _Server(
            address=address, name=name, health=Health.UNPROVEN, next_probe_s=self._clock()
        )

    def _take_out(self, server: _Server) -> None:
        now = self._clock()
        server.health = Health.DOWN
        server.next_probe_s = now + server.probe_pause_s
        if server.name is not None:
            soon = now - LOOK_UP_S + LOOK_UP_AFTER_FAILURE_S
            self._names[server.name] = min(self._names[server.name], soon)


def dns_name(target: str) -> Name | None:
    """The name in `dns:///HOST:PORT`; None for all other targets, which are gRPC's business."""
    if not target.startswith(_DNS):
        return None
    host, _, port = target[len(_DNS) :].rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        return None
    return Name(host=host.strip("[]"), port=int(port))


def _rank(server: _Server, tried: Sequence[str]) -> int:
    new = server.address not in tried
    if server.health is Health.DOWN:
        return 4 if new else 5
    if new:
        return 0 if server.health is Health.UP else 1
    return 2 if server.health is Health.UP else 3
