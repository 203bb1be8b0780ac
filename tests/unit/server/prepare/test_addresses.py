from __future__ import annotations

import socket

import pytest

from asr_backend.server.errors import StartError
from asr_backend.server.prepare import addresses
from asr_backend.server.prepare.addresses import resolved
from asr_backend.server.settings import Settings


@pytest.mark.parametrize(
    ("given", "numeric"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("0:0::1", "::1"),
        ("::", "::"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_an_address_is_written_in_one_way(given: str, numeric: str) -> None:
    found = resolved(Settings(host=given, admin_host=given))
    assert (found.host, found.admin_host) == (numeric, numeric)


def test_a_name_stands_for_its_ipv4_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple]:
        assert host == "both.test"
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert resolved(Settings(host="both.test", admin_host="both.test")).host == "192.0.2.7"


@pytest.mark.parametrize("wrong", ["not-a.name.invalid", "[::1]", "1.2.3.4.5", "", "a" * 70])
def test_what_is_no_address_is_one_line(wrong: str) -> None:
    for flag, settings in (
        ("--host", Settings(host=wrong)),
        ("--admin-host", Settings(admin_host=wrong)),
    ):
        with pytest.raises(StartError) as caught:
            resolved(settings)
        assert str(caught.value).startswith(f"{flag} {wrong}: neither an IPv4 or IPv6 address")


def test_a_link_local_address_is_refused() -> None:
    with pytest.raises(StartError, match="--host fe80::1%lo: a link-local address"):
        resolved(Settings(host="fe80::1%lo"))


def test_what_only_this_machine_reaches() -> None:
    assert all(map(addresses.is_loopback, ("127.0.0.1", "127.8.8.8", "::1")))
    assert not any(map(addresses.is_loopback, ("0.0.0.0", "::", "192.0.2.7", "2001:db8::1")))


def test_each_program_has_its_own_way_to_write_an_address() -> None:
    assert addresses.bracketed("127.0.0.1") == addresses.for_triton_http("127.0.0.1") == "127.0.0.1"
    assert addresses.bracketed("::1") == "[::1]"
    assert addresses.for_triton_http("::1") == "ipv6:::1"
    assert addresses.reachable("0.0.0.0") == "127.0.0.1"
    assert addresses.reachable("::") == addresses.reachable("::1") == "::1"
