"""The application: its parts, and how they begin and end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from asr_client import AsyncClient, TlsConfig
from asr_gateway import __version__, auth, cors, health, recognition_log, web
from asr_gateway.admission import Admission
from asr_gateway.cache.results import ResultCache
from asr_gateway.console import StartError, logger
from asr_gateway.errors import ApiError, bad_field, plain_message, unavailable
from asr_gateway.front_door import FrontDoor
from asr_gateway.health import Readiness
from asr_gateway.jobs import routes as job_routes
from asr_gateway.jobs.service import Jobs
from asr_gateway.keys import Keys
from asr_gateway.limits import Limits
from asr_gateway.metrics import Metrics
from asr_gateway.openai import models, transcriptions
from asr_gateway.recognition import Recognizer
from asr_gateway.served_model import ServedModel
from asr_gateway.settings import Settings
from asr_gateway.store.blobs import Blobs
from asr_gateway.store.cached_results import CachedResults
from asr_gateway.store.database import open_store, reason
from asr_gateway.store.recognitions import RecognitionLog
from asr_gateway.store.retention import keep_expiring
from asr_gateway.web import openapi
from asr_gateway.web import subtitles as web_subtitles

LARGE_FILES_AT_ONCE = 2
"""So many files of the largest size may be in memory at once, or smaller ones of that sum."""


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The parts that the routes use."""

    settings: Settings
    metrics: Metrics
    limits: Limits
    readiness: Readiness
    served: ServedModel
    recognizer: Recognizer
    log: RecognitionLog
    jobs: Jobs


def create_app(settings: Settings, metrics: Metrics) -> FastAPI:
    """The application of one gateway.

    Raises:
        StartError: a file that the settings name is missing or wrong.
    """
    access = _server_access(settings)
    limits = Limits(metrics)
    keys = auth.load_keys(settings)
    admit = auth.admission(keys, limits, settings.allowed_origins)
    store = open_store(settings.store_url)
    blobs = Blobs(settings.blobs_folder)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            # Two clients: the retries of jobs must not use up the retry budget of requests.
            client, job_client = [
                await stack.enter_async_context(
                    AsyncClient(
                        settings.servers,
                        timeout_s=timeout_s,
                        max_audio_bytes=settings.max_upload_bytes,
                        on_attempt=metrics.on_attempt,
                        **access,
                    )
                )
                for timeout_s in (settings.timeout_s, settings.job_timeout_s)
            ]
            log = RecognitionLog(store, metrics)
            stack.callback(store.dispose)
            stack.push_async_callback(log.close)
            cached = CachedResults(store, max_bytes=settings.cache_bytes, metrics=metrics.cache)
            await stack.enter_async_context(_running(_expiring(log, cached, settings)))
            gateway = _assemble(
                settings, metrics, client, job_client, limits, log, cached, keys, blobs
            )
            app.state.gateway = gateway
            await stack.enter_async_context(_running(gateway.served.learn()))
            await stack.enter_async_context(gateway.jobs.running())
            yield

    app = FastAPI(
        title="asr-gateway",
        version=__version__,
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        # web serves a page of its own: FastAPI's load their scripts from a public host.
        docs_url=None,
        redoc_url=None,
    )
    app.openapi = openapi.openapi(app, keys=bool(settings.keys))  # type: ignore[method-assign]
    # The busiest route first: each request looks through them in this order.
    app.include_router(transcriptions.router)
    app.include_router(web.router)
    app.include_router(web_subtitles.router)
    app.include_router(health.router)
    app.include_router(models.router)
    app.include_router(recognition_log.router)
    app.include_router(job_routes.router)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(SQLAlchemyError, _store_away)
    app.add_middleware(FrontDoor, admit=admit, metrics=metrics)
    if settings.allowed_origins:
        # Outermost: a preflight has no key, and a page may read the errors of the front door too.
        cors.allow(app, settings.allowed_origins)
    return app


def _assemble(
    settings: Settings,
    metrics: Metrics,
    client: AsyncClient,
    job_client: AsyncClient,
    limits: Limits,
    log: RecognitionLog,
    cached: CachedResults,
    keys: Keys | None,
    blobs: Blobs,
) -> Gateway:
    served = ServedModel(client, own_language=settings.language)
    cache = ResultCache(served, cached, metrics.cache) if settings.cache_bytes else None

    def recognizer(client: AsyncClient, max_calls: int) -> Recognizer:
        admission = Admission(
            max_calls=max_calls,
            max_bytes=LARGE_FILES_AT_ONCE * settings.max_upload_bytes,
            waiting=metrics.waiting,
        )
        return Recognizer(
            *(client, admission, limits, served, metrics, log),
            log_text=settings.log_text,
            cache=cache,
        )

    return Gateway(
        settings=settings,
        metrics=metrics,
        limits=limits,
        readiness=Readiness(client),
        served=served,
        recognizer=recognizer(client, settings.max_at_once),
        log=log,
        jobs=Jobs(
            settings,
            metrics.jobs,
            recognizer(job_client, settings.max_jobs_at_once),
            cached,
            keys,
            blobs,
        ),
    )


def _expiring(
    log: RecognitionLog, cached: CachedResults, settings: Settings
) -> Coroutine[Any, Any, None]:
    return keep_expiring(log, cached, keep_s=settings.keep_log_s, keep_text_s=settings.keep_text_s)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work in the background of the block."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _server_access(settings: Settings) -> dict[str, Any]:
    """Token and TLS of the calls to asr-server."""
    access: dict[str, Any] = {}
    try:
        if settings.server_token_file:
            access["token"] = Path(settings.server_token_file).read_text("utf-8").strip()
        if settings.server_ca:
            ca = Path(settings.server_ca).read_bytes()
            access["tls"] = TlsConfig(root_certificates=ca)
        # Wrong addresses, tokens and certificates are refused here, before anything is served.
        AsyncClient(settings.servers, **access)
    except (OSError, ValueError) as error:
        raise StartError(f"asr-server: {error}") from None
    return access


async def _http_error(request: Request, error: Exception) -> Response:
    """Routes and methods that do not exist, in OpenAI's form."""
    assert isinstance(error, HTTPException)
    message = f"{HTTPStatus(error.status_code).phrase}: {request.method} {request.url.path}"
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    answer = ApiError(error.status_code, message, code=code).response
    answer.headers.update(error.headers or {})
    return answer


async def _bad_parameter(request: Request, error: Exception) -> Response:
    """A parameter of the path or the query that is not valid, in OpenAI's form."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return bad_field(name, f"The parameter {name} is not valid: {plain_message(first)}.").response


async def _store_away(request: Request, error: Exception) -> Response:
    """The database cannot be reached, is locked for too long, or is full."""
    assert isinstance(error, SQLAlchemyError)
    logger.error("the store failed: %s", reason(error))
    return unavailable("The store cannot be reached.", code="store_unavailable").response
