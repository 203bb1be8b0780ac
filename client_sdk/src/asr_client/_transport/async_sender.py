"""Calls on their way to servers, for tasks of one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import grpc

from asr_client import _wire
from asr_client._transport import dns
from asr_client._transport.async_exchange import AsyncExchange, cancellations
from asr_client._transport.async_hedged import AsyncHedgedRequest
from asr_client._transport.attempt import AttemptFailed, OpenAttempt
from asr_client._transport.call import Call
from asr_client._transport.channels import Access
from asr_client._transport.dns import Name
from asr_client._transport.server import Choice
from asr_client._transport.servers import PROBE_TIMEOUT_S, TRIAL_TIMEOUT_S, Servers
from asr_client._types import Compression


class AsyncSender:
    """Sends a call's requests until it has an answer or its error.

    Args:
        servers: those of the client.
        access: the client's token and certificates.
        compression: of what is sent.
    """

    def __init__(
        self, servers: Servers, access: Access, compression: Compression | None = None
    ) -> None:
        self._servers = servers
        self._exchange = AsyncExchange(servers, access, compression)
        self.connections = self._exchange.connections
        self.pause = self._exchange.pause
        self._looking_up: dict[Name, asyncio.Task[None]] = {}
        self._look_up_words = ""
        self._background: set[asyncio.Task[Any]] = set()
        """What nobody awaits: a reference keeps it alive, and `close` ends it."""

    async def send(self, call: Call, method: str, request: Any) -> Any:
        """The response; raises the call's AsrError, or RuntimeError when it is closed."""
        cancellations_before = cancellations()
        try:
            with call.budget.in_flight():
                while True:
                    await self.find_servers(call)
                    try:
                        with call.attempt(await self._choose(call)) as attempt:
                            return await self._answer(call, attempt, method, request)
                    except asyncio.CancelledError:
                        # Closing the channel looks like a cancelled task, which this one is not.
                        if self.connections.closed and cancellations() == cancellations_before:
                            raise call.closed() from None
                        raise
                    await self.pause(call, attempt.pause_s)
        finally:
            await self._exchange.drop(self._servers.take_unused())

    async def _answer(self, call: Call, attempt: OpenAttempt, method: str, request: Any) -> Any:
        if method == "ModelInfer" and call.may_send_twice:
            return await AsyncHedgedRequest(self._exchange, call, request).run(attempt)
        return await self._exchange.run(call, attempt, method, request)

    async def close(self) -> None:
        """End all; may be called again, and leaves a parent's connections alone."""
        background = [] if self.connections.forked else list(self._background)
        for task in background:
            task.cancel()
        await self._exchange.close()
        await asyncio.gather(*background, return_exceptions=True)

    async def find_servers(self, call: Call) -> None:
        """Look up names when that is due, and wait only when there are no servers yet."""
        while True:
            for name in call.servers.names_to_look_up():
                self._exchange.check()
                self._looking_up[name] = self._start(self._look_up(name))
            if call.servers.addresses:
                return
            left_s = call.remaining_s()
            running = [task for task in self._looking_up.values() if not task.done()]
            if running:
                await asyncio.wait(running, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if not call.servers.addresses:
                with call.attempt() as attempt:
                    raise AttemptFailed(attempt, "UNAVAILABLE", self._look_up_words)
                await self.pause(call, attempt.pause_s)

    async def _look_up(self, name: Name) -> None:
        found, words = [], f"errors resolving {name}"
        try:
            loop = asyncio.get_running_loop()
            found = dns.addresses(await loop.getaddrinfo(name.host, name.port, type=dns.KIND))
        except (OSError, UnicodeError) as error:
            words += f": {error}"
        finally:
            self._look_up_words = words
            self._servers.looked_up(name, found)
        await self._exchange.drop(self._servers.take_unused())

    async def _choose(self, call: Call) -> Choice:
        """A server that may answer; asks and tries others in passing."""
        while True:
            choice = call.choose()
            chosen = False
            try:
                for address in choice.probes:
                    self._start(self._probe(call.servers, address, PROBE_TIMEOUT_S))
                for address in choice.trials:
                    self._start(self._try_out(call.servers, address))
                chosen = not choice.unproven or await self._is_proven(call, choice.address)
                if chosen:
                    return choice
            finally:
                if not chosen:
                    call.servers.release(choice)

    async def _is_proven(self, call: Call, address: str) -> bool:
        timeout_s = min(PROBE_TIMEOUT_S, call.remaining_s())
        ready = await self._probe(call.servers, address, timeout_s)
        await self.pause(call, 0)
        return ready

    async def _probe(self, servers: Servers, address: str, timeout_s: float) -> bool:
        """Ask a server whether the model is ready, and tell `servers`."""
        request = _wire.request("ModelReady", name=_wire.MODEL)
        ready = False
        # RuntimeError: closed. Nobody would look at it here, and the call itself says so too.
        with contextlib.suppress(grpc.RpcError, RuntimeError):
            answer = await self._exchange.ask(address, "ModelReady", request, timeout_s)
            ready = bool(answer.ready)
        servers.note_ready(address, ready=ready)
        return ready

    async def _try_out(self, servers: Servers, address: str) -> None:
        """Send a server that was silent a trial recording, and tell `servers` what came of it."""
        request = _wire.trial_request(TRIAL_TIMEOUT_S)
        failure = None
        try:
            await self._exchange.ask(address, "ModelInfer", request, TRIAL_TIMEOUT_S)
        except grpc.RpcError as error:
            failure = self._exchange.failure(error)
        except RuntimeError:
            # Closed: nobody wants to know any more.
            return
        servers.trial_ended(address, failure)

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task
