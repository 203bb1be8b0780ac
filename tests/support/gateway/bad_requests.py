"""Random requests that no caller should send."""

from __future__ import annotations

import random
from collections.abc import Callable

PATHS = (b"/v1/audio/transcriptions", b"/v1/jobs")
NAMES = (
    b"file",
    b"model",
    b"language",
    b"prompt",
    b"stream",
    b"keywords[]",
    b"temperature",
    b"url",
    b"webhook_url",
    b"\xff",
    b"",
)


def bad_request(dice: random.Random) -> bytes:
    """The bytes of one request, or of a part of one."""
    data = dice.choice(_KINDS)(dice)
    if dice.random() < 0.2:
        data = data[: dice.randrange(len(data) + 1)]
    if dice.random() < 0.2:
        damaged = bytearray(data)
        for _ in range(dice.randrange(1, 8)):
            if damaged:
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        data = bytes(damaged)
    return data


def _noise(dice: random.Random) -> bytes:
    return dice.randbytes(dice.randrange(1, 3000))


def _head(dice: random.Random) -> bytes:
    method = dice.choice([b"GET", b"POST", b"PUT", b"DELETE", b"BREW", b"OPTIONS"])
    path = dice.choice(
        [
            *PATHS,
            b"/v1/models/%00%ff",
            b"/v1/recognitions?limit=-1",
            b"/v1/jobs/%00",
            b"/v1/jobs?after=%00",
            b"/../../etc",
            b"/%zz",
            b"*",
        ]
    )
    headers = dice.choice(
        [
            b"",
            b"x: " + b"y" * dice.randrange(70_000),
            b"expect: 100-continue",
            b"upgrade: websocket",
        ]
    )
    return b"%s %s HTTP/1.1\r\nhost: localhost\r\n%s\r\n\r\n" % (method, path, headers)


def _multipart(dice: random.Random) -> bytes:
    parts = []
    for _ in range(dice.randrange(6)):
        name = dice.choice(NAMES)
        file = b'; filename="f"' if name == b"file" or dice.random() < 0.1 else b""
        value = dice.randbytes(dice.choice([0, 3, 300, 100_000]))
        parts.append(
            b'--x\r\ncontent-disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
            % (name, file, value)
        )
    end = dice.choice([b"--x--\r\n", b"--x", b"", b"--y--\r\n"])
    body = b"".join(parts) + end
    length = dice.choice([len(body), len(body), len(body) - 1, len(body) + 1, 10**12, -1])
    kind = dice.choice(
        [b"multipart/form-data; boundary=x", b"multipart/form-data", b"text/plain", b"\xff"]
    )
    return (
        b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s"
        % (dice.choice(PATHS), kind, length, body)
    )


def _chunked(dice: random.Random) -> bytes:
    size = dice.choice([b"5", b"ffffffffff", b"-1", b"zz", b"0"])
    return (
        b"POST %s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"
        b"content-type: multipart/form-data; boundary=x\r\n\r\n%s\r\n--x\r\n\r\n"
        % (dice.choice(PATHS), size)
    )


_KINDS: tuple[Callable[[random.Random], bytes], ...] = (_noise, _head, _multipart, _chunked)
