"""`GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from asr_client import AsrError, ServerInfo
from asr_gateway.errors import ApiError, from_asr_error
from asr_gateway.served_model import ServedModel

OWNER = "asr-server"

router = APIRouter(tags=["openai"])


async def served_info(served: ServedModel) -> ServerInfo:
    """What asr-server serves.

    Raises:
        ApiError: 5xx: asr-server does not say.
    """
    try:
        return await served.info()
    except AsrError as error:
        raise from_asr_error(error, hotwords=False) from error


async def names(served: ServedModel, aliases: tuple[str, ...]) -> tuple[str, ...]:
    """The served model's id, then its aliases.

    Raises:
        ApiError: 5xx: asr-server does not say which model it serves.
    """
    id = (await served_info(served)).model_id or ""
    return (id, *(alias for alias in aliases if alias != id))


async def check(model: str, served: ServedModel, aliases: tuple[str, ...]) -> None:
    """Refuse a model that is not served.

    Raises:
        ApiError: 404 `model_not_found`, or 5xx.
    """
    if model not in aliases and model not in await names(served, aliases):
        raise ApiError(
            404,
            f"The model {model!r} does not exist; GET /v1/models lists those that do.",
            param="model",
            code="model_not_found",
        )


@router.get("/v1/models", summary="The served model and its aliases")
async def list_models(request: Request) -> dict[str, Any]:
    """All names that the field `model` may have."""
    gateway = request.app.state.gateway
    found = await names(gateway.served, gateway.settings.aliases)
    return {"object": "list", "data": [_model(name, gateway.served.since) for name in found]}


@router.get("/v1/models/{model:path}", summary="One model")
async def retrieve_model(request: Request, model: str) -> dict[str, Any]:
    """The model of that name; 404 `model_not_found` where there is none."""
    gateway = request.app.state.gateway
    await names(gateway.served, gateway.settings.aliases)
    await check(model, gateway.served, gateway.settings.aliases)
    return _model(model, gateway.served.since)


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": OWNER}
