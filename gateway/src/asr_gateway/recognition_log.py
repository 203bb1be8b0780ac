"""`/v1/recognitions`: the recognition log over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from asr_gateway.errors import ApiError, bad_field
from asr_gateway.keys import Key
from asr_gateway.store.recognitions import Row

router = APIRouter(tags=["recognition log"])

# PostgreSQL has no text with a NUL.
Text = Annotated[str | None, Query(max_length=128, pattern=r"^[^\x00]*$")]


@router.get("/v1/recognitions", summary="Recognitions, newest first")
async def list_recognitions(
    request: Request,
    key: Text = None,
    audio_sha256: Text = None,
    outcome: Text = None,
    after: Annotated[Text, Query(description="the last id of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """The caller's recognitions, or those of all keys for an admin key."""
    filters = _filters(request.state.caller, key=key, audio_sha256=audio_sha256, outcome=outcome)
    rows, more = await request.app.state.gateway.log.find(filters, after=after, limit=limit)
    return {"object": "list", "data": [_shown(row) for row in rows], "has_more": more}


@router.delete("/v1/recognitions", summary="Delete the recognitions of a recording or a key")
async def delete_recognitions(
    request: Request, key: Text = None, audio_sha256: Text = None
) -> dict[str, int]:
    """Says how many were deleted; one of both filters is needed."""
    if key is None and audio_sha256 is None:
        raise bad_field("audio_sha256", "Say which: audio_sha256 or key.")
    filters = _filters(request.state.caller, key=key, audio_sha256=audio_sha256)
    return {"deleted": await request.app.state.gateway.log.delete(filters)}


@router.get("/v1/recognitions/{id}", summary="One recognition")
async def get_recognition(request: Request, id: str) -> dict[str, Any]:
    """404 for one that is not there, or another key's."""
    filters = _filters(request.state.caller, id=id)
    rows, _ = await request.app.state.gateway.log.find(filters, after=None, limit=1)
    if not rows:
        raise _missing(id)
    return _shown(rows[0])


@router.delete("/v1/recognitions/{id}", summary="Delete one recognition", status_code=204)
async def delete_recognition(request: Request, id: str) -> Response:
    """204; 404 for one that is not there, or another key's."""
    if not await request.app.state.gateway.log.delete(_filters(request.state.caller, id=id)):
        raise _missing(id)
    return Response(status_code=204)


def _filters(caller: Key, **given: str | None) -> dict[str, str]:
    """The filters that were given, and the caller's own name where it is no admin."""
    id = given.get("id")
    if id is not None and "\0" in id:
        raise _missing(id)
    filters = {name: value for name, value in given.items() if value is not None}
    if caller.admin:
        return filters
    if filters.get("key", caller.name) != caller.name:
        raise ApiError(403, "A key sees its own recognitions only.", param="key", code="forbidden")
    return {**filters, "key": caller.name}


def _shown(row: Row) -> dict[str, Any]:
    return {"object": "recognition", **row}


def _missing(id: str) -> ApiError:
    return ApiError(404, f"There is no recognition {id!r}.", param="id", code="not_found")
