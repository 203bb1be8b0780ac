"""`POST /v1/audio/transcriptions`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from asr_client import Transcript
from asr_gateway import uploads
from asr_gateway.openai import description, fields, formats, models
from asr_gateway.recognition import unless_gone

router = APIRouter(tags=["openai"])


@router.post(
    "/v1/audio/transcriptions",
    summary="Transcribe a recording",
    openapi_extra=description.BODY,
    responses=description.RESPONSES,
    response_class=Response,
)
async def transcribe(request: Request) -> Response:
    """OpenAI's endpoint; docs/gateway.md says which fields work with which format."""
    gateway = request.app.state.gateway
    # The upload counts too, so that a key's uploads are as many as its recognitions.
    with gateway.limits.recognition(request.state.caller):
        asked, transcript = await _recognize(request, gateway)
    if asked.stream:
        # All events are known by now, so they go out together.
        return Response("".join(formats.events(transcript)), media_type="text/event-stream")
    return await formats.answer(transcript, asked)


async def _recognize(request: Request, gateway: Any) -> tuple[fields.Asked, Transcript]:
    settings = gateway.settings
    upload = await uploads.receive(
        request,
        max_file_bytes=settings.max_upload_bytes,
        timeout_s=settings.timeout_s,
        metrics=gateway.metrics,
    )
    try:
        asked = fields.check(
            upload.fields,
            own_language=settings.language,
            decoder=settings.decoder,
            served=await models.served_info(gateway.served),
        )
        await models.check(asked.model, gateway.served, settings.aliases)
        work = gateway.recognizer.recognize(
            upload, asked.options, request.state, fresh=_is_fresh(request)
        )
        return asked, await unless_gone(request.receive, work)
    finally:
        upload.close()


def _is_fresh(request: Request) -> bool:
    """Whether the caller wants nothing from the cache, and nothing kept in it."""
    given = ",".join(request.headers.getlist("cache-control")).lower()
    return "no-store" in (directive.strip() for directive in given.split(","))
