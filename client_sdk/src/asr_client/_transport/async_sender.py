"""Requests on their way to servers, for tasks of one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import grpc

from asr_client import _wire
from asr_client._transport import dns
from asr_client._transport.async_hedged import AsyncHedgedRequest
from asr_client._transport.call import Call
from asr_client._transport.channels import Access
from asr_client._transport.connections import Connection, Connections
from asr_client._transport.dns import Name
from asr_client._transport.sending import AttemptFailed, Sending
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
        self._access = access
        self.connections = Connections(
            lambda address: access.channel(
                grpc.aio, address, servers.name_of(address), compression=compression
            ),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._looking_up: dict[Name, asyncio.Task[None]] = {}
        self._look_up_words = ""
        self._aside: set[asyncio.Task[Any]] = set()
        """What nobody awaits: a reference keeps it alive, and `close` ends it."""

    async def send(self, call: Call, method: str, request: Any) -> Any:
        """The response; raises the call's AsrError, or RuntimeError when it is closed."""
        call.budget.begin()
        cancellations = _cancellations()
        try:
            while True:
                await self.find_servers(call)
                try:
                    return await self._attempt(call, method, request)
                except AttemptFailed as failed:
                    # A request that fails as its task is cancelled has this error, not that one.
                    if _cancellations() > cancellations:
                        raise asyncio.CancelledError from None
                    pause_s = call.failed(failed.sending, failed.status, failed.words)
                except asyncio.CancelledError:
                    # Closing the channel looks like a cancelled task, though nobody cancelled this.
                    if self.connections.closed and _cancellations() == cancellations:
                        raise call.closed() from None
                    raise
                await self.pause(call, pause_s)
        finally:
            call.abandon_attempts()
            call.budget.end()

    async def pause(self, call: Call, pause_s: float) -> None:
        """Wait; raises Cancelled when the client is closed meanwhile."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closing.wait(), pause_s)
        # Asked again: with no time to wait at all, `wait_for` does not even look.
        if self._closing.is_set():
            raise call.closed()

    async def close(self) -> None:
        """End all; may be called again, and leaves a parent's connections alone."""
        if self.connections.forked:
            self.connections.closed = True
            return
        channels = self.connections.close()
        self._closing.set()
        aside = list(self._aside)
        for task in aside:
            task.cancel()
        for channel in channels:
            await channel.close()
        await asyncio.gather(*aside, return_exceptions=True)

    async def find_servers(self, call: Call) -> None:
        """Look up names when that is due, and wait only when there are no servers yet."""
        while True:
            for name in call.servers.names_to_look_up():
                self._check()
                self._looking_up[name] = self._start(self._look_up(name))
            if call.servers.addresses:
                return
            left_s = call.remaining_s()
            running = [task for task in self._looking_up.values() if not task.done()]
            if running:
                await asyncio.wait(running, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if not call.servers.addresses:
                pause_s = call.failed(call.attempt(), "UNAVAILABLE", self._look_up_words)
                await self.pause(call, pause_s)

    async def _look_up(self, name: Name) -> None:
        found, words = [], f"errors resolving {name}"
        try:
            loop = asyncio.get_running_loop()
            found = dns.addresses(await loop.getaddrinfo(name.host, name.port, type=dns.KIND))
        except (OSError, UnicodeError) as error:
            words += f": {error}"
        finally:
            self._look_up_words = words
            useless = self._servers.looked_up(name, found)
        for address in useless:
            await self._let_go(address)

    async def _attempt(self, call: Call, method: str, request: Any) -> Any:
        sending = await self._begin(call)
        if method == "ModelInfer" and call.may_send_twice:
            return await AsyncHedgedRequest(self, call, request).run(sending)
        try:
            response = await self.exchange(call, sending, method, request)
        finally:
            await self.release(call, sending.choice)
        call.succeeded(sending)
        return response

    async def _begin(self, call: Call) -> Sending:
        """Choose a server that may answer, and begin an attempt there."""
        while True:
            choice = call.choose()
            sending = None
            try:
                for address in choice.probes:
                    self._start(self._probe(call.servers, address, PROBE_TIMEOUT_S))
                for address in choice.trials:
                    self._start(self._try_out(call.servers, address))
                ready = True
                if choice.unproven:
                    timeout_s = min(PROBE_TIMEOUT_S, call.remaining_s())
                    ready = await self._probe(call.servers, choice.address, timeout_s)
                    await self.pause(call, 0)
                if ready:
                    sending = call.attempt(choice)
                    return sending
            finally:
                if sending is None:
                    await self.release(call, choice)

    async def exchange(self, call: Call, sending: Sending, method: str, request: Any) -> Any:
        """The response of one attempt; raises AttemptFailed."""
        if method == "ModelInfer":
            _wire.set_timeout(request, sending.timeout_s)
        self._check()
        connection = sending.connection = self.connections.begin(sending.choice.address)
        headers = call.watch.headers(sending.span)
        try:
            return await self._by(connection, method, request, sending.timeout_s, headers)
        except grpc.RpcError as error:
            raise AttemptFailed(sending, *self._access.failure(error)) from None

    async def ask(
        self,
        address: str,
        method: str,
        request: Any,
        timeout_s: float,
        connection: Connection | None = None,
    ) -> Any:
        """The answer to a question, by that connection; raises gRPC's error."""
        self._check()
        connection = self.connections.begin(address, connection)
        return await self._by(connection, method, request, timeout_s)

    async def _by(
        self,
        connection: Connection,
        method: str,
        request: Any,
        timeout_s: float,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Any:
        heard = None
        try:
            send = getattr(connection.stub, method)
            metadata = (*self._access.metadata, *headers)
            response = await send(request, timeout=timeout_s, metadata=metadata)
            heard = True
            return response
        except grpc.RpcError as error:
            heard = error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        finally:
            useless = self.connections.end(connection, heard=heard)
            if useless is not None:
                await useless.close()

    async def _probe(self, servers: Servers, address: str, timeout_s: float) -> bool:
        """Ask a server whether the model is ready, and tell `servers`."""
        request = _wire.request("ModelReady", name=_wire.MODEL)
        ready = False
        # RuntimeError: closed. Nobody would look at it here, and the call itself says so too.
        with contextlib.suppress(grpc.RpcError, RuntimeError):
            answer = await self.ask(address, "ModelReady", request, timeout_s)
            ready = bool(answer.ready)
        servers.said(address, ready=ready)
        return ready

    async def _try_out(self, servers: Servers, address: str) -> None:
        """Send a server that was silent a trial recording, and tell `servers` what came of it."""
        request = _wire.trial_request(TRIAL_TIMEOUT_S)
        failure = None
        try:
            await self.ask(address, "ModelInfer", request, TRIAL_TIMEOUT_S)
        except grpc.RpcError as error:
            failure = self._access.failure(error)
        except RuntimeError:
            # Closed: nobody wants to know any more.
            return
        servers.trial_ended(address, failure)

    async def release(self, call: Call, choice: Choice) -> None:
        """Give back a choice of the call."""
        if call.servers.release(choice):
            await self._let_go(choice.address)

    def _check(self) -> None:
        self.connections.check()
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise RuntimeError("an AsyncClient belongs to the event loop that first used it")

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.ensure_future(work)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)
        return task

    async def _let_go(self, address: str) -> None:
        channel = self.connections.drop(address)
        if channel is not None:
            await channel.close()


def _cancellations() -> int:
    """How often this task was cancelled; one may go on, to clean up, and be cancelled again."""
    task = asyncio.current_task()
    # Python 3.10 cannot tell.
    return 0 if task is None else int(getattr(task, "cancelling", int)())
