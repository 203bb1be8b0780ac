"""Multipart request bodies: fields in memory, the file on disk, both with bounds."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import BinaryIO

import anyio
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from asr_gateway.errors import ApiError, bad_field
from asr_gateway.metrics import Metrics

MAX_FIELDS = 200
MAX_FIELD_BYTES = 64 * 1024
MAX_FIELDS_BYTES = 1 << 20
"""What a body may have beside the file: fields, part heads and boundaries."""
PAUSE_TIMEOUT_S = 30.0
"""A body of which nothing arrives for so long ends the request."""
MAX_MEMORY_BYTES = 256 * 1024
"""A file up to this size stays in memory, a larger one goes to disk."""
_BLOCK_BYTES = 1 << 20


class _Parser(MultiPartParser):
    spool_max_size = MAX_MEMORY_BYTES


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A recording and the fields that came with it.

    Files above `MAX_MEMORY_BYTES` lie on disk, unlinked, so that no crash leaves them behind.
    """

    file: BinaryIO
    name: str
    size: int
    """Bytes."""
    sha256: str
    fields: tuple[tuple[str, str], ...]
    """Names and values in the request's order."""

    @property
    def on_disk(self) -> bool:
        """Whether reading it may block."""
        return not isinstance(self.file, io.BytesIO) and bool(getattr(self.file, "_rolled", True))

    def read(self) -> bytes:
        """The whole file."""
        self.file.seek(0)
        return self.file.read()

    def close(self) -> None:
        """Remove the file."""
        self.file.close()


async def receive(
    request: Request, *, max_file_bytes: int, timeout_s: float, metrics: Metrics
) -> Upload:
    """Read a multipart body with a recording.

    Args and errors: as of `receive_form`, which a missing recording is one of.
    """
    upload, _ = await receive_form(
        request, max_file_bytes=max_file_bytes, timeout_s=timeout_s, metrics=metrics
    )
    if upload is None:
        raise bad_field("file", "The field file is missing.", code="missing_required_parameter")
    return upload


async def receive_form(
    request: Request, *, max_file_bytes: int, timeout_s: float, metrics: Metrics
) -> tuple[Upload | None, tuple[tuple[str, str], ...]]:
    """Read a multipart body: the recording, if there is one, and the fields.

    Args:
        request: whose body nobody has read yet.
        max_file_bytes: largest file.
        timeout_s: bounds the whole upload, in seconds.
        metrics: counts the bytes.

    Raises:
        ApiError: 400 for a broken or incomplete body, 408, 413, 415.
        ClientDisconnect: the caller went away.
    """
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise ApiError(415, "The body must be multipart/form-data.", code="unsupported_media_type")
    if parameters.get(b"charset", b"utf-8").lower() != b"utf-8":
        # Python would decode fields with any codec that a caller names, even into lone surrogates.
        raise ApiError(415, "The fields must be UTF-8.", code="unsupported_media_type")
    max_bytes = max_file_bytes + MAX_FIELDS_BYTES
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_file_bytes)
    body = _blocks(request, max_bytes, timeout_s, _too_large(max_file_bytes), metrics)
    parser = _Parser(
        request.headers,
        body,
        max_files=1,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ApiError(400, f"The body is not valid: {error.message}", code="bad_body") from None
    except OSError as error:
        raise ApiError(
            507, f"The gateway cannot store the file: {error.strerror}.", type="server_error"
        ) from None
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    fields = tuple((name, value) for name, value in form.multi_items() if isinstance(value, str))
    if not files:
        if any(name == "file" for name, _ in fields):
            raise bad_field("file", "The part file has no filename, so it is a field and no file.")
        return None, fields
    [(name, file)] = files
    try:
        if name != "file":
            raise bad_field(name, f"A file was sent as {name!r}; the recording is the field file.")
        if (file.size or 0) > max_file_bytes:
            raise _too_large(max_file_bytes)
        upload = Upload(
            file=file.file,
            name=file.filename or "",
            size=file.size or 0,
            sha256=await _sha256(file),
            fields=fields,
        )
    except BaseException:
        file.file.close()
        raise
    return upload, fields


async def receive_small(
    request: Request, *, max_bytes: int, timeout_s: float, metrics: Metrics
) -> bytes:
    """Read a body into memory.

    Args:
        request: whose body nobody has read yet.
        max_bytes: the largest body.
        timeout_s: bounds the whole upload, in seconds.
        metrics: counts the bytes.

    Raises:
        ApiError: 408, 413.
        ClientDisconnect: the caller went away.
    """
    too_large = ApiError(413, f"The body has more than {max_bytes} bytes.", code="too_large")
    blocks = _blocks(request, max_bytes, timeout_s, too_large, metrics)
    return b"".join([block async for block in blocks])


async def _blocks(
    request: Request, max_bytes: int, timeout_s: float, too_large: ApiError, metrics: Metrics
) -> AsyncGenerator[bytes, None]:
    """The body's blocks, as long as they come in time and are not too many."""
    received = 0
    ends_s = time.monotonic() + timeout_s
    while True:
        left_s = ends_s - time.monotonic()
        try:
            # Not wait_for: it makes a task for each block.
            with anyio.fail_after(min(PAUSE_TIMEOUT_S, left_s)):
                message = await request.receive()
        except TimeoutError:
            why = "stopped" if left_s > PAUSE_TIMEOUT_S else "took too long"
            raise ApiError(408, f"The upload {why}.", code="upload_timeout") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        block = message.get("body", b"")
        received += len(block)
        metrics.upload_bytes.inc(len(block))
        if received > max_bytes:
            raise too_large
        yield block
        if not message.get("more_body", False):
            return


async def _sha256(file: UploadFile) -> str:
    def digest() -> str:
        hasher = hashlib.sha256()
        file.file.seek(0)
        while block := file.file.read(_BLOCK_BYTES):
            hasher.update(block)
        return hasher.hexdigest()

    if (file.size or 0) <= MAX_MEMORY_BYTES:
        return digest()
    return await asyncio.to_thread(digest)


def _too_large(max_file_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"The file is too large; the limit is {max_file_bytes} bytes.",
        param="file",
        code="file_too_large",
    )
