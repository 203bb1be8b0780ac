"""`/v1/jobs` over HTTP."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from asr_gateway.errors import ApiError
from asr_gateway.jobs import request as job_request
from asr_gateway.jobs import transcripts
from asr_gateway.jobs.submission import submit
from asr_gateway.openai import fields, formats
from asr_gateway.store.job_rows import ID, UNENDED, Row

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]

router = APIRouter(tags=["jobs"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["model"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "url": {"type": "string", "format": "uri"},
                        "webhook_url": {"type": "string", "format": "uri"},
                        "model": {"type": "string", "example": "whisper-1"},
                        "language": {"type": "string", "example": "en"},
                        "response_format": {
                            "type": "string",
                            "enum": list(fields.FORMATS),
                            "default": "json",
                        },
                        "temperature": {"type": "number", "enum": [0]},
                        "timestamp_granularities[]": {
                            "type": "array",
                            "items": {"type": "string", "enum": list(fields.GRANULARITIES)},
                        },
                        "keywords[]": {"type": "array", "items": {"type": "string"}},
                    },
                }
            }
        },
    },
    "parameters": [
        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 255}}
    ],
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    200: {"description": "the job that this Idempotency-Key made before"},
    400: {"description": "a field is wrong; `param` names it"},
    409: {"description": "another body came with this Idempotency-Key before"},
    413: {"description": "the file is too large"},
    429: {"description": "a limit of the key; `Retry-After` says when to try again"},
    503: {"description": "the store is away; `Retry-After` says when to try again"},
    507: {"description": "the store is nearly full"},
}


@router.post(
    "/v1/jobs",
    summary="Transcribe a recording later",
    status_code=202,
    openapi_extra=_BODY,
    responses=_ERRORS,
)
async def create_job(request: Request) -> JSONResponse:
    """202 with the job once it is on disk."""
    row, new = await submit(request, request.app.state.gateway)
    return JSONResponse(
        _shown(row), status_code=202 if new else 200, headers={"location": f"/v1/jobs/{row['id']}"}
    )


@router.get("/v1/jobs", summary="Jobs, newest first")
async def list_jobs(
    request: Request,
    status: Annotated[Status | None, Query()] = None,
    after: Annotated[
        str | None, Query(pattern=ID, description="the last id of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """The caller's jobs, or those of all keys for an admin key."""
    filters = {**_own(request), **({"status": status} if status else {})}
    store = request.app.state.gateway.jobs.store
    rows, more = await store.page(filters, after=after, limit=limit)
    return {"data": [_shown(row) for row in rows], "has_more": more}


@router.get("/v1/jobs/{id}", summary="One job")
async def get_job(request: Request, id: str) -> dict[str, Any]:
    """404 for one that is not there, or another key's."""
    return _shown(await _find(request, id))


@router.get(
    "/v1/jobs/{id}/result", summary="The transcript of a succeeded job", response_class=Response
)
async def get_result(
    request: Request, id: str, format: Annotated[fields.Format | None, Query()] = None
) -> Response:
    """In the format of the query, else of the job's `response_format`; 409 before the end."""
    row = await _find(request, id)
    if row["status"] != "succeeded":
        raise _no_result(row)
    stored = await request.app.state.gateway.jobs.store.transcript(id)
    if stored is None:
        raise _missing(id)
    asked = job_request.from_json(row["request"])
    asked = dataclasses.replace(asked, format=format or asked.format)
    return await formats.answer(transcripts.from_json(stored), asked)


@router.post("/v1/jobs/{id}/cancel", summary="Stop a job")
async def cancel_job(request: Request, id: str) -> dict[str, Any]:
    """The cancelled job; 409 for one that has ended otherwise."""
    row = await _find(request, id)
    if row["status"] in UNENDED:
        await request.app.state.gateway.jobs.cancel(row)
        row = await _find(request, id)
    if row["status"] != "cancelled":
        raise ApiError(
            409, f"The job has {row['status']} already.", code="job_ended", may_retry=False
        )
    return _shown(row)


@router.delete("/v1/jobs/{id}", summary="Delete a job", status_code=204)
async def delete_job(request: Request, id: str) -> Response:
    """204 when the job, its recording and its result are gone; it is stopped where it runs."""
    row = await _find(request, id)
    deleted = await request.app.state.gateway.jobs.delete(row)
    if not deleted:
        raise _missing(id)
    return Response(status_code=204)


async def _find(request: Request, id: str) -> Row:
    if not re.fullmatch(ID, id):
        raise _missing(id)
    store = request.app.state.gateway.jobs.store
    row: Row | None = await store.find({**_own(request), "id": id})
    if row is None:
        raise _missing(id)
    return row


def _own(request: Request) -> dict[str, str]:
    """The filter for what the caller may see."""
    caller = request.state.caller
    return {} if caller.admin else {"key": caller.name}


def _shown(row: Row) -> dict[str, Any]:
    failed = row["error_code"] is not None
    return {
        "id": row["id"],
        "status": row["status"],
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "ended_at": row["ended_at"],
        "audio_s": row["audio_s"],
        "progress_s": row["audio_s"] or 0.0,
        "position": row["position"] if row["status"] == "queued" else None,
        "error": ({"code": row["error_code"], "message": row["error_message"]} if failed else None),
        "webhook": (
            {"status": row["webhook_status"], "attempts": row["webhook_attempts"]}
            if row["webhook_url"] is not None
            else None
        ),
    }


def _no_result(row: Row) -> ApiError:
    if row["status"] in UNENDED:
        return ApiError(
            409, f"The job is {row['status']}: it has no result yet.", code="job_not_ended"
        )
    reason = f": {row['error_message']}" if row["error_message"] else "."
    return ApiError(
        409,
        f"The job has no result, because it {_ENDS[row['status']]}{reason}",
        code=f"job_{row['status']}",
        may_retry=False,
    )


_ENDS = {"failed": "failed", "cancelled": "was cancelled"}


def _missing(id: str) -> ApiError:
    return ApiError(404, f"There is no job {id!r}.", param="id", code="not_found")
