"""URLs that callers name: where they may lead, and that the checked address is the one called."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from asr_gateway.jobs.outbound import (
    BadUrl,
    Outbound,
    PrivateAddress,
    Unreachable,
    is_public,
    split,
)
from tests.support.gateway.receiver import Receiver, receiving

PUBLIC = ("93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
PRIVATE = (
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::127.0.0.1",
    "64:ff9b:1::127.0.0.1",
    "4000::1",
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let names resolve to these addresses, look-up by look-up; the last answer stays."""
    left = list(answers)

    def getaddrinfo(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def call(url: str, **settings: Any) -> int:
    async def status() -> int:
        outbound = Outbound(**{"allow_private": False, "timeout_s": 10.0, **settings})
        try:
            async with outbound.call("POST", url, headers={"x": "1"}, content=b"{}") as answer:
                return answer.status_code
        finally:
            await outbound.close()

    return asyncio.run(status())


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str):
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str):
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv6_address_is_what_it_wraps(inner: ipaddress.IPv4Address):
    mapped = f"::ffff:{inner}"
    nat64 = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(inner))
    six_to_four = ipaddress.IPv6Address((0x2002 << 112) | (int(inner) << 80))
    assert {is_public(str(a)) for a in (mapped, nat64, six_to_four)} == {is_public(str(inner))}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "http://",
        "http://user@example.com",
        "http://:secret@example.com",
        "http://example.com:0",
        "http://example.com:99999",
        "http://exa mple.com",
        "http://example.com/\n",
        "http://[::1",
        "http://bücher.example/",
        "http://example.com/" + "a" * 2048,
    ],
)
def test_urls_that_nobody_can_call(url: str):
    with pytest.raises(BadUrl):
        split(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://localhost/",
    ],
)
def test_private_addresses_are_refused_however_they_are_written(url: str):
    async def check() -> None:
        await Outbound(allow_private=False, timeout_s=10.0).check(url)

    with pytest.raises(PrivateAddress):
        asyncio.run(check())
    with pytest.raises(PrivateAddress):
        call(url)


def test_one_private_address_among_others_is_enough(monkeypatch: pytest.MonkeyPatch):
    resolve_to(monkeypatch, ["93.184.215.14", "127.0.0.1"])
    with pytest.raises(PrivateAddress):
        call("http://hooks.example/")


def test_a_name_that_turns_private_after_its_check(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
):
    resolve_to(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])

    async def check() -> None:
        await Outbound(allow_private=False, timeout_s=10.0).check(receiver.url(host="a.example"))

    asyncio.run(check())
    with pytest.raises(PrivateAddress):
        call(receiver.url(host="a.example"))
    assert receiver.requests == []


def test_the_checked_address_is_called_under_its_name(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
):
    # A second look-up would have no answer.
    resolve_to(monkeypatch, ["127.0.0.1"], [])
    url = receiver.url("/a?b=c", host="hooks.example")
    assert call(url, allow_private=True) == 204
    [request] = receiver.requests
    assert request.path == "/a?b=c"
    assert request.headers["host"] == f"hooks.example:{receiver.port}"


def test_the_next_address_is_called_where_one_takes_no_connection(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
):
    resolve_to(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    assert call(receiver.url(host="hooks.example"), allow_private=True) == 204
    assert len(receiver.requests) == 1


def test_a_redirect_is_not_followed(receiver: Receiver):
    receiver.answers = [302]
    receiver.headers = {"location": receiver.url("/other")}
    assert call(receiver.url(), allow_private=True) == 302
    assert len(receiver.requests) == 1


def test_a_proxy_of_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert call(receiver.url(), allow_private=True) == 204


def test_the_certificate_is_checked_against_the_name(monkeypatch: pytest.MonkeyPatch):
    resolve_to(monkeypatch, ["127.0.0.1"])
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hooks.example").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with receiving(server) as receiver:
        right = receiver.url(host="hooks.example", scheme="https")
        wrong = receiver.url(host="other.example", scheme="https")
        assert call(right, allow_private=True, tls=trusting) == 204
        with pytest.raises(Unreachable, match="cannot be reached"):
            call(wrong, allow_private=True, tls=trusting)
        with pytest.raises(Unreachable):
            call(right, allow_private=True)


def test_what_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int):
    with pytest.raises(Unreachable, match="cannot be reached"):
        call(f"http://127.0.0.1:{unused_tcp_port}/", allow_private=True)
    resolve_to(monkeypatch, [])
    with pytest.raises(Unreachable, match="no address"):
        call("http://hooks.example/")


def test_a_slow_look_up_holds_up_no_other_work(monkeypatch: pytest.MonkeyPatch):
    answered = threading.Event()

    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        answered.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def story() -> bool:
        outbound = Outbound(allow_private=False, timeout_s=60.0)
        # More than asyncio has threads of its own.
        checks = [asyncio.ensure_future(outbound.check("http://slow.example")) for _ in range(40)]
        await asyncio.sleep(0)
        try:
            return await asyncio.wait_for(asyncio.to_thread(lambda: True), 60)
        finally:
            answered.set()
            await asyncio.gather(*checks)
            await outbound.close()

    assert asyncio.run(story())
