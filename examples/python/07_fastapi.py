"""An HTTP endpoint that passes recordings on: POST /transcripts with a file as its body.

Needs fastapi and uvicorn.

python 07_fastapi.py --port 8080 --url localhost:8001
curl --data-binary @recording.wav http://localhost:8080/transcripts
"""

import argparse
import dataclasses
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request

from asr_client import (
    AsrError,
    AsyncClient,
    DeadlineExceeded,
    InvalidRequest,
    ServerUnavailable,
)

MAX_BODY_BYTES = 50_000_000
TIMEOUT_S = 60


def application(url: str) -> FastAPI:
    """An application with one client, which all its requests share."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Made inside the event loop that uses it; closing it ends calls in flight.
        async with AsyncClient(url, timeout_s=TIMEOUT_S) as client:
            app.state.client = client
            yield

    app = FastAPI(title="Transcripts", lifespan=lifespan)

    @app.get("/readyz")
    async def ready() -> dict[str, bool]:
        if not await app.state.client.is_ready():
            raise HTTPException(503, "the speech recognition server is not ready")
        return {"ready": True}

    @app.post("/transcripts")
    async def transcripts(request: Request) -> dict[str, Any]:
        audio = await body(request)
        try:
            transcript = await app.state.client.transcribe(audio)
        except InvalidRequest as error:
            raise HTTPException(422, error.server_message) from None
        except DeadlineExceeded:
            raise HTTPException(504, "not transcribed in time") from None
        except ServerUnavailable as error:
            raise HTTPException(503, str(error), headers={"Retry-After": "5"}) from None
        except AsrError as error:
            raise HTTPException(502, f"{error}, request {error.request_id}") from None
        return dataclasses.asdict(transcript)

    return app


async def body(request: Request) -> bytes:
    """The request's body, refused as soon as it is too large."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > MAX_BODY_BYTES:
            raise HTTPException(413, f"more than {MAX_BODY_BYTES} bytes")
    return bytes(parts)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--url", default=os.environ.get("ASR_URL", "localhost:8001"))
    args = parser.parse_args()
    uvicorn.run(application(args.url), host="127.0.0.1", port=args.port)


if __name__ == "__main__":
    main()
