"""Channels to servers, with the caller's token and certificates."""

from __future__ import annotations

import re
from typing import Any

import grpc

from asr_client import _wire
from asr_client._tls import TlsConfig, read_pem
from asr_client._transport.dns import Name
from asr_client._types import Compression

_COMPRESSIONS = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
_TOKEN = re.compile(r"[\x21-\x7e]+")


class Access:
    """A client's token and the contents of its certificates; opens its channels.

    Raises:
        ValueError: a token that no header can carry, or what is no PEM file.
        OSError: a file cannot be read.
    """

    def __init__(self, token: str | None, tls: TlsConfig | None) -> None:
        if token is not None and not (isinstance(token, str) and _TOKEN.fullmatch(token)):
            raise ValueError("token is not a string of visible ASCII characters without spaces")
        self.metadata = () if token is None else ((_wire.TOKEN_HEADER, token),)
        """What every call carries."""
        self._tls = tls
        self._pem = {} if tls is None else read_pem(tls)

    def __repr__(self) -> str:
        return "Access()"

    def channel(
        self,
        library: Any,
        address: str,
        name: Name | None = None,
        *,
        compression: Compression | None = None,
    ) -> Any:
        """A channel of `grpc` or of `grpc.aio` to an address, which a name may have led to."""
        authority = None if name is None else str(name)
        options: list[tuple[str, Any]] = [*_wire.channel_options(address, authority=authority)]
        kind = None if compression is None else _COMPRESSIONS[compression]
        if self._tls is None:
            return library.insecure_channel(address, options=options, compression=kind)
        if self._tls.server_name_override is not None:
            options.append(("grpc.ssl_target_name_override", self._tls.server_name_override))
        elif name is not None:
            # A certificate is for the name, not for the addresses behind it.
            options.append(("grpc.ssl_target_name_override", name.host))
        credentials = grpc.ssl_channel_credentials(
            root_certificates=self._pem["root_certificates"],
            private_key=self._pem["client_key"],
            certificate_chain=self._pem["client_certificate"],
        )
        return library.secure_channel(address, credentials, options=options, compression=kind)

    def failure(self, error: grpc.RpcError) -> tuple[str, str]:
        """A failed call's status and words.

        A server that refuses a handshake only closes the connection, which tells nobody why.
        """
        status, words = _wire.failure(error)
        if status != "UNAVAILABLE":
            return status, words
        closed = words.startswith(_NOT_CONNECTED) and words.endswith(_CLOSED)
        if closed and self._tls is None:
            words += " (does the server want TLS?)"
        elif closed:
            wanted = "another" if self._pem["client_key"] else "a"
            words += f" (does the server want {wanted} client certificate?)"
        elif self._pem.get("client_key") and words.endswith(_NO_HANDSHAKER):
            words += " (do client_certificate and client_key belong together?)"
        return status, words


_NOT_CONNECTED = "failed to connect"
_CLOSED = ("Socket closed", "Connection reset by peer", "Broken pipe")
# The second is what grpcio 1.67 says of the same.
_NO_HANDSHAKER = ("Failed to create security handshaker.", "empty address list: ")
