from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from asr_client.testing import FakeServer
from tests.support.gateway.running import RunningGateway, running, uploads

LIMIT = 3_000_000
PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def gateway(server: FakeServer) -> Iterator[RunningGateway]:
    with running(server.url, max_upload_bytes=LIMIT) as started:
        yield started


def post(gateway: RunningGateway, audio: bytes) -> httpx2.Response:
    return gateway.http.post(PATH, files={"file": audio}, data={"model": "whisper-1"})


def raw(gateway: RunningGateway, body: bytes, kind: str = "multipart/form-data; boundary=x"):
    return gateway.http.post(PATH, content=body, headers={"content-type": kind})


@pytest.mark.parametrize("size", [4, 1 << 18, (1 << 18) + 1, (1 << 20) + 1, LIMIT])
def test_every_byte_arrives(gateway: RunningGateway, server: FakeServer, size: int):
    audio = b"OggS" + os.urandom(size - 4)
    assert post(gateway, audio).status_code == 200
    sent = hashlib.sha256(uploads(server)[-1].audio).hexdigest()
    assert sent == hashlib.sha256(audio).hexdigest()


@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT])
def test_a_file_beyond_the_limit(gateway: RunningGateway, server: FakeServer, size: int):
    before = len(uploads(server))
    answer = post(gateway, b"OggS" + bytes(size - 4))
    assert answer.status_code == 413
    assert answer.json()["error"]["param"] == "file"
    assert len(uploads(server)) == before


def test_a_body_without_a_length_is_bounded_too(gateway: RunningGateway):
    def endless() -> Iterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(2 * LIMIT // 65536):
            yield bytes(65536)

    answer = gateway.http.post(
        PATH, content=endless(), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(("size", "files"), [(1 << 18, 0), ((1 << 18) + 1, 1), (1 << 21, 1)])
def test_large_files_lie_on_disk_and_leave_nothing(
    gateway: RunningGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    files: int,
):
    opened = []
    real = tempfile.TemporaryFile

    def noting(*args: object, **more: object) -> object:
        opened.append(1)
        return real(*args, dir=tmp_path, **{k: v for k, v in more.items() if k != "dir"})

    monkeypatch.setattr(tempfile, "TemporaryFile", noting)
    assert post(gateway, b"OggS" + bytes(size - 4)).status_code == 200
    assert len(opened) == files
    assert list(tmp_path.iterdir()) == []


PART = b'--x\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n'
FILE = b'--x\r\ncontent-disposition: form-data; name="%s"; filename="f"\r\n\r\nOggS\r\n'
MODEL = PART % (b"model", b"whisper-1")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"", 400, "file"),
        (b"nonsense", 400, None),
        (b"--x\r\nno colon\r\n\r\nvalue\r\n--x--\r\n", 400, None),
        (b"--x\r\ncontent-type: text/plain\r\n\r\nvalue\r\n--x--\r\n", 400, None),
        (MODEL + b"--x--\r\n", 400, "file"),
        (FILE % b"file" + b"--x--\r\n", 400, "model"),
        (FILE % b"audio" + MODEL + b"--x--\r\n", 400, "audio"),
        (FILE % b"file" + FILE % b"file" + b"--x--\r\n", 400, None),
        (PART % (b"prompt", bytes(70_000)) + b"--x--\r\n", 400, None),
        ((PART % (b"a", b"b")) * 300 + b"--x--\r\n", 400, None),
    ],
    ids=range(10),
)
def test_broken_bodies(gateway: RunningGateway, body: bytes, status: int, param: str | None):
    answer = raw(gateway, body)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data", ""])
def test_other_kinds_of_bodies(gateway: RunningGateway, kind: str):
    answer = raw(gateway, b"{}", kind)
    assert answer.status_code == (400 if kind == "multipart/form-data" else 415)


def test_an_upload_that_breaks_off_reaches_nobody(gateway: RunningGateway, server: FakeServer):
    before = len(uploads(server))
    with gateway.connect() as caller:
        caller.sendall(
            b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\n"
            b"content-type: multipart/form-data; boundary=x\r\n\r\n"
            % PATH.encode()
            + FILE % b"file"
        )
    assert post(gateway, b"OggS").status_code == 200
    assert len(uploads(server)) == before + 1


def test_a_full_disk_is_said(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object, **more: object) -> object:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    answer = post(gateway, b"OggS" + bytes(1 << 20))
    assert answer.status_code == 507
    assert "No space left" in answer.json()["error"]["message"]
    assert post(gateway, b"OggS").status_code == 200


@pytest.mark.parametrize("codec", ["undefined", "unicode_escape", "punycode", "utf-16", "latin-1"])
def test_fields_are_utf_8_whatever_codec_the_caller_names(gateway: RunningGateway, codec: str):
    body = FILE % b"file" + PART % (rb"\ud800", b"x") + b"--x--\r\n"
    answer = raw(gateway, body, f"multipart/form-data; boundary=x; charset={codec}")
    assert answer.status_code == 415
    same = raw(
        gateway,
        FILE % b"file" + MODEL + b"--x--\r\n",
        "multipart/form-data; boundary=x; charset=UTF-8",
    )
    assert same.status_code == 200


def test_a_recording_without_a_file_name_is_named_as_such(gateway: RunningGateway):
    answer = raw(gateway, PART % (b"file", b"OggS") + MODEL + b"--x--\r\n")
    assert answer.status_code == 400
    assert "no filename" in answer.json()["error"]["message"]
