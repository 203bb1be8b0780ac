"""A real asr-gateway on a free loopback port, and uploads to it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.local_server import free_ports

READY_S = 60.0
"""Longest wait for its first answer, in seconds."""
_UPLOAD_S = 60.0
_STOP_S = 30.0


@dataclass(frozen=True, kw_only=True)
class LocalGateway:
    """A running asr-gateway, and the HOST:PORT where it listens."""

    process: subprocess.Popen[bytes]
    address: str


@contextlib.contextmanager
def local_gateway(server_url: str, folder: Path, *flags: str) -> Iterator[LocalGateway]:
    """Start asr-gateway in front of a server, with its store in a folder.

    Raises:
        RuntimeError: it ended early or was not ready in time.
    """
    (port,) = free_ports(1)
    program = Path(sys.executable).with_name("asr-gateway")
    command = [str(program), f"--server={server_url}", f"--http-port={port}", *flags]
    command.append(f"--store=sqlite:///{folder}/store.sqlite3")
    log = folder / "gateway.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as process,
    ):
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
            yield LocalGateway(process=process, address=f"127.0.0.1:{port}")
        except RuntimeError as error:
            raise RuntimeError(f"{error}; its log:\n{log.read_text(errors='replace')}") from None
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
            process.kill()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when a page answers 200.

    Raises:
        RuntimeError: it does not within a minute, or its process ends before.
    """
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{url} does not answer")
        time.sleep(0.1)


def upload(
    address: str,
    audio: bytes,
    *,
    path: str = "/v1/audio/transcriptions",
    fields: Mapping[str, str] | None = None,
    key: str = "",
) -> int:
    """Send one recording; returns the status, 0 where there was no answer.

    Args:
        address: HOST:PORT of the gateway.
        audio: the file.
        path: of the endpoint.
        fields: more fields of the form.
        key: the caller's.
    """
    line = uuid.uuid4().hex
    parts = b"".join(
        f'--{line}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in {"model": "whisper-1", **(fields or {})}.items()
    )
    disposition = 'Content-Disposition: form-data; name="file"; filename="a.wav"'
    parts += f"--{line}\r\n{disposition}\r\n\r\n".encode() + audio + f"\r\n--{line}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={line}"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"http://{address}{path}", data=parts, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_UPLOAD_S) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
