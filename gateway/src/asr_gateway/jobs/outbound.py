"""Requests to URLs that callers name: to public addresses alone, unless the operator says so."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

import httpx2

MAX_URL_CHARS = 2048
RESOLVERS = 4
"""Look-ups of names at once. A slow one holds up no other work of the gateway."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
"""All that IPv6 has given to the internet so far."""
_Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


class BadUrl(ValueError):
    """A URL that nobody can call; the message is a sentence's end, "it …"."""


class PrivateAddress(Exception):
    """A URL that leads to an address that is not public."""


class Unreachable(Exception):
    """No answer: no such name, no connection, or none in time; the message says which."""


def split(url: str) -> SplitResult:
    """The parts of a URL with http or https.

    Raises:
        BadUrl: it is something else.
    """
    if len(url) > MAX_URL_CHARS:
        raise BadUrl(f"it is longer than {MAX_URL_CHARS} characters")
    if not url.isascii() or any(char.isspace() or not char.isprintable() for char in url):
        raise BadUrl("it has characters that a URL must encode")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadUrl(f"it is not valid: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise BadUrl("it is no http:// or https:// URL with a host")
    if parts.username is not None or parts.password is not None:
        raise BadUrl("it has a user or a password")
    return parts


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet, also when IPv6 wraps an IPv4 address."""
    found: _Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None or found not in _UNICAST:
            return False
    return found.is_global and not found.is_multicast


class Outbound:
    """Calls URLs. It follows no redirect, uses no proxy, and connects to the address it checked.

    Args:
        allow_private: whether addresses that are not public may be called.
        timeout_s: bounds a connection, and each wait for a part of the answer, in seconds.
        tls: for https; None trusts the system's authorities.
    """

    def __init__(
        self, *, allow_private: bool, timeout_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._resolvers = ThreadPoolExecutor(RESOLVERS, "resolver")
        # One connection a call: the next call checks the name's addresses again.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._http = httpx2.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_s,
            limits=limits,
            verify=tls or ssl.create_default_context(),
        )

    async def check(self, url: str) -> None:
        """Refuse a URL that leads to a private address now; a name that has none passes.

        Raises:
            BadUrl, PrivateAddress: as their names say.
        """
        try:
            await self._addresses(split(url))
        except Unreachable:
            return

    @asynccontextmanager
    async def call(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes | None = None
    ) -> AsyncIterator[httpx2.Response]:
        """The answer's head; the body can be read inside the block.

        Raises:
            BadUrl, PrivateAddress, Unreachable: as their names say.
        """
        parts = split(url)
        answer = await self._first_answer(
            parts,
            await self._addresses(parts),
            method=method,
            url=httpx2.URL(url),
            headers={**headers, "host": parts.netloc},
            content=content,
        )
        try:
            yield answer
        except httpx2.HTTPError as error:
            raise Unreachable(_reason(error)) from error
        finally:
            await answer.aclose()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _first_answer(
        self,
        parts: SplitResult,
        addresses: list[str],
        *,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str],
        content: bytes | None,
    ) -> httpx2.Response:
        """The answer of the first address that takes a connection."""
        failed: httpx2.HTTPError | None = None
        for address in addresses:
            request = self._http.build_request(
                method,
                url.copy_with(host=address),
                headers=headers,
                content=content,
                # The certificate is the name's, not the address's.
                extensions={"sni_hostname": parts.hostname or ""},
            )
            try:
                return await self._http.send(request, stream=True)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failed = error
            except httpx2.HTTPError as error:
                raise Unreachable(_reason(error)) from error
        assert failed is not None
        raise Unreachable(_reason(failed)) from failed

    async def _addresses(self, parts: SplitResult) -> list[str]:
        """All addresses of a URL's host, each of them checked."""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        loop = asyncio.get_running_loop()

        def look_up() -> list[Any]:
            return socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)

        try:
            found = await asyncio.wait_for(
                loop.run_in_executor(self._resolvers, look_up), self._timeout_s
            )
        except (OSError, UnicodeError, asyncio.TimeoutError):
            raise Unreachable("its name has no address") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_private and not all(map(is_public, addresses)):
            raise PrivateAddress
        return addresses


def _reason(error: httpx2.HTTPError) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return "it did not answer in time"
    return f"it cannot be reached: {error}" if str(error) else "it cannot be reached"
