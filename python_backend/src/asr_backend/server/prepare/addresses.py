"""The addresses a server listens on, in the notation that each program expects."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket

from asr_backend.server.errors import StartError
from asr_backend.server.settings import Settings


def resolved(settings: Settings) -> Settings:
    """The settings with `host` and `admin_host` as numeric addresses.

    Triton's HTTP and metrics take no names: they would listen on 255.255.255.255.

    Raises:
        StartError: if one is neither an address nor a host name.
    """
    return dataclasses.replace(
        settings,
        host=_numeric(settings.host, "--host"),
        admin_host=_numeric(settings.admin_host, "--admin-host"),
    )


def _numeric(host: str, flag: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise StartError(
            f"{flag} {host}: neither an IPv4 or IPv6 address (without brackets) nor a name of one"
        ) from None
    # Of a name with both kinds, take the IPv4 address: every client reaches it.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    address = ipaddress.ip_address(found[0][4][0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_link_local:
            raise StartError(f"{flag} {host}: a link-local address, which Triton does not support")
        return str(address.ipv4_mapped or address)
    return str(address)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches a numeric address."""
    return ipaddress.ip_address(address).is_loopback


def reachable(address: str) -> str:
    """The address by which this machine reaches what listens on `address`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)


def family(address: str) -> socket.AddressFamily:
    """Of a socket for a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bracketed(address: str) -> str:
    """In the notation of URLs and gRPC: an IPv6 address in brackets, so that a port may follow."""
    return f"[{address}]" if ":" in address else address


def for_triton_http(address: str) -> str:
    """In the notation of Triton's HTTP and metrics, whose library takes anything else for IPv4."""
    return f"ipv6:{address}" if ":" in address else address
