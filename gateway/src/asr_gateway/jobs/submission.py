"""`POST /v1/jobs`: from a request to a job on disk."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from sqlalchemy.exc import OperationalError
from starlette.requests import Request

from asr_gateway import uploads
from asr_gateway.errors import ApiError, bad_field, unavailable
from asr_gateway.jobs import request as job_request
from asr_gateway.jobs.outbound import BadUrl, PrivateAddress, Unreachable
from asr_gateway.keys import Key
from asr_gateway.openai import models
from asr_gateway.openai.fields import Asked
from asr_gateway.store.job_rows import NewJob, Row, new_id
from asr_gateway.uploads import Upload

IDEMPOTENCY_KEY = "idempotency-key"
MAX_IDEMPOTENCY_CHARS = 255
OWN_FIELDS = ("url", "webhook_url")
_AS_IT_IS = {"accept-encoding": "identity"}
"""The bytes of a URL are the recording: nothing unpacks them."""


@dataclass(frozen=True, kw_only=True)
class _Form:
    """A checked request."""

    upload: Upload | None
    fields: tuple[tuple[str, str], ...]
    asked: Asked
    url: str | None
    webhook_url: str | None

    def sha256(self) -> str:
        """The same for the same body, however it was encoded."""
        content = self.url if self.upload is None else self.upload.sha256
        return hashlib.sha256(json.dumps([content, sorted(self.fields)]).encode()).hexdigest()


async def submit(request: Request, gateway: Any) -> tuple[Row, bool]:
    """The job of a request, and whether it is a new one.

    Raises:
        ApiError: 4xx, 503 or 507; the job does not exist then, unless the store's answer was lost.
    """
    caller: Key = request.state.caller
    idempotency_key = _idempotency_key(request)
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdigit() else 0
    await gateway.jobs.check_room(min(size, gateway.settings.max_upload_bytes))
    with gateway.limits.recognition(caller):
        upload, fields = await uploads.receive_form(
            request,
            max_file_bytes=gateway.settings.max_upload_bytes,
            timeout_s=gateway.settings.timeout_s,
            metrics=gateway.metrics,
        )
        try:
            form = await _check(upload, fields, caller, gateway)
            digest = form.sha256()
            if idempotency_key is not None:
                known = await _known(gateway, caller, idempotency_key, digest)
                if known is not None:
                    return known, False
            if form.upload is None:
                assert form.url is not None
                upload = await _fetch(form.url, gateway)
            assert upload is not None
            job = NewJob(
                id=new_id(),
                key=caller.name,
                audio_bytes=upload.size,
                audio_sha256=upload.sha256,
                request=job_request.to_json(form.asked),
                request_id=request.state.request_id,
                body_sha256=digest,
                idempotency_key=idempotency_key,
                webhook_url=form.webhook_url,
            )
            return await _keep(gateway, caller, job, upload)
        finally:
            if upload is not None:
                upload.close()


async def _check(
    upload: Upload | None, fields: tuple[tuple[str, str], ...], caller: Key, gateway: Any
) -> _Form:
    settings = gateway.settings
    own = {name: _single(fields, name) for name in OWN_FIELDS}
    asked = job_request.check(
        [(name, value) for name, value in fields if name not in OWN_FIELDS],
        own_language=settings.language,
        decoder=settings.decoder,
        served=await models.served_info(gateway.served),
    )
    if own["url"] is not None:
        if not settings.allow_urls:
            raise bad_field(
                "url", "This gateway runs without --allow-urls.", code="unsupported_parameter"
            )
        if upload is not None:
            raise bad_field("url", "A job has a file or a url, not both.")
        await _check_url("url", own["url"], gateway)
    elif upload is None:
        raise bad_field("file", "The field file is missing.", code="missing_required_parameter")
    if own["webhook_url"] is not None:
        if caller.webhook_secret is None:
            raise bad_field(
                "webhook_url",
                f"The key {caller.name!r} has no webhook_secret in the keys file, and a webhook is "
                "always signed.",
                code="webhook_secret_missing",
            )
        await _check_url("webhook_url", own["webhook_url"], gateway)
    await models.check(asked.model, gateway.served, settings.aliases)
    return _Form(
        upload=upload,
        fields=fields,
        asked=asked,
        url=own["url"],
        webhook_url=own["webhook_url"],
    )


def _single(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    values = [value for given, value in fields if given == name]
    if len(values) > 1:
        raise bad_field(name, f"The field {name} was sent twice.")
    return values[0] if values else None


async def _check_url(name: str, url: str, gateway: Any) -> None:
    try:
        await gateway.jobs.outbound.check(url)
    except BadUrl as error:
        raise bad_field(name, f"The {name} cannot be called: {error}.") from None
    except PrivateAddress:
        raise _private(name) from None


def _private(name: str) -> ApiError:
    return bad_field(
        name, f"The {name} leads to an address that is not public.", code="private_address"
    )


def _idempotency_key(request: Request) -> str | None:
    given = request.headers.get(IDEMPOTENCY_KEY)
    if given is not None and not 1 <= len(given) <= MAX_IDEMPOTENCY_CHARS:
        raise bad_field(
            "Idempotency-Key", f"The Idempotency-Key has 1 to {MAX_IDEMPOTENCY_CHARS} characters."
        )
    return given


async def _known(gateway: Any, caller: Key, idempotency_key: str, digest: str) -> Row | None:
    """The job that this idempotency key made before."""
    row: Row | None = await gateway.jobs.store.find(
        {"key": caller.name, "idempotency_key": idempotency_key}
    )
    if row is not None and row["body_sha256"] != digest:
        raise ApiError(
            409,
            "Another body came with this Idempotency-Key before.",
            param="Idempotency-Key",
            code="idempotency_key_reused",
            may_retry=False,
        )
    return row


async def _keep(gateway: Any, caller: Key, job: NewJob, upload: Upload) -> tuple[Row, bool]:
    """Put recording and job on disk, in this order."""
    jobs = gateway.jobs
    await jobs.check_room(upload.size)
    try:
        await asyncio.to_thread(jobs.blobs.keep, job.id, upload.file)
    except OSError as error:
        raise _no_room(error.strerror or "the disk failed") from error
    try:
        row = await jobs.store.add(job)
    except OperationalError as error:
        # A commit may have succeeded although its answer was lost, so the recording stays; it is
        # swept away later where there is no job.
        if "full" in str(error):
            raise _no_room("the database's disk is full") from error
        raise
    if row is not None:
        jobs.wake()
        return row, True
    await asyncio.to_thread(jobs.blobs.remove, job.id)
    assert job.idempotency_key is not None
    known = await _known(gateway, caller, job.idempotency_key, job.body_sha256)
    if known is None:
        raise unavailable("The job of this Idempotency-Key was just deleted.", code="try_again")
    return known, False


def _no_room(reason: str) -> ApiError:
    return ApiError(
        507,
        f"The gateway cannot store the recording: {reason}.",
        type="server_error",
        code="store_full",
    )


async def _fetch(url: str, gateway: Any) -> Upload:
    """The recording that a URL leads to."""
    settings = gateway.settings
    spool = tempfile.SpooledTemporaryFile(uploads.MAX_MEMORY_BYTES)  # noqa: SIM115
    file = cast(BinaryIO, spool)
    try:
        return await asyncio.wait_for(
            _download(url, gateway, Upload(file=file, name="", size=0, sha256="", fields=())),
            settings.timeout_s,
        )
    except BaseException as error:
        file.close()
        if isinstance(error, PrivateAddress):
            raise _private("url") from None
        if isinstance(error, (BadUrl, Unreachable)):
            raise bad_field("url", f"The url failed: {error}.", code="url_failed") from None
        if isinstance(error, asyncio.TimeoutError):
            raise bad_field("url", "The url took too long.", code="url_failed") from None
        if isinstance(error, OSError):
            raise _no_room(error.strerror or "the disk failed") from error
        raise


async def _download(url: str, gateway: Any, empty: Upload) -> Upload:
    limit = gateway.settings.max_upload_bytes
    digest, size = hashlib.sha256(), 0
    async with gateway.jobs.outbound.call("GET", url, headers=_AS_IT_IS) as answer:
        if answer.status_code != 200:
            raise Unreachable(f"its answer was {answer.status_code}, not 200")
        async for block in answer.aiter_raw(1 << 20):
            size += len(block)
            if size > limit:
                raise ApiError(
                    413,
                    f"The file is too large; the limit is {limit} bytes.",
                    param="url",
                    code="file_too_large",
                )
            digest.update(block)
            await asyncio.to_thread(empty.file.write, block)
    return Upload(file=empty.file, name="", size=size, sha256=digest.hexdigest(), fields=())
