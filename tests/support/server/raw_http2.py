"""A gRPC call as bare HTTP/2 frames: it carries header names that no gRPC library would send."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 1, 4
_LITERAL, _INDEXED = b"\x00", b"\x40"
FIRST_INDEX = b"\xbe"
"""A header field that says: the newest entry of the table."""


def field(name: str, value: str, *, indexed: bool = False) -> bytes:
    """A header field, its name and value as they are.

    Args:
        name: of the header.
        value: of the header.
        indexed: whether the receiver puts it into its table, for later requests to refer to.
    """
    kind = _INDEXED if indexed else _LITERAL
    return kind + _text(name.encode()) + _text(value.encode())


def _text(data: bytes) -> bytes:
    """Its length as an integer with a prefix of 7 bits, and itself, without Huffman's code."""
    number = len(data)
    if number < 127:
        return bytes([number]) + data
    length, number = b"\x7f", number - 127
    while number >= 128:
        length, number = length + bytes([number % 128 + 128]), number // 128
    return length + bytes([number]) + data


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


def answer(host: str, port: int, method: str, requests: Sequence[bytes]) -> bytes:
    """All that the server sends over one connection for calls of a method with an empty message.

    Args:
        host: address of the server.
        port: of its gRPC.
        method: of inference.GRPCInferenceService.
        requests: more header fields for each call.
    """
    usual = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"/inference.GRPCInferenceService/{method}",
        ":authority": "raw",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    head = b"".join(field(name, value) for name, value in usual.items())
    received = b""
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b""))
        for number, more in enumerate(requests):
            stream = 2 * number + 1
            connection.sendall(_frame(_HEADERS, _END_HEADERS, stream, head + more))
            # The server may have ended the stream, and even the connection, over the headers.
            with contextlib.suppress(ConnectionError):
                connection.sendall(_frame(_DATA, _END_STREAM, stream, bytes(5)))
            while not _is_over(received, stream):
                try:
                    data = connection.recv(65536)
                except ConnectionError:
                    return received
                if not data:
                    return received
                received += data
    return received


def _is_over(received: bytes, stream: int) -> bool:
    """Whether the frames in `received` end the stream, or the connection."""
    at = 0
    while at + 9 <= len(received):
        length = int.from_bytes(received[at : at + 3], "big")
        kind, flags = received[at + 3], received[at + 4]
        number = int.from_bytes(received[at + 5 : at + 9], "big")
        at += 9 + length
        ends = kind == _RST_STREAM or (kind in (_DATA, _HEADERS) and flags & _END_STREAM)
        if at <= len(received) and (kind == _GOAWAY or (number == stream and ends)):
            return True
    return False
