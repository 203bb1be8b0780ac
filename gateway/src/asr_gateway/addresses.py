"""Whether a request without a key may be served: it must not come by way of another site."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from asr_gateway.console import StartError
from asr_gateway.errors import ApiError


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address that `--host` names.

    Raises:
        StartError: neither an address nor a name of one.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise StartError(f"--host {host}: neither an address nor a name of one") from None
    return all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)


def check(headers: Mapping[str, str], allowed_origins: Collection[str] = ()) -> None:
    """Refuse a request that a web page of another site may have caused.

    A page can point a name of its own at 127.0.0.1 ("DNS rebinding"), which the header Host shows,
    or post a form to this address, which the header Origin shows.

    Args:
        headers: of the request, names in lower case.
        allowed_origins: other sites whose pages may call.

    Raises:
        ApiError: 403.
    """
    host = headers.get("host", "")
    if not _is_loopback_name(_split(host)[0]):
        raise _refused(f"The header Host is {host!r}, which is no name of this machine.")
    origin = headers.get("origin")
    if origin in allowed_origins:
        return
    if origin is not None and _site(origin) != host.lower():
        raise _refused(f"The header Origin is {origin!r}, another site than {host!r}.")


def _refused(reason: str) -> ApiError:
    return ApiError(
        403,
        f"{reason} A gateway without keys serves its own machine alone.",
        code="foreign_site",
    )


def _site(origin: str) -> str | None:
    """Host and port of an Origin header; None where it is not valid."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _split(host: str) -> tuple[str, str]:
    """Name and port of a Host header; the name of an IPv6 address without brackets."""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name, port.removeprefix(":")
    name, _, port = host.partition(":")
    return name, port


def _is_loopback_name(name: str) -> bool:
    name = name.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
